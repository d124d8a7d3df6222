"""The types `list` (order counts) and `set` (it does not): JSON, a, b and c, one a line, bullets, or in brackets.

`of` names the type of the members.
"""

import re
from collections.abc import Callable, Iterable, Mapping

from tunesmith.verify.equivalence.json_values import Refused, canonical, json_value
from tunesmith.verify.equivalence.numerals import prepared
from tunesmith.verify.equivalence.readings import Kind, Reading, Wanted
from tunesmith.verify.equivalence.texts import bare

MOST_MEMBERS = 1000
MOST_COMPARED = 200
BULLET = re.compile(r"(?:[-*•+]|[0-9]{1,3}[.)]) +")
BRACKETS = {"[": "]", "{": "}", "(": ")"}
GROUPED = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+")
LAST_AND = re.compile(r"(?:,? (?:and|&)|,? or) ")
LEADING_AND = re.compile(r"^(?:and|or|&) ")
BRACKETED = re.compile(r"\[[^\[\]\n]{1,2000}\]|\{[^{}\n]{1,2000}\}")
Members = tuple[Reading, ...]


class _Members:
    """Reads lists or sets whose members are of any of the simple types."""

    def __init__(self, kinds: Mapping[str, Kind], ordered: bool) -> None:
        self.kinds, self.ordered = kinds, ordered

    def read(self, text: str, wanted: Wanted) -> Reading | None:
        """Every way in which the text can be divided, as `value`: salt and pepper is one member or two."""
        ways = [self._members(pieces, wanted) for pieces in _divisions(_bare(text)) if len(pieces) <= MOST_MEMBERS]
        read = tuple(dict.fromkeys(way for way in ways if way is not None))
        return Reading(read, "members", 0, len(text)) if read else None

    def find(self, text: str, wanted: Wanted) -> list[Reading]:
        """The last bulleted lines; else the last brackets; else what follows the last colon of the last line."""
        lines = [line for line in text.split("\n") if line]
        bullets = _last_bullets(lines)
        groups = BRACKETED.findall(text)
        after_colon = lines[-1].rpartition(": ")[2] if lines and ": " in lines[-1] else ""
        chosen = "\n".join(bullets) or (groups[-1] if groups else after_colon)
        reading = self.read(chosen, wanted) if chosen else None
        return [] if reading is None else [Reading(reading.value, reading.form, 0, len(text))]

    def differs(self, gold: Reading, seen: Reading, wanted: Wanted) -> str | None:
        compare = _lists_differ if self.ordered else _sets_differ
        same = self._same(wanted)
        reasons = [compare(one, other, same) for one in gold.value for other in seen.value]
        return None if None in reasons else reasons[0]

    def _same(self, wanted: Wanted) -> Callable[[Reading, Reading], bool]:
        kind = self.kinds[wanted.of]
        return lambda one, other: kind.differs(one, other, wanted) is None

    def _members(self, pieces: Iterable[str], wanted: Wanted) -> Members | None:
        kind = self.kinds[wanted.of]
        members = []
        for piece in pieces:
            reading = kind.read(bare(piece), wanted)
            if reading is None or reading.problem:
                return None
            members.append(Reading(reading.value, reading.form))
        return tuple(members)


def member_kind(kinds: Mapping[str, Kind], ordered: bool) -> Kind:
    """The type `list` or `set` over a table of simple types."""
    members = _Members(kinds, ordered)
    options = ("of", "tolerance", "unit", "locale", "order", "options")
    return Kind(prepared, members.read, members.find, members.differs, options, bare=_bare)


def _bare(text: str) -> str:
    return text if "\n" in text else bare(text)


def spelled(values: Iterable[object]) -> str:
    """A list from a golden item as the text that `read` divides into the same members."""
    return canonical(
        [value if isinstance(value, str | bool) else canonical(json_value(canonical(value))) for value in values]
    )


def _divisions(text: str) -> list[list[str]]:
    if text.startswith("["):
        try:
            values = json_value(text)
            return [[value if isinstance(value, str) else canonical(value) for value in values]]
        except Refused:
            pass
    text = text.replace("\\{", "{").replace("\\}", "}")
    if text and BRACKETS.get(text[0]) == text[-1]:
        text = text[1:-1].strip()
        if not text:
            return [[]]
    lines = [line for line in text.split("\n") if line]
    if len(lines) > 1 or (lines and BULLET.match(lines[0])):
        return [[BULLET.sub("", line, count=1) for line in _last_bullets(lines) or lines]]
    return _of_line(text)


def _of_line(text: str) -> list[list[str]]:
    if ";" in text:
        pieces = text.split(";")
    elif ", " in text:
        pieces = re.split(r", +", text)
    else:
        pieces = [text] if GROUPED.fullmatch(text) else text.split(",")
    pieces = [LEADING_AND.sub("", piece.strip(), count=1) if at else piece.strip() for at, piece in enumerate(pieces)]
    pieces = [piece for piece in pieces if piece]
    divided = [part for part in LAST_AND.split(pieces[-1]) if part] if pieces else []
    return [[*pieces[:-1], *divided], pieces] if len(divided) > 1 else [pieces] if pieces else []


def _last_bullets(lines: list[str]) -> list[str]:
    run: list[str] = []
    for line in reversed(lines):
        if BULLET.match(line):
            run.append(line)
        elif run:
            break
    return run[::-1]


def _lists_differ(one: Members, other: Members, same: Callable[[Reading, Reading], bool]) -> str | None:
    if len(one) != len(other):
        return "other number of members"
    return None if all(map(same, one, other)) else "differs"


def _sets_differ(one: Members, other: Members, same: Callable[[Reading, Reading], bool]) -> str | None:
    """Every member of either has its equal in the other; beyond 200 members, equals must be alike."""
    lone, lone_other = (tuple({repr(member.value): member for member in side}.values()) for side in (one, other))
    if max(len(lone), len(lone_other)) > MOST_COMPARED:
        return (
            None
            if {repr(member.value) for member in lone} == {repr(member.value) for member in lone_other}
            else "differs"
        )
    covered = all(any(same(a, b) for b in lone_other) for a in lone) and all(
        any(same(a, b) for a in lone) for b in lone_other
    )
    return None if covered else "differs"
