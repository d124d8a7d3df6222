"""Attention over the branches of a row by FlexAttention, made for CUDA; on the CPU the same in plain form, for tests.

FlexAttention (Dong et al. 2024) compiles a rule of who sees whom into one kernel and passes over the blocks in which
nobody sees anybody. The rule here numbers the tokens depth first, so that what continues a token has the numbers
from its own to the end of its subtree: token q sees token k if k's number <= q's number < the end of k's subtree.

Shapes: T tokens of the row, H query heads, G key heads, D head width.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from tunesmith.branches import PlaceArray, starts_and_ends
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


def flex_mask(branches: BranchArray, num_tokens: int, device: torch.device) -> BlockMask:
    """The rule of a row and the blocks in which it lets anybody see anything.

    Making it takes a few times T x T bytes for a moment.
    """
    numbers, ends = depth_first(branches, num_tokens)
    numbers_T, ends_T = torch.from_numpy(numbers).to(device), torch.from_numpy(ends).to(device)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (numbers_T[key] <= numbers_T[query]) & (numbers_T[query] < ends_T[key])

    return create_block_mask(sees, None, None, num_tokens, num_tokens, device=device)


def attend_flex(query_1HTD: Tensor, key_1GTD: Tensor, value_1GTD: Tensor, mask: BlockMask, scale: float) -> Tensor:
    """The attention of a whole row: [1, T, H, D]. On the CPU it has no backward pass."""
    attended: Tensor = _kernel(query_1HTD.device.type)(
        query_1HTD,
        key_1GTD,
        value_1GTD,
        block_mask=mask,
        scale=scale,
        enable_gqa=True,
        # Rows under 128 tokens would take a decoding kernel, which refuses head counts such as 9 over 3.
        kernel_options={"FORCE_USE_FLEX_ATTENTION": True},
    )
    return attended.transpose(1, 2).contiguous()


@cache
def _kernel(device_type: str) -> Any:
    """Compiled where there is a kernel to compile; the plain form needs no compiler."""
    return torch.compile(flex_attention) if device_type == "cuda" else flex_attention
