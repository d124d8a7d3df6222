"""Attention over the branches of a row, gathered into blocks; exact on any device, and made for the CPU.

A branch that continues nothing is a sequence of its own: it becomes one line of a block, padded on the right, where
plain causal attention is exact, because a query sees only earlier keys and padding is always later. A branch that
continues another has its own tokens as queries, and as keys the path to it followed by its own tokens; a mask
hides the padding and the future. Lines of similar size share a block. The work is the sum over branches of
length x (path + length), never the square of the row.

In a layer with a sliding window a branch is cut into pieces of at most the window; each continues the tokens of its
own path that are still in sight. The work is then linear in the length.

Shapes: T tokens of the row, S branches in a block, Q longest of them, K longest path and branch, N real tokens of a
block, H query heads, G key heads, D head width.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tunesmith.branches import PlaceArray, paths, starts_and_ends
from tunesmith.train.scores import Scores, attend_plainly
from tunesmith.types import BranchArray

# In a square above this length the fused kernel's saved memory is worth more than the plain products' speed on the CPU.
_LONGEST_PLAIN = 512
# Below these numbers of queries and keys a block costs more than padding.
_SMALL_OWN, _SMALL_SEEN = 32, 128


class Group(NamedTuple):
    """Branches of similar size, attended together. Padding of a gather points at place 0."""

    queries_SQ: Tensor
    """Where in the row each query comes from."""

    keys_SK: Tensor
    """Where in the row each key comes from."""

    hidden_SQK: Tensor | None
    """What a query does not see; None where that is the future alone."""

    row_places_N: Tensor
    """The row positions of the group's real queries."""

    block_places_N: Tensor
    """Their places in the flattened block."""


def group_branches(
    branches: BranchArray, num_tokens: int, device: torch.device, window: int | None = None
) -> tuple[Group, ...]:
    """The blocks of a row, of branches that continue nothing and of those that continue another.

    With a `window` a token sees at most that many tokens back along its own path, itself included.
    """
    starts_B, ends_B = starts_and_ends(branches, num_tokens)
    lines: dict[tuple[int, int], list[tuple[PlaceArray, PlaceArray]]] = {}
    for path, start, end in zip(paths(branches, num_tokens), starts_B, ends_B, strict=True):
        for before, own in _in_sight(path, np.arange(start, end), window):
            lines.setdefault(_size_class(own.size, before.size), []).append((before, own))
    return tuple(_group(lines[size], device, window) for size in sorted(lines))


def _in_sight(path: PlaceArray, own: PlaceArray, window: int | None) -> list[tuple[PlaceArray, PlaceArray]]:
    """The branch in pieces of at most `window`, each with the part of its path that its first token still sees."""
    if window is None or path.size + own.size <= window:
        return [(path, own)]
    whole = np.concatenate([path, own])
    cuts = range(path.size, whole.size, window)
    return [(whole[max(0, cut - window + 1) : cut], whole[cut : cut + window]) for cut in cuts]


def _size_class(own: int, path: int) -> tuple[int, int]:
    """What the branches of one block have in common.

    Padding at most doubles the length of those that continue nothing. Of the others, where a mask hides it but the
    kernel still computes it, it adds at most a fifth to each side of a block that is not small.
    """
    if path == 0:
        return math.ceil(math.log2(own)), 0
    return math.ceil(4 * math.log2(max(own, _SMALL_OWN))), math.ceil(4 * math.log2(max(path + own, _SMALL_SEEN)))


def _group(lines: Sequence[tuple[PlaceArray, PlaceArray]], device: torch.device, window: int | None) -> Group:
    queries_SQ, is_real_SQ = _padded([own for _, own in lines])
    block_places_N = np.flatnonzero(is_real_SQ)
    row_places_N = queries_SQ.flatten()[block_places_N]
    path_S = np.array([path.size for path, _ in lines])
    if not path_S.any():
        keys_SK, hidden_SQK = queries_SQ, None
    else:
        keys_SK, _ = _padded([np.concatenate(line) for line in lines])
        newest_SQ = path_S[:, None] + np.arange(queries_SQ.shape[1])
        keys_K = np.arange(keys_SK.shape[1])
        hidden = keys_K > newest_SQ[..., None]
        if window is not None:
            # Padded queries see something too: a path is shorter than the window, and a block at least as long as Q.
            hidden |= keys_K <= newest_SQ[..., None] - window
        hidden_SQK = torch.from_numpy(hidden).to(device)
    queries, keys, row_places, block_places = (
        torch.from_numpy(each).to(device) for each in (queries_SQ, keys_SK, row_places_N, block_places_N)
    )
    return Group(queries, keys, hidden_SQK, row_places, block_places)


def _padded(lines: Sequence[PlaceArray]) -> tuple[PlaceArray, NDArray[np.bool_]]:
    """The lines as one block, filled up with 0 on the right, and where it is real."""
    lengths_S = np.array([line.size for line in lines])
    is_real = np.arange(lengths_S.max()) < lengths_S[:, None]
    block = np.zeros(is_real.shape, np.int64)
    block[is_real] = np.concatenate(lines)
    return block, is_real


def attend_groups(
    query_1HTD: Tensor,
    key_1GTD: Tensor,
    value_1GTD: Tensor,
    groups: tuple[Group, ...],
    scores: Scores,
    dropout: float,
) -> Tensor:
    """The attention of a whole row, block by block: [1, T, H, D]."""
    heads, length = query_1HTD.shape[1:3]
    out_THD = query_1HTD.new_zeros(length, heads, value_1GTD.shape[-1])
    for group in groups:
        query = _block(query_1HTD, group.queries_SQ)
        key, value = (_block(each, group.keys_SK) for each in (key_1GTD, value_1GTD))
        attended = _attend(query, key, value, group.hidden_SQK, scores, dropout)
        real_NHD = attended.transpose(1, 2).flatten(0, 1).index_select(0, group.block_places_N)
        out_THD = out_THD.index_copy(0, group.row_places_N, real_NHD)
    return out_THD[None]


def is_short(num_queries: int, num_keys: int) -> bool:
    """Whether plain products serve a block of this size."""
    return num_queries * num_keys <= _LONGEST_PLAIN**2


def _block(states_1HTD: Tensor, places_SL: Tensor) -> Tensor:
    """[1, H, T, D] -> [S, H, L, D]."""
    lines, longest = places_SL.shape
    heads, _, width = states_1HTD.shape[1:]
    gathered = states_1HTD[0].index_select(1, places_SL.flatten())
    return gathered.view(heads, lines, longest, width).transpose(0, 1)


def _attend(
    query_SHQD: Tensor, key_SGKD: Tensor, value_SGKD: Tensor, hidden_SQK: Tensor | None, scores: Scores, dropout: float
) -> Tensor:
    """Masked or causal attention with grouped key heads: [S, H, Q, D]."""
    is_small = is_short(query_SHQD.shape[2], key_SGKD.shape[2])
    if is_small and (not scores.is_plain or (query_SHQD.device.type == "cpu" and dropout == 0)):
        return _attend_stacked(query_SHQD, key_SGKD, value_SGKD, hidden_SQK, scores, dropout)
    if not scores.is_plain:
        return _attend_in_pieces(query_SHQD, key_SGKD, value_SGKD, hidden_SQK, scores, dropout)
    return F.scaled_dot_product_attention(
        query_SHQD,
        key_SGKD,
        value_SGKD,
        attn_mask=None if hidden_SQK is None else ~hidden_SQK[:, None],
        dropout_p=dropout,
        is_causal=hidden_SQK is None,
        scale=scores.scale,
        enable_gqa=True,
    )


def _attend_in_pieces(
    query_SHQD: Tensor, key_SGKD: Tensor, value_SGKD: Tensor, hidden_SQK: Tensor | None, scores: Scores, dropout: float
) -> Tensor:
    """What no fused kernel computes, on long lines: some queries at a time, and again in the backward pass, so that
    the memory is that of one piece."""
    lines, _, num_queries, _ = query_SHQD.shape
    num_keys = key_SGKD.shape[2]
    size = max(1, _LONGEST_PLAIN**2 // num_keys)
    pieces = []
    for first in range(0, num_queries, size):
        last = min(first + size, num_queries)
        seen = num_keys if hidden_SQK is not None else last
        if hidden_SQK is not None:
            hidden = hidden_SQK[:, first:last]
        else:
            places_K = torch.arange(last, device=query_SHQD.device)
            hidden = (places_K > places_K[first:, None]).expand(lines, -1, -1)
        states = (query_SHQD[:, :, first:last], key_SGKD[:, :, :seen], value_SGKD[:, :, :seen])
        pieces.append(checkpoint(_attend_stacked, *states, hidden, scores, dropout, use_reentrant=False))
    return torch.cat(pieces, dim=2)


def _attend_stacked(
    query_SHQD: Tensor, key_SGKD: Tensor, value_SGKD: Tensor, hidden_SQK: Tensor | None, scores: Scores, dropout: float
) -> Tensor:
    """Products, softmax, products: on the CPU faster than the fused kernel for short branches.

    Query heads that share a key head are stacked along the length, so that there is one product a key head.
    """
    lines, heads, num_queries, width = query_SHQD.shape
    key_heads, num_keys = key_SGKD.shape[1:3]
    shared = heads // key_heads
    query = query_SHQD.reshape(lines * key_heads, shared * num_queries, width)
    key = key_SGKD.reshape(lines * key_heads, num_keys, width)
    value = value_SGKD.reshape(lines * key_heads, num_keys, -1)
    if hidden_SQK is None:
        bias = query.new_full((1, num_queries, num_queries), float("-inf")).triu(1)
    else:
        bias = query.new_zeros(hidden_SQK.shape).masked_fill_(hidden_SQK, float("-inf"))
        bias = bias.repeat_interleave(key_heads, 0)
    sinks = None
    if scores.sinks_H is not None:
        stacked = scores.sinks_H.to(query.dtype).view(key_heads, shared, 1).expand(-1, -1, num_queries)
        sinks = stacked.reshape(key_heads, -1).repeat(lines, 1)
    attended = attend_plainly(query, key, value, bias.repeat(1, shared, 1), scores, sinks, dropout)
    return attended.view(lines, heads, num_queries, -1)
