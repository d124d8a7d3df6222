"""Rendered conversations for people: which tokens are trained, which are only context, which are cut.

Needs neither torch nor a terminal: with `rich_text` it colors, with `plain_text` it brackets what is trained.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from rich.text import Text

from tunesmith.render.show.tokens import TRAINED_KINDS, Reader, kinds
from tunesmith.render.show.views import Sheet, View

LINE_BREAK = "⏎"
OPEN, CLOSE = "⟦", "⟧"
CUT_OPEN, CUT_CLOSE = "⟪", "⟫"
TOKEN_BORDER = "│"
NUM_BEFORE = 40
"""How many characters of the shared context are repeated where another branch continues it."""

STYLES = {
    "text": "black on green",
    "reasoning": "black on cyan",
    "tool call": "black on yellow",
    "markup": "underline black on green",
    "end": "bold underline black on green",
    "system": "cyan",
    "developer": "cyan",
    "user": "dim",
    "assistant": "dim italic",
    "tool": "bright_blue",
    "context": "dim",
    "template": "dim magenta",
    "control": "magenta",
    "cut": "strike red",
}
MEANINGS = {
    "text": "trained",
    "reasoning": "trained reasoning",
    "tool call": "trained tool call",
    "markup": "trained template text",
    "end": "trained control token",
    "context": "context",
    "template": "template text",
    "control": "control token",
    "cut": "cut away",
}
FATES = {
    "trained": "trained",
    "cut": "truncated",
    "split": "split",
    "dropped": "left out",
    "stops": "stops the run",
    "refused": "refused",
}
# What would move the cursor, reverse the reading direction or be invisible.
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighboring tokens that are alike: of one kind, one loss weight and one branch."""

    kind: str
    weight: float
    pieces: tuple[str, ...]

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def is_trained(self) -> bool:
        return self.kind in TRAINED_KINDS


@dataclass(frozen=True, slots=True)
class Branch:
    """One branch of a conversation: its own tokens, and the token that it continues, or -1."""

    stretches: tuple[Stretch, ...]
    parent: int
    before: str
    """The end of the text that the branch continues."""


def branches(view: View, reader: Reader) -> list[Branch]:
    """All branches of a conversation; one that does not fork has one, a refused one none."""
    return [branch for sheet in view.sheets for branch in _branches(view, sheet, reader)]


def _branches(view: View, sheet: Sheet, reader: Reader) -> Iterator[Branch]:
    pieces = reader.pieces(sheet.rendered.tokens)
    marks = list(zip(kinds(view.conversation, sheet, reader), sheet.rendered.loss_weights.tolist(), strict=True))
    starts = [start for start, _, _ in sheet.spans]
    for start, end, parent in sheet.spans:
        groups = groupby(range(start, end), key=marks.__getitem__)
        stretches = tuple(Stretch(*mark, tuple(pieces[index] for index in group)) for mark, group in groups)
        parent_start = starts[bisect_right(starts, parent) - 1]
        yield Branch(stretches, parent, "".join(pieces[parent_start : parent + 1])[-NUM_BEFORE:])


def heading(view: View, num_branches: int) -> str:
    """Where a conversation comes from, its counts, and what is wrong with it."""
    conversation = view.conversation
    facts = [
        f"{view.account.num_tokens_out:,} tokens, {view.account.num_supervised_out:,} trained",
        *([f"{view.account.num_tokens_cut:,} cut away"] if view.account.num_tokens_cut else []),
        *([f"{num_branches} sequences"] if num_branches > 1 else []),
    ]
    place = f"{conversation.source or 'conversation'} ({conversation.id})"
    if view.fate == "refused":
        return visible(f"{place}: {FATES[view.fate]}: {view.problem}")
    problem = f"\n{FATES[view.fate]}: {view.problem}" if view.problem else ""
    return visible(f"{place}: {', '.join(facts)}{problem}")


def rich_text(branches: Sequence[Branch], with_borders: bool = False) -> Text:
    """A conversation in color: trained tokens on a ground, context dim, control tokens and line breaks visible."""
    text = Text()
    for number, branch in enumerate(branches, 1):
        text.append(_introduction(number, branch, text.plain[-1:]), style="bold")
        for stretch in branch.stretches:
            text.append(_weight_mark(stretch), style="bold")
            text.append(_spelled(stretch, with_borders), style=STYLES[stretch.kind])
    return text


def plain_text(branches: Sequence[Branch], with_borders: bool = False) -> str:
    """A conversation without color: what is trained stands between ⟦ and ⟧, what is cut between ⟪ and ⟫."""
    parts: list[str] = []
    for number, branch in enumerate(branches, 1):
        parts.append(_introduction(number, branch, parts[-1][-1:] if parts else ""))
        brackets = _brackets(branch.stretches)
        for (before, after), group in groupby(zip(brackets, branch.stretches, strict=True), key=itemgetter(0)):
            text = "".join(_spelled(stretch, with_borders) for _, stretch in group)
            parts.append(f"{before}{text}{after}")
    return "".join(parts)


def legend(seen: set[str]) -> Text:
    """What the colors mean, for the kinds of tokens that were seen."""
    entries = [(MEANINGS.get(kind, f"{kind} message"), style) for kind, style in STYLES.items() if kind in seen]
    return Text("  ").join([*(Text(*entry) for entry in entries), Text(f"{LINE_BREAK} line break")])


def plain_legend(seen: set[str]) -> str:
    """What the marks mean."""
    marks = [f"{OPEN}trained{CLOSE}", *([f"{CUT_OPEN}cut away{CUT_CLOSE}"] if "cut" in seen else [])]
    return "  ".join([*marks, "the rest is context", f"{LINE_BREAK} line break"])


def visible(text: str) -> str:
    """A text in which nothing acts on a terminal or hides: control characters and the like are spelled out."""
    return HIDDEN.sub(lambda match: f"<U+{ord(match[0]):04X}>", text)


def _introduction(number: int, branch: Branch, last: str) -> str:
    """What stands before a branch that is not the first, where the text so far ends with the character `last`."""
    if number == 1:
        return ""
    gap = "\n" if last == "\n" else "\n\n"
    if branch.parent < 0:
        return f"{gap}-- sequence {number}, apart from the others:\n"
    before = visible(branch.before).replace("\n", LINE_BREAK)
    return f"{gap}-- sequence {number} continues from token {branch.parent + 1:,}, ...{before}\n"


def _weight_mark(stretch: Stretch) -> str:
    if not stretch.is_trained:
        return ""
    side = "rejected " if stretch.weight < 0 else ""
    return f"{side}×{abs(stretch.weight):g} " if abs(stretch.weight) != 1 else side


def _brackets(stretches: Sequence[Stretch]) -> list[tuple[str, str]]:
    """What stands before and after each stretch; neighbors with the same marks share them.

    What the template writes takes the marks of the trained stretch before it, or else behind it.
    """
    found: list[tuple[str, str]] = []
    for place, stretch in enumerate(stretches):
        is_markup = stretch.kind in ("markup", "end")
        before = stretches[place - 1] if place else None
        after = stretches[place + 1] if place + 1 < len(stretches) else None
        if is_markup and before is not None and before.is_trained and before.weight == stretch.weight:
            found.append(found[-1])
        elif is_markup and after is not None and after.is_trained and after.weight == stretch.weight:
            found.append(_bracket(after))
        else:
            found.append(_bracket(stretch))
    return found


def _bracket(stretch: Stretch) -> tuple[str, str]:
    if stretch.kind == "cut":
        return CUT_OPEN, CUT_CLOSE
    if not stretch.is_trained:
        return "", ""
    part = f"{stretch.kind}: " if stretch.kind in ("reasoning", "tool call") else ""
    return f"{OPEN}{_weight_mark(stretch)}{part}", CLOSE


def _spelled(stretch: Stretch, with_borders: bool) -> str:
    """The text of a stretch, a border behind each token; where a token ends its line, before the line break."""
    pieces = (visible(piece).replace("\n", f"{LINE_BREAK}\n") for piece in stretch.pieces)
    if not with_borders:
        return "".join(pieces)
    return "".join(f"{piece[:-1]}{TOKEN_BORDER}\n" if piece[-1:] == "\n" else piece + TOKEN_BORDER for piece in pieces)
