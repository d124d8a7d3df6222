"""Attention that keeps the segments of a row apart, through transformers' official attention interface.

A row holds several conversations end to end. Their queries, keys and values are gathered into a block with one
conversation a line, padded on the right, where plain causal attention is exact: a query sees only earlier keys,
and padding is always later. The work is the sum of squared conversation lengths, not the square of the row.

Shapes: T tokens of the row, S segments in a group, L longest of them, H query heads, K key heads, D head width.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface

from tunesmith.errors import TrainError

NAME = "tunesmith_segments"
# Above this length the fused kernel's saved memory is worth more than the plain products' speed on the CPU.
_LONGEST_PLAIN = 512


class Group(NamedTuple):
    """Segments of similar length, attended together."""

    gather_SL: Tensor
    """Where in the row each place of the block comes from; padding points at place 0."""

    row_places_N: Tensor
    """The row positions of the group's real tokens."""

    block_places_N: Tensor
    """Their places in the flattened block."""


def group_segments(segments_T: Tensor) -> tuple[Group, ...]:
    """Group the segments of a row by length (powers of two), so that padding at most doubles a line."""
    lengths = torch.bincount(segments_T)
    starts = lengths.cumsum(0) - lengths
    classes = lengths.float().log2().ceil().int()
    return tuple(_group(starts[classes == size], lengths[classes == size]) for size in sorted(set(classes.tolist())))


def _group(starts_S: Tensor, lengths_S: Tensor) -> Group:
    longest = int(lengths_S.max())
    places_L = torch.arange(longest, device=starts_S.device)
    is_real_SL = places_L[None] < lengths_S[:, None]
    gather_SL = torch.where(is_real_SL, starts_S[:, None] + places_L[None], 0)
    block_places_N = is_real_SL.flatten().nonzero().squeeze(-1)
    return Group(gather_SL, gather_SL.flatten()[block_places_N], block_places_N)


def segment_attention(
    module: torch.nn.Module,
    query_1HTD: Tensor,
    key_1KTD: Tensor,
    value_1KTD: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    groups: tuple[Group, ...] | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface; gives [1, T, H, D]. `groups` travels as a keyword of the model's call."""
    if groups is None:
        raise TrainError(f"{type(module).__name__} does not pass keyword arguments on to attention; not supported yet")
    if options.get("softcap") is not None:
        raise TrainError(f"{type(module).__name__}: attention soft-capping is not supported yet")
    window = options.get("sliding_window")
    if window is not None and any(group.gather_SL.shape[1] > window for group in groups):
        raise TrainError(f"conversations longer than the model's sliding window ({window}) are not supported yet")
    heads, length, width = query_1HTD.shape[1:]
    out_THD = query_1HTD.new_zeros(length, heads, value_1KTD.shape[-1])
    scale = scaling if scaling is not None else width**-0.5
    for group in groups:
        query, key, value = (_block(each, group) for each in (query_1HTD, key_1KTD, value_1KTD))
        attended = _attend(query, key, value, scale, dropout)
        real_NHD = attended.transpose(1, 2).flatten(0, 1).index_select(0, group.block_places_N)
        out_THD = out_THD.index_copy(0, group.row_places_N, real_NHD)
    return out_THD[None], None


def _block(states_1HTD: Tensor, group: Group) -> Tensor:
    """[1, H, T, D] -> [S, H, L, D]."""
    segments, longest = group.gather_SL.shape
    heads, _, width = states_1HTD.shape[1:]
    gathered = states_1HTD[0].index_select(1, group.gather_SL.flatten())
    return gathered.view(heads, segments, longest, width).transpose(0, 1)


def _attend(query_SHLD: Tensor, key_SKLD: Tensor, value_SKLD: Tensor, scale: float, dropout: float) -> Tensor:
    """Causal attention with grouped key heads: [S, H, L, D]."""
    longest = query_SHLD.shape[2]
    if query_SHLD.device.type == "cpu" and longest <= _LONGEST_PLAIN and dropout == 0:
        return _attend_plainly(query_SHLD, key_SKLD, value_SKLD, scale)
    return F.scaled_dot_product_attention(
        query_SHLD, key_SKLD, value_SKLD, dropout_p=dropout, is_causal=True, scale=scale, enable_gqa=True
    )


def _attend_plainly(query_SHLD: Tensor, key_SKLD: Tensor, value_SKLD: Tensor, scale: float) -> Tensor:
    """Products, softmax, products: on the CPU faster than the fused kernel for short segments.

    Query heads that share a key head are stacked along the length, so that there is one product a key head.
    """
    segments, heads, longest, width = query_SHLD.shape
    key_heads = key_SKLD.shape[1]
    shared = heads // key_heads
    query = query_SHLD.reshape(segments * key_heads, shared * longest, width)
    key = key_SKLD.reshape(segments * key_heads, longest, width)
    value = value_SKLD.reshape(segments * key_heads, longest, -1)
    future_LL = torch.full((longest, longest), float("-inf"), dtype=query.dtype).triu(1)
    scores = torch.baddbmm(future_LL.repeat(shared, 1)[None], query, key.transpose(1, 2), alpha=scale)
    return (scores.softmax(-1) @ value).view(segments, heads, longest, -1)


def _no_mask(*_: Any, **__: Any) -> None:
    """The groups say who sees whom; no dense mask is built."""


AttentionInterface.register(NAME, segment_attention)
AttentionMaskInterface.register(NAME, _no_mask)
