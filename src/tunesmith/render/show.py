"""Rendered conversations for people: which tokens are trained, and which are only context.

Needs neither torch nor a terminal: with `Text` it colors, with `plain_text` it brackets what is trained.
"""

from collections.abc import Iterator
from functools import cache
from itertools import groupby
from typing import NamedTuple

from rich.text import Text

from tunesmith.render import Renderer
from tunesmith.types import Rendered

LINE_BREAK = "⏎"
OPEN, CLOSE = "⟦", "⟧"
STYLES = {
    # (is trained, is a control token)
    (True, False): "black on green",
    (True, True): "bold black on green",
    (False, False): "dim",
    (False, True): "magenta",
}


class Stretch(NamedTuple):
    """Neighboring tokens that are alike."""

    text: str
    is_trained: bool
    is_control: bool


def stretches(rendered: Rendered, renderer: Renderer) -> Iterator[Stretch]:
    """The tokens of a conversation as stretches of text; a control token is one whose text is only shown on demand."""

    @cache
    def is_control(token: int) -> bool:
        return not renderer.text([token]) and bool(renderer.text([token], skip_control=False))

    marked = [
        (int(token), weight > 0, is_control(int(token)))
        for token, weight in zip(rendered.tokens, rendered.loss_weights, strict=True)
    ]
    for (is_trained, control), group in groupby(marked, key=lambda each: each[1:]):
        # Decoded together: a character may be spread over several tokens.
        text = renderer.text([token for token, *_ in group], skip_control=False)
        yield Stretch(text, bool(is_trained), control)


def rich_text(rendered: Rendered, renderer: Renderer) -> Text:
    """The conversation in color: trained tokens on green, context dim, control tokens and line breaks visible."""
    text = Text()
    for stretch in stretches(rendered, renderer):
        text.append(_visible(stretch.text), style=STYLES[stretch.is_trained, stretch.is_control])
    return text


def plain_text(rendered: Rendered, renderer: Renderer) -> str:
    """The conversation without color: what is trained stands between ⟦ and ⟧."""
    parts = []
    for is_trained, group in groupby(stretches(rendered, renderer), key=lambda each: each.is_trained):
        text = "".join(stretch.text for stretch in group)
        parts.append(f"{OPEN}{text}{CLOSE}" if is_trained else text)
    return _visible("".join(parts))


def legend() -> Text:
    """What the colors mean."""
    return Text.assemble(
        ("trained", STYLES[True, False]),
        "  ",
        ("context", STYLES[False, False]),
        "  ",
        ("control token", STYLES[False, True]),
        f"  {LINE_BREAK} line break",
    )


def plain_legend() -> str:
    """What the marks mean."""
    return f"{OPEN}trained{CLOSE}  the rest is context  {LINE_BREAK} line break"


def _visible(text: str) -> str:
    return text.replace("\n", f"{LINE_BREAK}\n")
