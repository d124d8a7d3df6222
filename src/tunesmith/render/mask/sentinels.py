"""A chat template's text with slots: literals that it writes by itself, and places where a field of a message goes.

The template is rendered twice for a shape of conversation: once with a unique word in place of each field, which shows
where the fields go, and once with those words between whitespace, quotes and backslashes, which shows what the
template does to a field on the way (trim it, escape it as JSON). The result is a slotted text, one plain string: a
slot is three characters, SLOT, the field's number and the number of what is done to it, so that prefixes can be
compared and cut as strings.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Literal, NamedTuple

from tunesmith.types import Message

SLOT = "\ufdd0"
"""Opens a slot. A Unicode noncharacter: it has no business in any text."""
BREAK = "\ufdd1"
"""Stands inside a control token that was spelled out in a text, so that the template and we take it for text."""
_BASE = 0x4E00
SLOT_LENGTH = 3
ANY = 18
"""Something else was done to the field: its text has to be found between the literals."""

_LEAD, _MIDDLE, _TRAIL = "\n\t \n", '"\\', "\n \t\n"
_LEADS = (_LEAD, "\t \n", "")
_TRAILS = (_TRAIL, "\n \t", "")
_WORD = re.compile(r"Zq7h(\d{4})h7qZ")
_SLOTS = re.compile(f"{SLOT}(.)(.)", re.DOTALL)


class Field(NamedTuple):
    """A text that a message brings."""

    message: int
    kind: Literal["content", "reasoning"]


def word(number: int, half: int = 0) -> str:
    """The marker word of a field; letters and digits, so that nothing trims, escapes or re-encodes it."""
    return f"Zq7h{2 * number + half:04d}h7qZ"


def fields_of(messages: Sequence[Message], literal_roles: Sequence[str] = ()) -> list[Field]:
    """The fields that become slots: all texts that are not blank, since templates branch on blank ones."""
    fields = []
    for index, message in enumerate(messages):
        if message.role in literal_roles:
            continue
        if message.reasoning and message.reasoning.strip():
            fields.append(Field(index, "reasoning"))
        if message.content.strip():
            fields.append(Field(index, "content"))
    return fields


def filled(messages: Sequence[Message], fields: Sequence[Field], decorated: bool = False) -> list[Message]:
    """The messages with marker words in their fields."""
    marked = list(messages)
    for number, field in enumerate(fields):
        text = word(number)
        if decorated:
            text = f"{_LEAD}{text}{_MIDDLE}{word(number, 1)}{_TRAIL}"
        change = {field.kind: text}
        marked[field.message] = replace(marked[field.message], **change)  # type: ignore[arg-type]
    return marked


def slotted(plain: str, decorated: str | None) -> str:
    """The slotted text, from the template's text with plain marker words and with decorated ones."""
    literals, numbers = _split(plain)
    changes = _changes(literals, numbers, decorated) if decorated is not None else [ANY] * len(numbers)
    parts = [literals[0]]
    for number, change, literal in zip(numbers, changes, literals[1:], strict=True):
        parts.append(f"{SLOT}{chr(_BASE + number)}{chr(_BASE + change)}{literal}")
    return "".join(parts)


def _split(text: str) -> tuple[list[str], list[int]]:
    """Literals, and between them the numbers of the fields."""
    pieces = _WORD.split(text)
    return pieces[::2], [int(piece) // 2 for piece in pieces[1::2]]


def _changes(literals: Sequence[str], numbers: Sequence[int], decorated: str) -> list[int]:
    """What the template did to each field, as code = left + 3 right + 9 json; ANY where that is unclear."""
    pieces = _WORD.split(decorated)
    seen = [(int(each) // 2, int(each) % 2) for each in pieces[1::2]]
    if seen != [(number, half) for number in numbers for half in (0, 1)]:
        return [ANY] * len(numbers)
    outer, middles = pieces[::4], pieces[2::4]
    changes = []
    for index, middle in enumerate(middles):
        is_json = {_MIDDLE: 0, _json(_MIDDLE): 1}.get(middle)
        left = _ending(outer[index], literals[index], index > 0, is_json)
        right = _beginning(outer[index + 1], literals[index + 1], is_json)
        changes.append(ANY if is_json is None or left is None or right is None else left + 3 * right + 9 * is_json)
    return changes


def _ending(outer: str, literal: str, has_before: bool, is_json: int | None) -> int | None:
    """Which of the three leads stands at the end of `outer`, behind the literal."""
    for code, lead in enumerate(_LEADS):
        head = outer.removesuffix(_json(lead) if is_json else lead)
        if len(head) + len(_json(lead) if is_json else lead) == len(outer) and (
            head.endswith(literal) if has_before else head == literal
        ):
            return code
    return None


def _beginning(outer: str, literal: str, is_json: int | None) -> int | None:
    for code, trail in enumerate(_TRAILS):
        written = _json(trail) if is_json else trail
        if outer.startswith(written + literal):
            return code
    return None


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def apply_change(text: str, change: int) -> str:
    """What the template does to a field."""
    if change == 0:
        return text
    left, right, is_json = change % 3, change // 3 % 3, change >= 9
    text = text.lstrip("\n") if left == 1 else text.lstrip() if left == 2 else text
    text = text.rstrip("\n") if right == 1 else text.rstrip() if right == 2 else text
    return _json(text) if is_json else text


class Slot(NamedTuple):
    """A slot of a slotted text: where it stands, which field goes there and what is done to it."""

    start: int
    number: int
    change: int

    @property
    def end(self) -> int:
        return self.start + SLOT_LENGTH


def slot_at(text: str) -> Slot | None:
    """The slot that a text begins with, or None."""
    return Slot(0, ord(text[1]) - _BASE, ord(text[2]) - _BASE) if text.startswith(SLOT) else None


def slots_of(text: str) -> list[Slot]:
    return [Slot(match.start(), ord(match[1]) - _BASE, ord(match[2]) - _BASE) for match in _SLOTS.finditer(text)]


def slot_text(number: int) -> str:
    """A slot that takes a field as it is."""
    return f"{SLOT}{chr(_BASE + number)}{chr(_BASE)}"


def without_changes(text: str) -> str:
    """A slotted text that says where fields go, and not what is done to them."""
    return re.sub(f"{SLOT}(.).", SLOT + r"\1", text, flags=re.DOTALL)


def fill(text: str, values: Sequence[str]) -> str | None:
    """The slotted text with the fields' own texts in their slots; None where a slot's change is unknown."""
    first, slots = _taken_apart(text)
    parts = [first]
    for number, change, literal in slots:
        if change == ANY:
            return None
        parts += (apply_change(values[number], change), literal)
    return "".join(parts)


@lru_cache(maxsize=8192)
def _taken_apart(text: str) -> tuple[str, tuple[tuple[int, int, str], ...]]:
    """The first literal, and for each slot its field, what is done to it, and the literal behind it."""
    pieces = _SLOTS.split(text)
    numbers = (ord(number) - _BASE for number in pieces[1::3])
    changes = (ord(change) - _BASE for change in pieces[2::3])
    return pieces[0], tuple(zip(numbers, changes, pieces[3::3], strict=True))


def common_length(first: str, second: str) -> int:
    """How many characters two slotted texts share at the start, never ending inside a slot."""
    size = min(len(first), len(second))
    at = next((index for index in range(size) if first[index] != second[index]), size)
    opened = first.rfind(SLOT, 0, at)
    return opened if opened >= 0 and at < opened + SLOT_LENGTH else at


def align(pieces: str, text: str) -> list[str] | None:
    """The texts that stand in the slots of `pieces` in an actual `text`, or None where that is not unique."""
    literals = _SLOTS.split(pieces)[::3]
    if len(literals) == 1:
        return [] if literals[0] == text else None
    readings = []
    for wild in ("(.*?)", "(.*)"):
        found = re.fullmatch(wild.join(re.escape(literal) for literal in literals), text, re.DOTALL)
        readings.append(None if found is None else list(found.groups()))
    return readings[0] if readings[0] == readings[1] else None
