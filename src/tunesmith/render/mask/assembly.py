"""The steps of planned rows become tokens, with one batch call of the tokenizer for many conversations.

A section in which a completion begins is encoded whole. Where its beginning has the very tokens of the prompt, which
inference sends by itself, it is cut there. Where a merge of the tokenizer reaches over the border, the prompt keeps
its own tokens and the completion is encoded apart; turns that come later in the row then get rows of their own,
because their prompts hold the same text merged.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from tunesmith.errors import RenderError
from tunesmith.render.mask.encoding import Encoder, ToEncode
from tunesmith.render.mask.layout import Control, Label, Piece, RowPlan, Section
from tunesmith.render.mask.sentinels import BREAK, apply_change
from tunesmith.render.mask.tree import Strand
from tunesmith.types import Message, Part


class Filled(NamedTuple):
    """A planned row and one conversation's fields: their texts, and, for fields that the template rewrote in a way
    of its own, the texts that stand in their place."""

    plan: RowPlan
    values: Sequence[str]
    rewritten: Mapping[int, str]
    messages: Sequence[Message]
    origins: Sequence[int] | None = None
    """For each message that the template was given, its number in the data (-1: ours); None where they are the same."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One conversation, read and checked: its rows, or the text of a document and its first and last token."""

    rows: tuple[Filled, ...] = ()
    text: str | None = None
    first: int | None = None
    last: int = 0


class _Fixed(NamedTuple):
    """Steps whose tokens are the same in every conversation of a shape."""

    tokens: list[int]
    counts: list[int]
    labels: list[Label]


class _Open(NamedTuple):
    """A section whose tokens depend on the conversation. `literal_prompts`: for each cut, whether all before it is the
    template's own; `is_simple`: at most one literal, and then a field, whose beginning shows without offsets."""

    section: Section
    literal_prompts: tuple[bool, ...]
    is_simple: bool = False


@dataclass(slots=True)
class _Row:
    """A row in the making: tokens, and runs of tokens that have one label."""

    tokens: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)

    def add(self, count: int, label: Label) -> None:
        self.counts.append(count)
        self.labels.append(label)


@dataclass(slots=True)
class _Todo:
    """An open section of one conversation: its text, where each label ends, and where completions begin in it."""

    text: str
    ends: list[int]
    labels: list[Label]
    cuts: list[int]
    is_first: bool
    literal_prompts: Sequence[bool] = ()
    is_simple: bool = False

    def to_encode(self) -> Iterator[ToEncode]:
        """What depends on the conversation: prompts up to the cuts, then the whole."""
        for cut, is_literal in zip(self.cuts, self.literal_prompts, strict=True):
            if not is_literal:
                yield ToEncode(self.text[:cut], self.is_first, False)
        yield ToEncode(self.text, self.is_first, not self.is_simple)


class _Compiled(NamedTuple):
    """A plan with what is the same for all of its conversations done; `arrays` are those of its labels, once known."""

    plan: RowPlan
    steps: list[_Fixed | _Open]
    last_cut: int
    arrays: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]


class Assembler:
    """Makes the strands of many conversations with one call of the tokenizer."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._compiled = lru_cache(maxsize=1024)(self._compile)

    def assemble(self, readings: Sequence[Reading]) -> Iterator[list[Strand]]:
        """For each reading its strands, in order."""
        prepared = [[self._prepare(row) for row in reading.rows] for reading in readings]
        todos = [
            todo
            for reading, rows in zip(readings, prepared, strict=True)
            for todo in (
                [ToEncode(reading.text, reading.first is None, False)]
                if reading.text is not None
                else (each for _, found in rows for open_one in found for each in open_one.to_encode())
            )
        ]
        encodings = iter(self.encoder.encode_many(todos))
        for reading, rows in zip(readings, prepared, strict=True):
            strands = [] if reading.text is None else [_document(reading, next(encodings).ids)]
            for filled, (compiled, found) in zip(reading.rows, rows, strict=True):
                strands += self._row(filled, compiled, found, encodings)
            yield strands

    def _prepare(self, filled: Filled) -> tuple[_Compiled, list[_Todo]]:
        compiled = self._compiled(_Key(filled.plan))
        return compiled, [_todo(step, filled) for step in compiled.steps if isinstance(step, _Open)]

    def _compile(self, key: "_Key") -> _Compiled:
        steps: list[_Fixed | _Open] = []
        last_cut = -1
        for step in key.plan.steps:
            if isinstance(step, Section) and (step.cuts or not step.is_literal):
                literal = tuple(all(piece.number < 0 for piece in step.pieces[:cut]) for cut in step.cuts)
                last_cut = len(steps) if step.cuts else last_cut
                is_field_last = step.pieces[-1].number >= 0 and all(piece.number < 0 for piece in step.pieces[:-1])
                steps.append(_Open(step, literal, is_field_last and len(step.pieces) <= 2))
                continue
            if not steps or isinstance(steps[-1], _Open):
                steps.append(_Fixed([], [], []))
            fixed = steps[-1]
            assert isinstance(fixed, _Fixed)
            for tokens, label in self._literal(step):
                fixed.tokens.extend(tokens)
                fixed.counts.append(len(tokens))
                fixed.labels.append(label)
        return _Compiled(key.plan, steps, last_cut, [])

    def _literal(self, step: Control | Section) -> Iterator[tuple[Sequence[int], Label]]:
        """The tokens of a control token or literal section, with their labels."""
        if isinstance(step, Control):
            yield (step.token,), step.label
            return
        todo = _todo(_Open(step, ()), None)
        encoding = self.encoder.encode(todo.text, todo.is_first)
        row = _Row()
        _add_labels(row, encoding, len(encoding.ids), todo, {})
        at = 0
        for count, label in zip(row.counts, row.labels, strict=True):
            yield encoding.ids[at : at + count], label
            at += count

    def _row(
        self, filled: Filled, compiled: _Compiled, found: Sequence[_Todo], encodings: Iterator[Encoding]
    ) -> list[Strand]:
        """The strand of a row; several where later turns cannot share the tokens of earlier ones."""
        row = _Row()
        todos = iter(found)
        is_shared = True
        for number, step in enumerate(compiled.steps):
            if isinstance(step, _Fixed):
                row.tokens += step.tokens
                row.counts += step.counts
                row.labels += step.labels
            else:
                is_shared &= self._section(row, next(todos), encodings, is_last=number == compiled.last_cut)
        if not is_shared:
            return self._apart(filled)
        weighs_parts = any(message.part_weights for message in filled.messages)
        strand = _strand(row, None if weighs_parts else compiled.arrays)
        return [strand if filled.origins is None else strand.with_origins(filled.origins)]

    def _apart(self, filled: Filled) -> list[Strand]:
        strands = []
        for plan in filled.plan.alone():
            alone = filled._replace(plan=plan)
            compiled, found = self._prepare(alone)
            todos = [todo for each in found for todo in each.to_encode()]
            strands += self._row(alone, compiled, found, iter(self.encoder.encode_many(todos)))
        return strands

    def _section(self, row: _Row, todo: _Todo, encodings: Iterator[Encoding], is_last: bool) -> bool:
        """Add a section to a row; False where a completion in it cannot share its tokens with what follows."""
        prompts = [
            self.encoder.section(todo.text[:cut], todo.is_first) if is_literal else tuple(next(encodings).ids)
            for cut, is_literal in zip(todo.cuts, todo.literal_prompts, strict=True)
        ]
        encoding = next(encodings)
        ids = encoding.ids
        if todo.is_simple:
            literal = self.encoder.section(todo.text[: todo.ends[0]], todo.is_first) if len(todo.ends) == 2 else ()
            if tuple(ids[: len(literal)]) == literal:
                row.tokens += ids
                row.counts += [len(literal), len(ids) - len(literal)] if len(todo.ends) == 2 else [len(ids)]
                row.labels += todo.labels
                return True
            encoding = self.encoder.encode(todo.text, todo.is_first)
        dirty = [n for n, prompt in enumerate(prompts) if tuple(ids[: len(prompt)]) != prompt]
        if not dirty:
            row.tokens += ids
            starts = dict(zip(todo.cuts, (len(prompt) for prompt in prompts), strict=True))
            _add_labels(row, encoding, len(ids), todo, starts)
            return True
        if not is_last or dirty != [len(prompts) - 1]:
            return False
        self._add_cut(row, todo, prompts[-1])
        return True

    def _add_cut(self, row: _Row, todo: _Todo, prompt: tuple[int, ...]) -> None:
        """The prompt's own tokens, and the completion's encoded apart."""
        cut = todo.cuts[-1]
        for begin, end, encoding in (
            (0, cut, self.encoder.encode(todo.text[:cut], todo.is_first)),
            (cut, len(todo.text), self.encoder.encode_bare(todo.text[cut:])),
        ):
            row.tokens += encoding.ids
            _add_labels(row, encoding, len(encoding.ids), _cut_out(todo, begin, end), {})


def _cut_out(todo: _Todo, begin: int, end: int) -> _Todo:
    """The part of a section between two characters, with its labels."""
    ends, labels, start = [], [], 0
    for stop, label in zip(todo.ends, todo.labels, strict=True):
        if stop > begin and start < end:
            ends.append(min(stop, end) - begin)
            labels.append(label)
        start = stop
    return _Todo(todo.text[begin:end], ends, labels, [], False)


@dataclass(frozen=True, slots=True, eq=False)
class _Key:
    """A plan by identity: plans are kept as long as their compiled form is."""

    plan: RowPlan

    def __hash__(self) -> int:
        return id(self.plan)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.plan is other.plan


def _strand(row: _Row, arrays: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] | None) -> Strand:
    """A row as arrays; those of the labels are the same in all conversations of a plan that weighs no parts."""
    if not arrays:
        made = (
            np.array([label.weight for label in row.labels], np.float32),
            np.array([label.part for label in row.labels], np.uint8),
            np.array([label.message for label in row.labels], np.int16),
        )
        if arrays is not None:
            arrays.append(made)
    else:
        made = arrays[0]
    runs = np.repeat(np.arange(len(row.counts)), row.counts)
    return Strand(np.array(row.tokens, np.int32), made[0][runs], made[1][runs], made[2][runs])


def _todo(step: _Open, filled: Filled | None) -> _Todo:
    texts: list[str] = []
    ends: list[int] = []
    labels: list[Label] = []
    starts: list[int] = []
    size = 0
    for piece in step.section.pieces:
        starts.append(size)
        for text, label in _labeled(piece, filled):
            size += len(text)
            texts.append(text)
            ends.append(size)
            labels.append(label)
    cuts = [starts[cut] for cut in step.section.cuts]
    is_simple = step.is_simple and len(ends) == len(step.section.pieces)
    return _Todo("".join(texts), ends, labels, cuts, step.section.is_first, step.literal_prompts, is_simple)


def _labeled(piece: Piece, filled: Filled | None) -> list[tuple[str, Label]]:
    """The text of a piece with its label; several where the data weighs parts of the content apart."""
    if piece.number < 0 or filled is None:
        return [(piece.text.replace(BREAK, ""), piece.label)]
    rewritten = filled.rewritten.get(piece.number)
    value = filled.values[piece.number]
    text = apply_change(value, piece.change) if rewritten is None else rewritten
    message = filled.messages[piece.label.message]
    if BREAK in text:
        text, value = text.replace(BREAK, ""), value.replace(BREAK, "")
    if not message.part_weights or piece.label.part != Part.TEXT:
        return [(text, piece.label)]
    return _weighed(text, value, message, piece.label)


def _weighed(text: str, value: str, message: Message, label: Label) -> list[tuple[str, Label]]:
    """The parts of a content with their own weights, cut where the template trimmed it."""
    at = value.find(text)
    if at < 0:
        raise RenderError(
            "the template rewrites a content whose parts have weights of their own, so these cannot be placed; "
            "put the parts into messages of their own, or leave the weights out"
        )
    found, begin = [], 0
    for size, weight in message.part_weights:
        low, high = max(begin - at, 0), min(begin + size - at, len(text))
        if high > low:
            found.append((text[low:high], label if weight is None else label._replace(weight=weight)))
        begin += size
    return found


def _add_labels(row: _Row, encoding: Encoding, num_tokens: int, todo: _Todo, starts: Mapping[int, int]) -> None:
    """Label the tokens of a section. A token over a border of labels takes the smaller weight: it is trained only
    where all of it is."""
    at = 0
    for number, (end, label) in enumerate(zip(todo.ends, todo.labels, strict=True)):
        if number == len(todo.ends) - 1:
            row.add(num_tokens - at, label)
            return
        known = starts.get(end)
        border = known if known is not None else _token_at(encoding, end, len(todo.text), num_tokens)
        follower = todo.labels[number + 1]
        place = encoding.token_to_chars(border) if known is None and border < num_tokens else None
        is_straddled = place is not None and place[0] < end
        if is_straddled and follower.weight > label.weight:
            border += 1
        row.add(max(border - at, 0), label)
        at = max(border, at)


def _token_at(encoding: Encoding, character: int, size: int, num_tokens: int) -> int:
    """The first token at or after a character; characters that a normalizer dropped have none."""
    while character < size:
        token = encoding.char_to_token(character)
        if token is not None:
            return int(token)
        character += 1
    return num_tokens


def _document(reading: Reading, ids: Sequence[int]) -> Strand:
    first = [] if reading.first is None else [reading.first]
    tokens = np.array([*first, *ids, reading.last], np.int32)
    parts = np.full(tokens.size, Part.TEXT, np.uint8)
    parts[[0] * len(first) + [-1]] = Part.CONTROL
    return Strand(tokens, np.ones(tokens.size, np.float32), parts, np.full(tokens.size, -1, np.int16))
