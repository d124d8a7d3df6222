"""Rendered conversations as one HTML file that needs nothing else: no network, no fonts, no server.

The data stand in a JSON block, from which a script draws the cards of one page at a time. Nothing in the data can
become markup or code: `<` never occurs in the block, the script writes text only, and the page's own policy names
its one script and one style sheet by their hashes.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Any

from tunesmith.render.bulk.ledger import source_file
from tunesmith.render.show import FATES, MEANINGS, visible
from tunesmith.render.show.chart import histogram
from tunesmith.render.show.tokens import KINDS, Reader, all_messages, kinds
from tunesmith.render.show.views import Sheet, View

FOLDER = Path(__file__).parent / "page"


@dataclass(slots=True)
class Page:
    """What is gathered from the views, as plain JSON values, and what is counted on the way."""

    vocabulary: dict[int, str] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    conversations: list[dict[str, Any]] = field(default_factory=list)
    num_of_kind: Counter[str] = field(default_factory=Counter)
    fates: Counter[str] = field(default_factory=Counter)

    def add(self, view: View, reader: Reader) -> None:
        conversation = view.conversation
        name = source_file(conversation.source)
        self.fates[view.fate] += 1
        self.conversations.append(
            {
                "id": conversation.id,
                "source": conversation.source,
                "file": self.files.setdefault(name, len(self.files)),
                "fate": view.fate,
                "problem": view.problem,
                "length": view.length,
                "tokens": view.account.num_tokens_out,
                "trained": view.account.num_supervised_out,
                "cut": view.account.num_tokens_cut,
                "roles": [message.role for message in all_messages(conversation)],
                "sheets": [self._sheet(view, sheet, reader) for sheet in view.sheets],
            }
        )

    def _sheet(self, view: View, sheet: Sheet, reader: Reader) -> dict[str, Any]:
        """Token ids, and in runs what they are for; `texts` says where a token reads otherwise than alone."""
        rendered = sheet.rendered
        ids = rendered.tokens.tolist()
        alone = [self.vocabulary.setdefault(token, reader.token_text(token)) for token in ids]
        pieces = reader.pieces(rendered.tokens)
        found = kinds(view.conversation, sheet, reader)
        self.num_of_kind.update(found)
        marks = zip(
            map(KINDS.index, found),
            rendered.parts.tolist() if rendered.parts is not None else [-1] * len(ids),
            rendered.loss_weights.tolist(),
            rendered.messages.tolist() if rendered.messages is not None else [-1] * len(ids),
            strict=True,
        )
        return {
            "ids": ids,
            "runs": [[sum(1 for _ in group), *mark] for mark, group in groupby(marks)],
            "texts": {index: text for index, text in enumerate(pieces) if text != alone[index]},
            "branches": rendered.branches.tolist(),
        }


def html_page(page: Page, title: str, settings: str, max_tokens: int) -> str:
    """The whole file. `settings` is a line beneath the title; `max_tokens` is drawn into the lengths."""
    script, style = (_asset(name) for name in ("show.js", "show.css"))
    return Template(_asset("show.html")).substitute(
        title=escape(visible(title)),
        settings=escape(visible(settings)),
        totals=_totals(page),
        charts=_charts(page, max_tokens),
        legend=_legend(page.num_of_kind),
        data=_json_block(
            {
                "kinds": KINDS,
                "fates": FATES,
                "vocabulary": page.vocabulary,
                "files": list(page.files),
                "conversations": page.conversations,
            }
        ),
        script=script,
        script_hash=_hash(script),
        style=style,
        style_hash=_hash(style),
    )


def _asset(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _json_block(value: Mapping[str, Any]) -> str:
    """JSON that may stand in a script element: no character of it can end the element or begin a comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _totals(page: Page) -> str:
    tokens, trained, cut = (sum(each[key] for each in page.conversations) for key in ("tokens", "trained", "cut"))
    rows = [
        ("conversations", f"{len(page.conversations):,}"),
        ("tokens", f"{tokens:,}"),
        ("trained", f"{trained:,} ({trained / max(tokens, 1):.0%})"),
        ("cut away", f"{cut:,}"),
        *((FATES[fate], f"{page.fates[fate]:,}") for fate in FATES if fate != "trained" and page.fates[fate]),
    ]
    return "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows)


def _charts(page: Page, max_tokens: int) -> str:
    shown = [each for each in page.conversations if each["sheets"]]
    lengths = [each["length"] for each in shown]
    trained = [each["trained"] for each in shown]
    return histogram(lengths, "Tokens of the longest sequence of each conversation", limit=max_tokens) + histogram(
        trained, "Trained tokens of each conversation", style="trained"
    )


def _legend(num_of_kind: Mapping[str, int]) -> str:
    seen = [kind for kind in KINDS if num_of_kind.get(kind)]
    return "".join(
        f'<li><span class="t {kind.replace(" ", "-")}">{MEANINGS.get(kind, f"{kind} message")}</span> '
        f'<span class="count">{num_of_kind[kind]:,}</span></li>'
        for kind in seen
    )
