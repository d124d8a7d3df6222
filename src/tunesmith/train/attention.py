"""Attention that keeps the conversations of a row, and the branches of a conversation, apart.

Both implementations go through transformers' official attention interface: `tunesmith_grouped` gathers branches into
blocks (`grouped.py`) and serves every device; `tunesmith_flex` compiles one kernel (`flex.py`) and serves CUDA. What
a token may see travels as the keyword `sight` of the model's call; no dense mask is built.

Shapes: T tokens of the row, H query heads, G key heads, D head width.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from transformers import AttentionInterface, AttentionMaskInterface

from tunesmith.errors import TrainError
from tunesmith.train.flex import attend_flex, flex_mask
from tunesmith.train.grouped import Group, attend_groups, group_branches
from tunesmith.types import Row

NAME = "tunesmith_grouped"
FLEX_NAME = "tunesmith_flex"


class Sight(NamedTuple):
    """Who sees whom in a row, in the form that one implementation takes."""

    layout: tuple[Group, ...] | BlockMask
    longest: int
    """How many tokens the last token of the longest sequence sees, itself included."""


def attention_name(device: torch.device) -> str:
    """The implementation for a device, to be handed to `tunesmith.model.load.load_model`."""
    return FLEX_NAME if device.type == "cuda" else NAME


def sight_of(row: Row, attention: str, device: torch.device) -> Sight:
    """Who sees whom in `row`, for the implementation that the model was loaded with.

    Raises TrainError for any other implementation: it would let conversations see each other.
    """
    if attention not in _LAYOUTS:
        raise TrainError(
            f"the model was loaded with the attention {attention!r}, which knows no branches; "
            f"load it with one of {', '.join(_LAYOUTS)}"
        )
    return Sight(_LAYOUTS[attention](row.branches, row.num_tokens, device), int(row.positions.max()) + 1)


def grouped_attention(
    module: torch.nn.Module,
    query_1HTD: Tensor,
    key_1GTD: Tensor,
    value_1GTD: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sight: Sight | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface, block by block; gives [1, T, H, D]."""
    layout = _checked(module, sight, options).layout
    assert not isinstance(layout, BlockMask)
    scale = scaling if scaling is not None else query_1HTD.shape[-1] ** -0.5
    return attend_groups(query_1HTD, key_1GTD, value_1GTD, layout, scale, dropout), None


def flex_attention(
    module: torch.nn.Module,
    query_1HTD: Tensor,
    key_1GTD: Tensor,
    value_1GTD: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sight: Sight | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface, by one compiled kernel; gives [1, T, H, D]."""
    layout = _checked(module, sight, options).layout
    assert isinstance(layout, BlockMask)
    if dropout > 0:
        raise TrainError(
            f"{type(module).__name__}: this model drops {dropout:g} of its attention in training, which is not "
            "supported on CUDA; set attention_dropout to 0.0 in its config.json"
        )
    scale = scaling if scaling is not None else query_1HTD.shape[-1] ** -0.5
    return attend_flex(query_1HTD, key_1GTD, value_1GTD, layout, scale), None


def _checked(module: torch.nn.Module, sight: Sight | None, options: dict[str, Any]) -> Sight:
    """Refuse what would be computed wrongly: better no training than one on other attention than the model's."""
    name = type(module).__name__
    if sight is None:
        raise TrainError(f"{name} does not pass keyword arguments on to attention; not supported yet")
    if options.get("softcap") is not None:
        raise TrainError(f"{name}: attention soft-capping is not supported yet")
    if options.get("s_aux") is not None:
        raise TrainError(f"{name}: attention sinks are not supported yet")
    window = options.get("sliding_window")
    if window is not None and sight.longest > window:
        raise TrainError(
            f"conversations longer than the model's sliding window ({window}) are not supported yet; "
            f"this row has one of {sight.longest} tokens"
        )
    return sight


def _no_mask(*_: Any, **__: Any) -> None:
    """The sight says who sees whom; no dense mask is built."""


_LAYOUTS: dict[str, Callable[..., tuple[Group, ...] | BlockMask]] = {NAME: group_branches, FLEX_NAME: flex_mask}
for _name, _attention in ((NAME, grouped_attention), (FLEX_NAME, flex_attention)):
    AttentionInterface.register(_name, _attention)
    AttentionMaskInterface.register(_name, _no_mask)
