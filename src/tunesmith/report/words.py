"""Text of models and data on a page: harmless, cut to what people read, and with its differences marked."""

import difflib
import re
from html import escape

from tunesmith.render.show import visible

MOST_CHARACTERS = 2000
MOST_WORDS = 400
_WORDS = re.compile(r"\s+|[^\s\w]|\w+")


def safe(text: str) -> str:
    """A text that cannot become markup, and in which nothing hides or turns the line around."""
    return escape(visible(text))


def cut(text: str, most: int = MOST_CHARACTERS) -> tuple[str, str]:
    """The beginning of a text, and a note on what is left out (empty where nothing is)."""
    if len(text) <= most:
        return text, ""
    return text[:most], f"… {len(text) - most:,} more characters"


def block(text: str) -> str:
    """A whole text as HTML, cut where it is long."""
    shown, note = cut(text)
    return _body(safe(shown), note)


def word_diff(before: str, after: str) -> tuple[str, str]:
    """Both texts as HTML: words that only the first has in `del`, words that only the second has in `ins`.

    Beyond `MOST_WORDS` words nothing is marked: the comparison is quadratic, and people stop reading.
    """
    (first, first_note), (second, second_note) = cut(before), cut(after)
    old, new = _pieces(first), _pieces(second)
    sides: tuple[list[str], list[str]] = ([], [])
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        for side, words, tag in ((sides[0], old[a:b], "del"), (sides[1], new[c:d], "ins")):
            text = safe("".join(words))
            side.append(text if kind == "equal" or not text else f"<{tag}>{text}</{tag}>")
    return _body("".join(sides[0]), first_note), _body("".join(sides[1]), second_note)


def _pieces(text: str) -> list[str]:
    """Words, spaces and signs; what follows the last one that is compared is one piece."""
    found: list[str] = []
    for match in _WORDS.finditer(text):
        if len(found) == MOST_WORDS:
            return [*found, text[match.start() :]]
        found.append(match[0])
    return found


def _body(html: str, note: str) -> str:
    return (html or '<span class="quiet">(nothing)</span>') + (f'<span class="quiet">{note}</span>' if note else "")
