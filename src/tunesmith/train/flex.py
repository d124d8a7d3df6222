"""Attention over the branches of a row by FlexAttention, made for CUDA; on the CPU the same in plain form, for tests.

FlexAttention (Dong et al. 2024) compiles a rule of who sees whom into one kernel and passes over the blocks in which
nobody sees anybody. The rule here numbers the tokens depth first, so that what continues a token has the numbers
from its own to the end of its subtree: token q sees token k if k's number <= q's number < the end of k's subtree,
and, in a layer with a sliding window, if k's depth > q's depth - window. A soft cap is a function of the score; sinks
are put into the softmax afterwards, by its normalizer.

Shapes: T tokens of the row, H query heads, G key heads, D head width.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, create_block_mask, flex_attention

from tunesmith.branches import PlaceArray, paths, starts_and_ends
from tunesmith.train.scores import Scores
from tunesmith.types import BranchArray


def depth_first(branches: BranchArray, num_tokens: int) -> tuple[PlaceArray, PlaceArray]:
    """Each token's depth-first number, and the number after the last one of its subtree: int64 [T] each.

    At a fork the attached branches are numbered before the branch that goes on.
    """
    spans = list(zip(*starts_and_ends(branches, num_tokens), branches[:, 1], strict=True))
    sizes_T = np.ones(num_tokens, np.int64)  # of a token with the branches attached to it, then of its subtree
    for start, end, parent in reversed(spans):
        sizes_T[start:end] = sizes_T[start:end][::-1].cumsum()[::-1]
        if parent >= 0:
            sizes_T[parent] += sizes_T[start]
    numbers_T = np.empty(num_tokens, np.int64)
    next_root, next_child_T = 0, np.empty(num_tokens, np.int64)
    for start, end, parent in spans:
        if parent < 0:
            first, next_root = next_root, next_root + sizes_T[start]
        else:
            first = next_child_T[parent]
            next_child_T[parent] += sizes_T[start]
        # The subtrees of all tokens of a branch end at the same number.
        numbers_T[start:end] = first + sizes_T[start] - sizes_T[start:end]
        next_child_T[start:end] = numbers_T[start:end] + 1
    return numbers_T, numbers_T + sizes_T


def depths(branches: BranchArray, num_tokens: int) -> PlaceArray:
    """How many tokens stand before each token on its own path: int64 [T]."""
    spans = zip(paths(branches, num_tokens), *starts_and_ends(branches, num_tokens), strict=True)
    return np.concatenate([path.size + np.arange(end - start) for path, start, end in spans])


def flex_mask(branches: BranchArray, num_tokens: int, device: torch.device, window: int | None = None) -> BlockMask:
    """The rule of a row and the blocks in which it lets anybody see anything.

    Making it takes a few times T x T bytes for a moment.
    """
    numbers, ends = depth_first(branches, num_tokens)
    numbers_T, ends_T = torch.from_numpy(numbers).to(device), torch.from_numpy(ends).to(device)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (numbers_T[key] <= numbers_T[query]) & (numbers_T[query] < ends_T[key])

    if window is None:
        return create_block_mask(sees, None, None, num_tokens, num_tokens, device=device)
    depths_T = torch.from_numpy(depths(branches, num_tokens)).to(device)

    def sees_near(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return sees(batch, head, query, key) & (depths_T[key] > depths_T[query] - window)

    return create_block_mask(sees_near, None, None, num_tokens, num_tokens, device=device)


def attend_flex(query_1HTD: Tensor, key_1GTD: Tensor, value_1GTD: Tensor, mask: BlockMask, scores: Scores) -> Tensor:
    """The attention of a whole row: [1, T, H, D]. On the CPU it has no backward pass."""
    attended: Tensor
    attended, found = _kernel(query_1HTD.device.type)(
        query_1HTD,
        key_1GTD,
        value_1GTD,
        score_mod=None if scores.softcap is None else _capping(scores.softcap),
        block_mask=mask,
        scale=scores.scale,
        enable_gqa=True,
        # Rows under 128 tokens would take a decoding kernel, which refuses head counts such as 9 over 3.
        kernel_options={"FORCE_USE_FLEX_ATTENTION": True},
        return_aux=AuxRequest(lse=scores.sinks_H is not None),
    )
    if scores.sinks_H is not None:
        # The share of the softmax that is not the sink's: e^lse / (e^lse + e^sink).
        share_1HT = torch.sigmoid(found.lse - scores.sinks_H[:, None].to(found.lse.dtype))
        attended = (attended * share_1HT[..., None]).to(query_1HTD.dtype)
    return attended.transpose(1, 2).contiguous()


@cache
def _capping(softcap: float) -> Any:
    """One function for each cap, so that the kernel is compiled once."""

    def capped(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return softcap * torch.tanh(score / softcap)

    return capped


@cache
def _kernel(device_type: str) -> Any:
    """Compiled where there is a kernel to compile; the plain form needs no compiler."""
    return torch.compile(flex_attention) if device_type == "cuda" else flex_attention
