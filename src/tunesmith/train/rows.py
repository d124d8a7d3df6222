"""Rows made while training: answers behind a prompt as a tree, and rows put together. Layout only.

Shapes: T tokens of a row.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from tunesmith.branches import PlaceArray, paths
from tunesmith.types import Row, TokenArray


def context_of(row: Row, place: int) -> PlaceArray:
    """The places of all tokens that stand before the token at `place` in its sequence, in order."""
    branch = int(np.searchsorted(row.branches[:, 0], place, side="right")) - 1
    before = paths(row.branches, row.num_tokens)[branch]
    return np.concatenate([before, np.arange(row.branches[branch, 0], place)])


def answers_row(
    prompt_T: TokenArray, answers: Sequence[Sequence[int]], identifier: str, source: str, epoch: int
) -> Row:
    """One conversation: the prompt, and each of the answers as a branch of it, every token of which is trained."""
    size = prompt_T.size
    sizes = np.array([len(answer) for answer in answers])
    starts = size + np.cumsum(sizes) - sizes
    branches = [(0, -1), *((start, size - 1) for start in starts[1:].tolist())]
    num_tokens = size + int(sizes.sum())
    return Row(
        tokens=np.concatenate([prompt_T, *answers]).astype(np.int32),
        loss_weights=(np.arange(num_tokens) >= size).astype(np.float32),
        positions=np.concatenate([np.arange(size), *(size + np.arange(each) for each in sizes)]).astype(np.int32),
        segments=np.zeros(num_tokens, np.int32),
        branches=np.array(branches, np.int32),
        conversation_ids=(identifier,),
        sources=(source,),
        epochs=(epoch,),
    )


def filled(rows: Iterable[Row], most_tokens: int) -> Iterator[Row]:
    """The rows put end to end, in order, into rows of at most `most_tokens`; a longer one stays by itself."""
    waiting: list[Row] = []
    for row in rows:
        if waiting and sum(each.num_tokens for each in waiting) + row.num_tokens > most_tokens:
            yield joined_rows(waiting)
            waiting = []
        waiting.append(row)
    if waiting:
        yield joined_rows(waiting)


def joined_rows(rows: Sequence[Row]) -> Row:
    """The conversations of all rows in one."""
    places = np.cumsum([0, *(row.num_tokens for row in rows)])[:-1].tolist()
    numbers = np.cumsum([0, *(len(row.conversation_ids) for row in rows)])[:-1].tolist()
    pairs = zip(rows, places, strict=True)
    branches = [np.where(row.branches < 0, -1, row.branches + place) for row, place in pairs]
    segments = [row.segments + number for row, number in zip(rows, numbers, strict=True)]
    parts = [row.parts for row in rows if row.parts is not None]
    return Row(
        tokens=np.concatenate([row.tokens for row in rows]),
        loss_weights=np.concatenate([row.loss_weights for row in rows]),
        positions=np.concatenate([row.positions for row in rows]),
        segments=np.concatenate(segments).astype(np.int32),
        branches=np.concatenate(branches).astype(np.int32),
        conversation_ids=tuple(name for row in rows for name in row.conversation_ids),
        sources=tuple(name for row in rows for name in row.sources),
        epochs=tuple(epoch for row in rows for epoch in row.epochs),
        parts=np.concatenate(parts) if len(parts) == len(rows) else None,
    )
