"""Attention over blocks of past keys and values, as plain matrix products; for a row of many sequences at once.

It goes through transformers' official attention interface under the name `tunesmith_paged`. What the row's tokens
are travels as the keyword `paged` of the model's call: `Steps`, one new token of each sequence, or `Pieces`, stretches
of prompts. Products have shapes that depend on a sequence alone: queries in blocks at fixed positions, keys in whole
blocks, summed in order. What other sequences do changes only how many such products there are.

Shapes: T tokens of the row, S sequences, P blocks of the pool, N blocks of a sequence, U units (blocks of queries),
Q queries of a unit, H query heads, G key heads, R query heads a key head, K tokens of a block, D head width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface

from tunesmith.errors import GenerateError
from tunesmith.generate.blocks import SCRATCH, TOKENS, Pool

NAME = "tunesmith_paged"
HIDDEN = -1e30
"""Finite, so that a block of hidden keys alone gives no NaN, and far below any score."""

Places = NDArray[np.int64]


class Scores(NamedTuple):
    """What a family does to scores beside masking."""

    scale: float
    softcap: float | None
    sinks_H: Tensor | None
    window: int | None


@dataclass
class Steps:
    """One new token of each of S sequences, at `positions_S`; `tables` holds the blocks of each, in order."""

    pool: Pool
    positions_S: Places
    tables: Sequence[Sequence[int]]
    device: torch.device
    _masks: dict[int | None, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = [len(table) for table in self.tables]
        table_SN = np.full((len(lengths), max(1, *lengths)), SCRATCH, np.int64)
        owners_P = np.zeros(self.pool.span, np.int64)
        self._first_P = np.full(self.pool.span, -1, np.int64)
        for slot, table in enumerate(self.tables):
            blocks = np.asarray(table, np.int64)
            table_SN[slot, : blocks.size] = blocks
            owners_P[blocks] = slot
            self._first_P[blocks] = np.arange(blocks.size) * TOKENS
        missing_SN = np.arange(table_SN.shape[1]) >= np.maximum(lengths, 1)[:, None]
        newest_S = [table[-1] if table else SCRATCH for table in self.tables]
        self._owners = owners_P
        self.places_S = self._moved(np.array(newest_S) * TOKENS + self.positions_S % TOKENS)
        self.owners_P = self._moved(owners_P)
        self.table_SN = self._moved(table_SN)
        self.missing_SN = self._moved(missing_SN)[:, :, None, None]

    def _moved(self, array: Any) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def mask(self, window: int | None, heads: int, dtype: torch.dtype) -> Tensor:
        """0 where a block's key is seen by its owner, else far below zero: [P x G, 1, K]."""
        if window not in self._masks:
            newest_P = self.positions_S[self._owners]
            keys_PK = self._first_P[:, None] + np.arange(TOKENS)
            seen_PK = (keys_PK <= newest_P[:, None]) & (self._first_P >= 0)[:, None]
            if window is not None:
                seen_PK &= keys_PK > newest_P[:, None] - window
            mask_PK = self._moved(np.where(seen_PK, np.float32(0.0), np.float32(HIDDEN)))
            self._masks[window] = mask_PK.to(dtype).repeat_interleave(heads, 0)[:, None]
        return self._masks[window]

    def attend(self, query_1HTD: Tensor, keys: Tensor, values: Tensor, scores: Scores) -> Tensor:
        """[T, H, D] with T = S: a softmax within each block, and a weighted sum of blocks, in order."""
        span, heads, width = self.pool.span, keys.shape[1], query_1HTD.shape[3]
        shared = query_1HTD.shape[1] // heads
        query_SGRD = query_1HTD[0].transpose(0, 1).reshape(-1, heads, shared, width)
        query_PGRD = query_SGRD.index_select(0, self.owners_P)
        mask = self.mask(scores.window, heads, query_PGRD.dtype)
        found_PGRD, weight_PGR = _attend(query_PGRD, keys[:span], values[:span], mask, scores)
        return self._combined(found_PGRD, weight_PGR, scores).flatten(1, 2)

    def _combined(self, found_PGRD: Tensor, weight_PGR: Tensor, scores: Scores) -> Tensor:
        """The attention of each sequence over all its blocks, from that within each block: [S, G, R, D]."""
        weight_SNGR = weight_PGR[self.table_SN].masked_fill(self.missing_SN, HIDDEN)
        highest_SGR = weight_SNGR.amax(1)
        sinks = None
        if scores.sinks_H is not None:
            sinks = scores.sinks_H.float().view(highest_SGR.shape[1:])
            highest_SGR = torch.maximum(highest_SGR, sinks)
        shares_SNGR = (weight_SNGR - highest_SGR[:, None]).exp_()
        total_SGR = shares_SNGR[:, 0].clone()
        sum_SGRD = shares_SNGR[:, 0, :, :, None] * found_PGRD[self.table_SN[:, 0]]
        for number in range(1, self.table_SN.shape[1]):
            total_SGR += shares_SNGR[:, number]
            sum_SGRD.addcmul_(shares_SNGR[:, number, :, :, None], found_PGRD[self.table_SN[:, number]].float())
        if sinks is not None:
            total_SGR += (sinks - highest_SGR).exp_()
        return (sum_SGRD / total_SGR[..., None]).to(found_PGRD.dtype)


class Piece(NamedTuple):
    """`tokens` of a prompt from position `start` on, a multiple of the block's tokens; `table` has its blocks."""

    tokens: NDArray[np.int32]
    start: int
    table: Sequence[int]


@dataclass
class _Units:
    """Blocks of queries that see the same number of blocks of keys."""

    table_UN: Tensor
    places_UQ: Tensor
    """Where in the row each query stands; padding points at the row's end."""

    masks: dict[int | None, Tensor] = field(default_factory=dict)


@dataclass
class Pieces:
    """Stretches of prompts, end to end in a row of `num_tokens`; what is left of the row is padding."""

    pool: Pool
    pieces: Sequence[Piece]
    num_tokens: int
    device: torch.device

    def __post_init__(self) -> None:
        sizes = [piece.tokens.size for piece in self.pieces]
        used = sum(sizes)
        self.positions_T = np.zeros(self.num_tokens, np.int64)
        places_T = np.arange(self.num_tokens, dtype=np.int64) % TOKENS + SCRATCH * TOKENS
        units: dict[int, list[tuple[list[int], Places]]] = {}
        begin = 0
        for piece, size in zip(self.pieces, sizes, strict=True):
            positions = np.arange(piece.start, piece.start + size)
            self.positions_T[begin : begin + size] = positions
            places_T[begin : begin + size] = np.asarray(piece.table)[positions // TOKENS] * TOKENS + positions % TOKENS
            for first in range(0, size, TOKENS):
                number = (piece.start + first) // TOKENS + 1
                places_Q = np.full(TOKENS, self.num_tokens, np.int64)
                places_Q[: min(TOKENS, size - first)] = np.arange(begin + first, begin + min(first + TOKENS, size))
                units.setdefault(number, []).append((list(piece.table[:number]), places_Q))
            begin += size
        self.num_padding = self.num_tokens - used
        self.places_S = torch.from_numpy(places_T).to(self.device)
        self._units = [self._unit(units[number]) for number in sorted(units)]

    def _unit(self, alike: Sequence[tuple[list[int], Places]]) -> _Units:
        table_UN, places_UQ = (np.array([each[which] for each in alike]) for which in (0, 1))
        return _Units(torch.from_numpy(table_UN).to(self.device), torch.from_numpy(places_UQ).to(self.device))

    def attend(self, query_1HTD: Tensor, keys: Tensor, values: Tensor, scores: Scores) -> Tensor:
        """[T, H, D]; padding gets zeros."""
        heads, length, width = query_1HTD.shape[1:]
        padded_THD = torch.cat([query_1HTD[0].transpose(0, 1), query_1HTD.new_zeros(1, heads, width)])
        out_THD = query_1HTD.new_zeros(length + 1, heads, values.shape[3])
        for units in self._units:
            found_UQHD = _attend_units(padded_THD, units, keys, values, scores)
            out_THD.index_copy_(0, units.places_UQ.flatten(), found_UQHD.flatten(0, 1))
        return out_THD[:-1]


def _attend_units(padded_THD: Tensor, units: _Units, keys: Tensor, values: Tensor, scores: Scores) -> Tensor:
    """[U, Q, H, D]."""
    count, number = units.table_UN.shape
    heads, shared, width = keys.shape[1], padded_THD.shape[1] // keys.shape[1], padded_THD.shape[2]
    query_UQGRD = padded_THD[units.places_UQ].view(count, TOKENS, heads, shared, width)
    query = query_UQGRD.permute(0, 2, 3, 1, 4).reshape(count, heads, shared * TOKENS, width)
    # Only keys and values are gathered: the whole path of a unit side by side.
    key, value = (
        each[units.table_UN].transpose(1, 2).reshape(count, heads, number * TOKENS, each.shape[3])
        for each in (keys, values)
    )
    mask = _mask(units, scores.window, query.dtype, shared, query.device)
    found, weight = _attend(query, key, value, mask, scores)
    found_UGRQD = found.view(count, heads, shared, TOKENS, -1)
    if scores.sinks_H is not None:
        sinks_GR1 = scores.sinks_H.float().view(heads, shared, 1)
        found_UGRQD = found_UGRQD * torch.sigmoid(weight.view(count, heads, shared, TOKENS) - sinks_GR1)[..., None]
    return found_UGRQD.permute(0, 3, 1, 2, 4).reshape(count, TOKENS, heads * shared, -1).to(padded_THD.dtype)


def _mask(units: _Units, window: int | None, dtype: torch.dtype, shared: int, device: torch.device) -> Tensor:
    """0 where a query sees a key, else far below zero: [R x Q, K]."""
    if window not in units.masks:
        keys_K = torch.arange(units.table_UN.shape[1] * TOKENS, device=device)
        queries_Q1 = keys_K[-TOKENS:, None]
        hidden_QK = keys_K > queries_Q1
        if window is not None:
            hidden_QK |= keys_K <= queries_Q1 - window
        mask_QK = torch.zeros(hidden_QK.shape, device=device).masked_fill(hidden_QK, HIDDEN).to(dtype)
        units.masks[window] = mask_QK.repeat(shared, 1)
    return units.masks[window]


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scores: Scores) -> tuple[Tensor, Tensor]:
    """Attention of [B, G, M, D] over [B, G, K, D], and the logarithm of its weights' sum, [B, G, M], in float32.

    `mask` is added to the scores, as [B x G, M, K] or what broadcasts to it.
    """
    shape = query.shape[:3]
    query, key, value = (each.reshape(-1, *each.shape[2:]) for each in (query, key, value))
    if scores.softcap is None:
        products = torch.baddbmm(mask, query, key.transpose(1, 2), alpha=scores.scale)
    else:
        products = torch.bmm(query, key.transpose(1, 2)).mul_(scores.scale / scores.softcap)
        products = products.tanh_().mul_(scores.softcap).add_(mask)
    weights = products.softmax(-1, dtype=torch.float32)
    # The largest weight is exp(largest score - log of the sum), so the logarithm costs no pass of its own.
    log_sum = products.amax(-1).float() - weights.amax(-1).log()
    return torch.bmm(weights.to(value.dtype), value).view(*shape, -1), log_sum.view(shape)


def paged_attention(
    module: torch.nn.Module,
    query_1HTD: Tensor,
    key_1GTD: Tensor,
    value_1GTD: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    paged: Steps | Pieces | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: write the row's keys and values, then attend; gives [1, T, H, D]."""
    number = getattr(module, "layer_idx", None)
    if paged is None or not isinstance(number, int):
        raise GenerateError(f"{type(module).__name__} does not pass keyword arguments on to attention")
    keys, values = paged.pool.layer(number, key_1GTD, value_1GTD)
    for states, kept in ((key_1GTD, keys), (value_1GTD, values)):
        _write(states, kept, paged.places_S)
    scale = scaling if scaling is not None else query_1HTD.shape[-1] ** -0.5
    scores = Scores(float(scale), options.get("softcap"), options.get("s_aux"), options.get("sliding_window"))
    return paged.attend(query_1HTD, keys, values, scores)[None], None


def _write(states_1GTD: Tensor, kept_PGKD: Tensor, places_T: Tensor) -> None:
    """Put the states of each token where its block has room for it; a place is block x tokens + offset."""
    blocks_T, offsets_T = places_T // TOKENS, places_T % TOKENS
    kept_PGKD.transpose(1, 2)[blocks_T, offsets_T] = states_1GTD[0].transpose(0, 1).to(kept_PGKD.dtype)


def _no_mask(*_: Any, **__: Any) -> None:
    """`paged` says who sees whom; no dense mask is built."""


AttentionInterface.register(NAME, paged_attention)
AttentionMaskInterface.register(NAME, _no_mask)
