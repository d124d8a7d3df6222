"""From slotted texts to the steps that make tokens: what is the same for all conversations of a shape is done once.

A row is the prompt and completion of its last turn; turns before it, whose texts are its beginnings, are trained in
the same row. Each character of the row has a label: its message, its part and its loss weight. Control tokens cut the
row into sections, and so does the start of each completion, since inference sends the prompt by itself.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from tunesmith.render.mask.sentinels import SLOT, SLOT_LENGTH, Field, slots_of
from tunesmith.render.mask.shape import Turn
from tunesmith.render.mask.stops import TAG
from tunesmith.types import Message, Part

NOBODY = -1


class Label(NamedTuple):
    """Where characters come from, and the weight of their tokens."""

    message: int
    part: Part
    weight: float


class Piece(NamedTuple):
    """A stretch of one label: literal text, or a slot (`number` >= 0)."""

    text: str
    number: int
    change: int
    label: Label


class Control(NamedTuple):
    """A control token of the template."""

    token: int
    label: Label


@dataclass(frozen=True, slots=True)
class Section:
    """Text between control tokens. `cuts` are the numbers of the pieces before which a completion begins."""

    pieces: tuple[Piece, ...]
    cuts: tuple[int, ...]
    is_first: bool

    @property
    def is_literal(self) -> bool:
        return all(piece.number < 0 for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class RowPlan:
    """How to make one row: the turns it trains, and its steps in order."""

    turns: tuple[Turn, ...]
    steps: tuple[Control | Section, ...]
    alone: Callable[[], tuple["RowPlan", ...]] = tuple
    """Each turn in a row of its own, for conversations in which a merge of the tokenizer reaches into a completion."""


class Weights(NamedTuple):
    """What is trained: by message, the weight of what the model must write; and of the tokens that it only reads."""

    of_turn: Mapping[int, float]
    of_text: Mapping[int, float]
    train_reasoning: bool
    elsewhere: float = 0.0


def group_turns(turns: Sequence[Turn]) -> list[tuple[Turn, ...]]:
    """Turns that fit into one row: each one's prompt and completion is the beginning of the next one's prompt."""
    rows: list[list[Turn]] = []
    for turn in turns:
        if rows and turn.prompt.startswith(rows[-1][-1].prompt + rows[-1][-1].completion):
            rows[-1].append(turn)
        else:
            rows.append([turn])
    return [tuple(row) for row in rows]


def plan_row(
    turns: Sequence[Turn],
    messages: Sequence[Message],
    fields: Sequence[Field],
    weights: Weights,
    controls: Mapping[str, int],
    pattern: re.Pattern[str],
) -> RowPlan:
    """The plan of a row that ends with the completion of the last turn."""
    text = turns[-1].prompt + turns[-1].completion
    spans = [(len(turn.prompt), len(turn.prompt) + len(turn.completion), turn.index) for turn in turns]
    steps = tuple(_steps(text, spans, messages, fields, weights, controls, pattern))
    given = (messages, fields, weights, controls, pattern)
    return RowPlan(tuple(turns), steps, cache(lambda: tuple(plan_row([turn], *given) for turn in turns)))


def plan_text(
    text: str,
    messages: Sequence[Message],
    fields: Sequence[Field],
    weights: Weights,
    controls: Mapping[str, int],
    pattern: re.Pattern[str],
) -> RowPlan:
    """The plan of a whole text without turns."""
    return RowPlan((), tuple(_steps(text, [], messages, fields, weights, controls, pattern)))


def _steps(
    text: str,
    spans: Sequence[tuple[int, int, int]],
    messages: Sequence[Message],
    fields: Sequence[Field],
    weights: Weights,
    controls: Mapping[str, int],
    pattern: re.Pattern[str],
) -> Iterator[Control | Section]:
    owner = _Owner(text, fields, pattern)
    pieces: list[Piece] = []
    cuts: list[int] = []
    starts = {begin for begin, _, _ in spans}
    has_step = False
    for begin, end in _stretches(text, spans, pattern):
        message, turn = owner(begin), _turn_at(spans, begin)
        control = controls.get(text[begin:end])
        if begin in starts and pieces and control is None:
            cuts.append(len(pieces))
        if control is not None:
            if pieces:
                yield Section(tuple(pieces), tuple(cuts), not has_step)
                has_step = True
            pieces, cuts = [], []
            yield Control(control, _label(text, begin, end, message, turn, messages, fields, weights))
            has_step = True
        else:
            label = _label(text, begin, end, message, turn, messages, fields, weights)
            pieces.append(_piece(text[begin:end], label))
    if pieces:
        yield Section(tuple(pieces), tuple(cuts), not has_step)


def _stretches(text: str, spans: Sequence[tuple[int, int, int]], pattern: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """Begin and end of each slot, control token and literal between them, cut where completions begin and end."""
    borders = {0, len(text)} | {border for begin, end, _ in spans for border in (begin, end)}
    slots = {slot.start for slot in slots_of(text)}
    borders |= slots | {start + SLOT_LENGTH for start in slots}
    for match in pattern.finditer(text):
        borders |= {match.start(), match.end()}
    ordered = sorted(borders)
    yield from pairwise(ordered)


def _turn_at(spans: Sequence[tuple[int, int, int]], place: int) -> int | None:
    return next((index for begin, end, index in spans if begin <= place < end), None)


def _piece(text: str, label: Label) -> Piece:
    if text.startswith(SLOT):
        return Piece("", ord(text[1]) - 0x4E00, ord(text[2]) - 0x4E00, label)
    return Piece(text, -1, 0, label)


def _label(
    text: str,
    begin: int,
    end: int,
    owner: int,
    turn: int | None,
    messages: Sequence[Message],
    fields: Sequence[Field],
    weights: Weights,
) -> Label:
    if text[begin] == SLOT:
        field = fields[ord(text[begin + 1]) - 0x4E00]
        part = Part.REASONING if field.kind == "reasoning" else Part.TEXT
        weight = weights.elsewhere or weights.of_text.get(field.message, 0.0)
        if turn is not None:
            weight = weights.of_turn.get(turn, 0.0) if part == Part.TEXT or weights.train_reasoning else 0.0
        return Label(field.message, part, weight)
    weight = weights.elsewhere if turn is None else weights.of_turn.get(turn, 0.0)
    message = owner if turn is None else turn
    return Label(message, _literal_part(text, begin, end, turn, messages), weight)


def _literal_part(text: str, begin: int, end: int, turn: int | None, messages: Sequence[Message]) -> Part:
    """Letters that the template writes for a message with tool calls are the call; all else it writes is control."""
    if turn is None or not messages[turn].tool_calls:
        return Part.CONTROL
    has_words = any(character.isalnum() for character in TAG.sub("", text[begin:end]))
    return Part.TOOL_CALL if has_words else Part.CONTROL


class _Owner:
    """Which message a literal belongs to: up to the first control token behind a field to that field's message, the
    rest to the next one; before the first field, all but what follows the last control token to nobody."""

    def __init__(self, text: str, fields: Sequence[Field], pattern: re.Pattern[str]) -> None:
        self._borders: list[tuple[int, int]] = []
        slots = slots_of(text)
        ends = [0, *(slot.end for slot in slots)]
        starts = [*(slot.start for slot in slots), len(text)]
        before = NOBODY
        for number, (begin, end) in enumerate(zip(ends, starts, strict=True)):
            after = fields[slots[number].number].message if number < len(slots) else before
            found = list(pattern.finditer(text, begin, end))
            border = (found[-1].start() if number == 0 else found[0].end()) if found else begin
            self._borders += [(begin, before), (border, after)]
            before = after
        self._borders.sort(key=lambda each: each[0])

    def __call__(self, place: int) -> int:
        owner = NOBODY
        for begin, message in self._borders:
            if begin > place:
                break
            owner = message
        return owner
