"""Rows: rendered conversations end to end, each a segment of its own, in one of several layouts."""

from collections.abc import Sequence

import numpy as np

from tunesmith.branches import joined_branches
from tunesmith.pack.fit import best_fit_decreasing, members_of, next_fit, sort_stably
from tunesmith.types import BranchArray, Rendered, Row, TokenArray


def pack_rows(
    chosen: Sequence[Rendered], row_tokens: int, layout: str = "best_fit", epochs: Sequence[int] | None = None
) -> list[Row]:
    """Lay conversations out in rows of at most `row_tokens`, as the layout says.

    The rows are a function of the conversations alone, so that a resumed run packs alike. `epochs` says in which
    pass over the data each conversation is visited; by default in the first.
    """
    lengths = np.array([each.num_tokens for each in chosen], np.int64)
    order = np.arange(lengths.size)
    if layout == "padding":
        bins = order
    elif layout == "varlen":
        bins = next_fit(lengths, row_tokens)
    else:
        bins = best_fit_decreasing(lengths, row_tokens)
        order = sort_stably(row_tokens - lengths, row_tokens)  # longest first
    passes = [0] * len(chosen) if epochs is None else epochs
    return [
        row_of([chosen[index] for index in members], [passes[index] for index in members])
        for members in members_of(bins, order)
    ]


def row_of(members: Sequence[Rendered], epochs: Sequence[int]) -> Row:
    """One row with these conversations, in this order, each in the pass over the data that `epochs` says."""
    parts = [each.parts for each in members if each.parts is not None]
    positions = [positions_of(each.branches, each.num_tokens) for each in members]
    return Row(
        tokens=np.concatenate([each.tokens for each in members]).astype(np.int32),
        loss_weights=np.concatenate([each.loss_weights for each in members]).astype(np.float32),
        positions=np.concatenate(positions),
        segments=np.repeat(np.arange(len(members), dtype=np.int32), [each.num_tokens for each in members]),
        branches=joined_branches(members),
        conversation_ids=tuple(each.conversation_id for each in members),
        sources=tuple(each.source for each in members),
        epochs=tuple(epochs),
        longest=tuple(each.longest or int(own.max()) + 1 for each, own in zip(members, positions, strict=True)),
        parts=np.concatenate(parts) if len(parts) == len(members) else None,
    )


def positions_of(branches: BranchArray, num_tokens: int) -> TokenArray:
    """How many tokens each token sees, itself left out: its place in its sequence."""
    positions = np.arange(num_tokens, dtype=np.int32)
    ends = [*branches[1:, 0].tolist(), num_tokens]
    for (start, parent), end in zip(branches.tolist(), ends, strict=True):
        first = positions[parent] + 1 if parent >= 0 else 0
        positions[start:end] += first - start
    return positions
