"""What is shown of rendered conversations, in a terminal and as a page."""

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.render import RenderConfig, Renderer, renderer_for
from tunesmith.render.bulk.policy import Account, Outcome
from tunesmith.render.show import branches, heading, legend, plain_legend, plain_text, rich_text, visible
from tunesmith.render.show.chart import bars, bins, histogram
from tunesmith.render.show.html import Page, html_page
from tunesmith.render.show.tokens import KINDS, Reader, kinds
from tunesmith.render.show.views import Sheet, View, views
from tunesmith.types import Conversation, Message, Part, Rendered

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> <!-- ]]> & \u2028 \u202e \x1b[2J $data ${x}"


@pytest.fixture(scope="module")
def renderer(tiny_tokenizer_folder: Path) -> Renderer:
    return renderer_for(tiny_tokenizer_folder, RenderConfig())


@pytest.fixture(scope="module")
def reader(renderer: Renderer) -> Reader:
    return Reader(renderer)


def conversation(question: str, answer: str, source: str = "data.jsonl:1") -> Conversation:
    return Conversation("one", (Message("user", question), Message("assistant", answer)), source=source)


def view_of(renderer: Renderer, question: str, answer: str, **config: Any) -> View:
    return next(views(RenderConfig(**config), renderer, [conversation(question, answer)]))


def built(reader: Reader, renderer: Any, *stretches: tuple[str, float, Part, int], parent: int | None = None) -> View:
    """A view of stretches (text, weight, part, message); with `parent` the last one is a branch of its own."""
    ids = [renderer.tokenizer.encode(text) for text, *_ in stretches]
    sizes = [len(each) for each in ids]
    start = sum(sizes[:-1])
    rendered = Rendered(
        "built",
        np.concatenate(ids).astype(np.int32),
        np.repeat([weight for _, weight, *_ in stretches], sizes).astype(np.float32),
        np.array([[0, -1]] if parent is None else [[0, -1], [start, parent]], np.int32),
        np.repeat([part for *_, part, _ in stretches], sizes).astype(np.uint8),
        np.repeat([message for *_, message in stretches], sizes).astype(np.int16),
    )
    roles = ("system", "user", "assistant", "tool")
    messages = tuple(Message(role) for role in roles)  # type: ignore[arg-type]
    sheet = Sheet(rendered, np.zeros(rendered.num_tokens, np.bool_))
    account = Account(num_tokens_out=rendered.num_tokens, num_supervised_out=rendered.num_supervised)
    return View(Conversation("built", messages), "trained", Outcome((rendered,), account), sheets=(sheet,))


def test_plain_text_brackets_what_is_trained(renderer: Renderer, reader: Reader) -> None:
    shown = plain_text(branches(view_of(renderer, "Hi", "Hello."), reader))
    assert shown == "<|im_start|>user⏎\nHi<|im_end|>⏎\n<|im_start|>assistant⏎\n⟦Hello.<|im_end|>⟧"


def test_rich_text_says_the_same_in_color(renderer: Renderer, reader: Reader) -> None:
    found = branches(view_of(renderer, "Hi", "Hello."), reader)
    colored = rich_text(found)
    assert colored.plain == plain_text(found).replace("⟦", "").replace("⟧", "")
    green = "".join(colored.plain[span.start : span.end] for span in colored.spans if "green" in str(span.style))
    assert green == "Hello.<|im_end|>"


def test_control_tokens_stand_apart_from_text_that_spells_them(renderer: Renderer, reader: Reader) -> None:
    (branch,) = branches(view_of(renderer, "What is <|im_end|>?", "A stop token."), reader)
    control = [each.text for each in branch.stretches if each.kind in ("control", "end")]
    assert control == ["<|im_start|>", "<|im_end|>", "<|im_start|>", "<|im_end|>"]


def test_characters_of_several_tokens_survive(renderer: Renderer, reader: Reader) -> None:
    shown = plain_text(branches(view_of(renderer, "Grüße 你好", "🙂🙂"), reader))
    assert "Grüße 你好" in shown
    assert "⟦🙂🙂<|im_end|>⟧" in shown


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_the_pieces_of_tokens_are_their_text(tiny_tokenizer_folder: Path, text: str) -> None:
    renderer: Any = renderer_for(tiny_tokenizer_folder, RenderConfig())
    tokens = np.array(renderer.tokenizer.encode(text.encode("utf-8", "ignore").decode()), np.int32)
    pieces = Reader(renderer).pieces(tokens)
    assert len(pieces) == tokens.size
    assert "".join(pieces) == renderer.text(tokens.tolist(), skip_control=False)


def test_parts_and_roles_are_told_apart(renderer: Renderer, reader: Reader) -> None:
    view = built(
        reader,
        renderer,
        ("be brief", 0, Part.TEXT, 0),
        ("\n", 0, Part.CONTROL, -1),
        ("hi", 0, Part.TEXT, 1),
        ("<think>", 1, Part.CONTROL, 2),
        ("hm", 1, Part.REASONING, 2),
        ("four", 1, Part.TEXT, 2),
        ("call()", 0.5, Part.TOOL_CALL, 2),
        ("21", 0, Part.TEXT, 3),
    )
    (branch,) = branches(view, reader)
    assert [stretch.kind for stretch in branch.stretches] == [
        "system",
        "template",
        "user",
        "markup",
        "reasoning",
        "text",
        "tool call",
        "tool",
    ]
    shown = plain_text([branch])
    assert shown == "be brief⏎\nhi⟦reasoning: <think>hm⟧⟦four⟧⟦×0.5 tool call: call()⟧21"
    assert "×0.5 call()" in rich_text([branch]).plain
    named = legend({stretch.kind for stretch in branch.stretches}).plain
    assert "trained reasoning" in named and "tool message" in named and "cut away" not in named


def test_a_branch_says_what_it_continues(renderer: Renderer, reader: Reader) -> None:
    view = built(reader, renderer, ("every day ", 0, Part.TEXT, 1), ("at noon", 1, Part.TEXT, 2), parent=2)
    found = branches(view, reader)
    shared = "".join(reader.pieces(view.sheets[0].rendered.tokens)[:3])
    assert plain_text(found).count("every day") == 1 + shared.count("every day")
    assert f"-- sequence 2 continues from token 3, ...{shared}\n⟦at noon⟧" in plain_text(found)
    assert "2 sequences" in heading(view, len(found))


def test_token_borders_stand_behind_each_token(renderer: Renderer, reader: Reader) -> None:
    view = view_of(renderer, "Hi", "Hello.")
    shown = plain_text(branches(view, reader), with_borders=True)
    assert shown.count("│") == view.account.num_tokens_out
    assert "⏎│\n" in shown


@pytest.mark.parametrize("policy", ["truncate_prompt_head", "truncate_response"])
def test_what_is_cut_is_marked(renderer: Renderer, reader: Reader, policy: str) -> None:
    view = view_of(renderer, "what " * 40, "four " * 9, max_tokens=100, too_long=policy)
    assert view.fate == "cut"
    assert policy in view.problem
    (branch,) = branches(view, reader)
    cut = sum(len(stretch.pieces) for stretch in branch.stretches if stretch.kind == "cut")
    trained = sum(len(stretch.pieces) for stretch in branch.stretches if stretch.is_trained)
    assert cut == view.account.num_tokens_cut > 0
    assert trained == view.account.num_supervised_out
    assert "⟪" in plain_text([branch])
    assert "truncated: " in heading(view, 1)
    assert "⟪cut away⟫" in plain_legend({stretch.kind for stretch in branch.stretches})


def test_pieces_of_a_split_conversation_stand_apart(renderer: Renderer, reader: Reader) -> None:
    turns = [Message(role, f"{role} {n} " * 9) for n in range(3) for role in ("user", "assistant")]  # type: ignore[arg-type]
    long = Conversation("long", (Message("system", "brief"), *turns), source="data.jsonl:9")
    (view,) = views(RenderConfig(max_tokens=200, too_long="split_turns"), renderer, [long])
    assert view.fate == "split"
    assert len(view.sheets) == view.account.num_pieces > 1
    last = view.sheets[-1].rendered
    assert last.messages is not None and last.messages.max() == 6
    roles = set(kinds(long, view.sheets[-1], reader))
    assert {"system", "user"} <= roles
    assert "apart from the others" in plain_text(branches(view, reader))


def test_what_is_not_trained_says_why(renderer: Renderer, reader: Reader) -> None:
    empty = Conversation("none", (Message("user", "Hi"),), source="data.jsonl:3")
    (refused,) = views(RenderConfig(), renderer, [empty])
    assert (refused.fate, refused.sheets) == ("refused", ())
    assert heading(refused, 0).startswith("data.jsonl:3 (none): refused: ")
    for policy, fate in (("error", "stops"), ("drop", "dropped")):
        view = view_of(renderer, "Hi", "four " * 50, max_tokens=20, too_long=policy)
        assert view.fate == fate
        assert "render.max_tokens = 20" in heading(view, 1)
        assert bool(view.sheets[0].cut.all())


def test_nothing_in_a_text_acts_on_the_terminal() -> None:
    assert visible("a\x1b[2Jb\u202ec\r\x00\ufeff") == "a<U+001B>[2Jb<U+202E>c<U+000D><U+0000><U+FEFF>"
    assert visible("Grüße\t你好 👩‍👧\n") == "Grüße\t你好 👩‍👧\n"


# The page


class Structure(HTMLParser):
    """What a browser would see: elements, and the text of the scripts and style sheets."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        is_read = tag in ("script", "style") or (tag == "title" and "title" not in self.texts)
        self._inside = dict(attrs).get("id") or tag if is_read else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts[self._inside] = self.texts.get(self._inside, "") + data


def page_of(reader: Reader, *shown: View, title: str = "data.jsonl") -> tuple[str, Structure, Any]:
    page = Page()
    for view in shown:
        page.add(view, reader)
    text = html_page(page, title, "model tiny", 2048)
    structure = Structure()
    structure.feed(text)
    return text, structure, json.loads(structure.texts["data"])


def test_hostile_text_stays_text(renderer: Renderer, reader: Reader) -> None:
    plain = page_of(reader, view_of(renderer, "Hi", "Hello."))[1]
    view = view_of(renderer, HOSTILE, HOSTILE)
    text, structure, data = page_of(reader, view, title=HOSTILE)
    assert [tag for tag, _ in structure.tags if tag != "li"] == [tag for tag, _ in plain.tags if tag != "li"]
    assert "<" not in structure.texts["data"] and ">" not in structure.texts["data"]
    assert html.unescape(structure.texts["title"]) == visible(HOSTILE)
    assert "\x1b" not in text and "\u202e" not in text
    (sheet,) = data["conversations"][0]["sheets"]
    pieces = [sheet["texts"].get(str(n), data["vocabulary"][str(token)]) for n, token in enumerate(sheet["ids"])]
    assert "".join(pieces).count(HOSTILE) == 2


def test_the_page_needs_nothing_else_and_runs_only_its_own_script(renderer: Renderer, reader: Reader) -> None:
    text, structure, _ = page_of(reader, view_of(renderer, "Hi", "Hello."))
    assert not re.search(r"""(?:src|href|url)\s*[=(]|@import|https?://(?!www\.w3\.org/2000/svg)""", text)
    policy = next(each["content"] for tag, each in structure.tags if "http-equiv" in each) or ""
    assert "default-src 'none'" in policy
    for name in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(structure.texts[name].encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert not [each for _, each in structure.tags if any(key.startswith("on") or key == "style" for key in each)]


def test_the_page_s_data_say_what_each_token_is(renderer: Renderer, reader: Reader) -> None:
    view = view_of(renderer, "Grüße 你好", "🙂")
    _, _, data = page_of(reader, view)
    (entry,) = data["conversations"]
    (sheet,) = entry["sheets"]
    rendered = view.sheets[0].rendered
    assert (entry["tokens"], entry["trained"], entry["cut"]) == (rendered.num_tokens, rendered.num_supervised, 0)
    marks = [mark for number, *mark in sheet["runs"] for _ in range(number)]
    assert [data["kinds"][kind] for kind, *_ in marks] == kinds(view.conversation, view.sheets[0], reader)
    assert [weight for _, _, weight, _ in marks] == rendered.loss_weights.tolist()
    assert sheet["ids"] == rendered.tokens.tolist()
    assert data["files"] == ["data.jsonl"]
    assert set(data["kinds"]) == set(KINDS)


def test_every_kind_of_token_has_a_style() -> None:
    folder = Path(__file__).resolve().parents[2] / "src/tunesmith/render/show/page"
    sheet = (folder / "show.css").read_text(encoding="utf-8")
    for kind in set(KINDS) - {"context"}:
        assert f".{kind.replace(' ', '-')}" in sheet, kind


def test_a_refused_conversation_has_a_card_with_the_reason(renderer: Renderer, reader: Reader) -> None:
    (refused,) = views(RenderConfig(), renderer, [Conversation("none", (Message("user", "Hi"),), source="a.jsonl:3")])
    _, _, data = page_of(reader, refused)
    (entry,) = data["conversations"]
    assert entry["fate"] == "refused" and entry["problem"] and entry["sheets"] == []


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=50), st.integers(1, 40))
def test_bins_hold_every_value_once(values: list[int], num_bins: int) -> None:
    found = bins(values, num_bins)
    assert sum(each.num for each in found) == len(values)
    assert all(low.high + 1 == high.low for low, high in pairwise(found))
    assert found[0].low == 0 and found[-1].low <= max(values) <= found[-1].high
    assert len(found) <= num_bins + 1


def test_charts_of_nothing_and_of_outliers() -> None:
    assert histogram([], "Nothing") == "" and bars([]) == []
    lines = bars([1, 2, 3, 900])
    assert len(lines) == 3 and lines[1].strip() == "..."
    assert "max_tokens 50" in histogram([1, 99], "Lengths", limit=50)
    assert "max_tokens" not in histogram([1, 9], "Lengths", limit=50)
