"""Passes of a model over rows of many sequences, with fixed or free shapes.

Fixed: a row has one of a few numbers of tokens, filled up with padding. Free: it has as many as there are. A matrix
product may add in another order when its shape changes, so only the first can promise a sequence the same numbers
whatever its neighbors.

Shapes: T tokens of the row, S sequences, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tunesmith.generate.blocks import TOKENS, Pool
from tunesmith.generate.paged import NAME, Piece, Pieces, Places, Steps

ROW_TOKENS = 512
"""The most prompt tokens of a row."""


class Passes:
    """A model, called with rows of prompts and rows of single steps."""

    def __init__(self, model: Any, pool: Pool, row_sizes: Sequence[int] = (), step_sizes: Sequence[int] = ()) -> None:
        """`row_sizes` and `step_sizes` are the numbers of tokens that a row of prompts and of steps may have, in
        ascending order; without them a row is as long as its tokens."""
        self.model, self.pool = model, pool
        self.row_sizes, self.step_sizes = row_sizes, step_sizes
        self.device = next(model.parameters()).device

    def prefill(self, pieces: Sequence[Piece]) -> None:
        """Pass stretches of prompts, each beginning at a block, through as many rows as it takes."""
        self.pool.grow()
        for row in _rows(pieces):
            for some in self._sized(row):
                used = sum(piece.tokens.size for piece in some)
                paged = Pieces(self.pool, some, _fitting(used, self.row_sizes), self.device)
                tokens_T = np.concatenate([*(piece.tokens for piece in some), np.zeros(paged.num_padding, np.int32)])
                # The head is of no use here: one token's logits are the fewest that the interface gives.
                self._forward(tokens_T, paged.positions_T, paged, torch.zeros(1, dtype=torch.long))

    def _sized(self, row: Sequence[Piece]) -> Iterator[Sequence[Piece]]:
        """The row in rows that waste less than a block of padding each where the sizes allow."""
        rest = list(row)
        while rest:
            used = sum(piece.tokens.size for piece in rest)
            below = [size for size in self.row_sizes if size <= used]
            if not below or _fitting(used, self.row_sizes) - used < TOKENS:
                yield rest
                return
            first, rest = _cut(rest, below[-1])
            if not first:
                yield rest
                return
            yield first

    def steps(self, tokens_S: Places, positions_S: Places, tables: Sequence[Sequence[int]]) -> Tensor:
        """The logits after one token of each sequence, [S, V]."""
        self.pool.grow()
        count = len(tables)
        padding = _fitting(count, self.step_sizes) - count
        # Padding writes to different places of the scratch block.
        positions_T = np.concatenate([positions_S, np.arange(padding) % TOKENS])
        tokens_T = np.concatenate([tokens_S, np.zeros(padding, np.int64)])
        paged = Steps(self.pool, positions_T, [*tables, *[()] * padding], self.device)
        return self._forward(tokens_T, positions_T, paged, 0)[:count]

    def _forward(self, tokens_T: Any, positions_T: Places, paged: Pieces | Steps, keep: Tensor | int) -> Tensor:
        places = [torch.from_numpy(each.astype(np.int64)).to(self.device)[None] for each in (tokens_T, positions_T)]
        kept = keep.to(self.device) if isinstance(keep, Tensor) else keep
        output = self.model(
            input_ids=places[0], position_ids=places[1], use_cache=False, logits_to_keep=kept, paged=paged
        )
        logits_TV: Tensor = output.logits[0]
        return logits_TV


def _fitting(count: int, sizes: Sequence[int]) -> int:
    """The smallest of `sizes` that holds `count`; `count` itself where there are none."""
    return next((size for size in sizes if size >= count), count)


def _rows(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """The pieces in rows of at most `ROW_TOKENS`, cut at blocks."""
    rest = list(pieces)
    while rest:
        row, rest = _cut(rest, ROW_TOKENS)
        yield row


def _cut(pieces: Sequence[Piece], room: int) -> tuple[list[Piece], list[Piece]]:
    """The pieces that fit into `room`, the last one cut at a block if it must be, and the rest."""
    for number, piece in enumerate(pieces):
        if piece.tokens.size > room:
            fits = room // TOKENS * TOKENS
            head = [Piece(piece.tokens[:fits], piece.start, piece.table)] if fits else []
            tail = Piece(piece.tokens[fits:], piece.start + fits, piece.table)
            return [*pieces[:number], *head], [tail, *pieces[number + 1 :]]
        room -= piece.tokens.size
    return list(pieces), []


@contextmanager
def paged_attention_of(model: Any) -> Iterator[None]:
    """The model with the attention of this engine, and afterwards with its own."""
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    before = whole.config._attn_implementation
    whole.set_attn_implementation(NAME)
    try:
        with torch.no_grad():
            yield
    finally:
        whole.set_attn_implementation(before)
