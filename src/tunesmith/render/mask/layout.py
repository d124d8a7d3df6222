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

from tunesmith.render.mask.sentinels import SLOT_LENGTH, Field, slot_at, slots_of
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


class Given(NamedTuple):
    """What a plan is made from: the messages of a shape, its fields, what is trained, and the control tokens."""

    messages: Sequence[Message]
    fields: Sequence[Field]
    weights: Weights
    controls: Mapping[str, int]
    pattern: re.Pattern[str]


def group_turns(turns: Sequence[Turn]) -> list[tuple[Turn, ...]]:
    """Turns that fit into one row: each one's prompt and completion is the beginning of the next one's prompt."""
    rows: list[list[Turn]] = []
    for turn in turns:
        if rows and turn.prompt.startswith(rows[-1][-1].prompt + rows[-1][-1].completion):
            rows[-1].append(turn)
        else:
            rows.append([turn])
    return [tuple(row) for row in rows]


def plan_row(turns: Sequence[Turn], given: Given) -> RowPlan:
    """The plan of a row that ends with the completion of the last turn."""
    text = turns[-1].prompt + turns[-1].completion
    spans = [(len(turn.prompt), len(turn.prompt) + len(turn.completion), turn.index) for turn in turns]
    steps = tuple(_steps(text, spans, given))
    return RowPlan(tuple(turns), steps, cache(lambda: tuple(plan_rows([[turn] for turn in turns], given))))


def plan_rows(rows: Sequence[Sequence[Turn]], given: Given) -> Iterator[RowPlan]:
    """The plans of rows in order. Rows repeat what their contexts share, so a text that is trained although the model
    only reads it weighs in the first row that holds it."""
    done = -1
    for turns in rows:
        last = turns[-1].index
        texts = {index: weight for index, weight in given.weights.of_text.items() if done < index < last}
        yield plan_row(turns, given._replace(weights=given.weights._replace(of_text=texts)))
        done = last


def plan_text(text: str, given: Given) -> RowPlan:
    """The plan of a whole text without turns."""
    return RowPlan((), tuple(_steps(text, [], given)))


def _steps(text: str, spans: Sequence[tuple[int, int, int]], given: Given) -> Iterator[Control | Section]:
    owner = _Owner(text, given.fields, given.pattern)
    pieces: list[Piece] = []
    cuts: list[int] = []
    starts = {begin for begin, _, _ in spans}
    has_step = False
    for begin, end in _stretches(text, spans, given.pattern):
        label = _label(text[begin:end], owner(begin), _turn_at(spans, begin), given)
        control = given.controls.get(text[begin:end])
        if begin in starts and pieces and control is None:
            cuts.append(len(pieces))
        if control is not None:
            if pieces:
                yield Section(tuple(pieces), tuple(cuts), not has_step)
                has_step = True
            pieces, cuts = [], []
            yield Control(control, label)
            has_step = True
        else:
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
    slot = slot_at(text)
    return Piece(text, -1, 0, label) if slot is None else Piece("", slot.number, slot.change, label)


def _label(text: str, owner: int, turn: int | None, given: Given) -> Label:
    """The label of a literal that belongs to message `owner`, or of a slot; `turn`: the completion that holds it."""
    weights, slot = given.weights, slot_at(text)
    own = weights.elsewhere if turn is None else weights.of_turn.get(turn, 0.0)
    if slot is None:
        return Label(owner if turn is None else turn, _literal_part(text, turn, given.messages), own)
    field = given.fields[slot.number]
    part = Part.REASONING if field.kind == "reasoning" else Part.TEXT
    if turn is None:
        return Label(field.message, part, weights.elsewhere or weights.of_text.get(field.message, 0.0))
    return Label(field.message, part, own if part == Part.TEXT or weights.train_reasoning else 0.0)


def _literal_part(text: str, turn: int | None, messages: Sequence[Message]) -> Part:
    """Letters that the template writes for a message with tool calls are the call; all else it writes is control."""
    if turn is None or not messages[turn].tool_calls:
        return Part.CONTROL
    has_words = any(character.isalnum() for character in TAG.sub("", text))
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
