"""Attention that keeps the conversations of a row, and the branches of a conversation, apart.

Both implementations go through transformers' official attention interface: `tunesmith_grouped` gathers branches into
blocks (`grouped.py`) and serves every device; `tunesmith_flex` compiles one kernel (`flex.py`) and serves CUDA. What
a token may see travels as the keyword `sight` of the model's call; no dense mask is built.

Shapes: T tokens of the row, H query heads, G key heads, D head width.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from transformers import AttentionInterface, AttentionMaskInterface

from tunesmith.errors import TrainError
from tunesmith.train.flex import attend_flex, flex_mask
from tunesmith.train.grouped import Group, attend_groups, group_branches
from tunesmith.train.scores import Scores
from tunesmith.types import BranchArray, Row

NAME = "tunesmith_grouped"
FLEX_NAME = "tunesmith_flex"
Layout = tuple[Group, ...] | BlockMask


@dataclass(frozen=True, slots=True)
class Sight:
    """Who sees whom in a row, in the form that one implementation takes."""

    branches: BranchArray
    num_tokens: int
    longest: int
    """How many tokens the last token of the longest sequence sees, itself included."""

    attention: str
    device: torch.device
    _layouts: dict[int | None, Layout] = field(default_factory=dict)

    def layout(self, window: int | None) -> Layout:
        """Who sees whom where a token sees at most `window` tokens, itself included; made once for each window."""
        if window is not None and window >= self.longest:
            window = None
        if window not in self._layouts:
            self._layouts[window] = _LAYOUTS[self.attention](self.branches, self.num_tokens, self.device, window)
        return self._layouts[window]


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
    return Sight(row.branches, row.num_tokens, int(row.positions.max()) + 1, attention, device)


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
    layout = _checked(module, sight).layout(options.get("sliding_window"))
    assert not isinstance(layout, BlockMask)
    scores = _scores(query_1HTD, scaling, options)
    return attend_groups(query_1HTD, key_1GTD, value_1GTD, layout, scores, dropout), None


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
    layout = _checked(module, sight).layout(options.get("sliding_window"))
    assert isinstance(layout, BlockMask)
    if dropout > 0:
        raise TrainError(
            f"{type(module).__name__}: this model drops {dropout:g} of its attention in training, which is not "
            "supported on CUDA; set attention_dropout to 0.0 in its config.json"
        )
    return attend_flex(query_1HTD, key_1GTD, value_1GTD, layout, _scores(query_1HTD, scaling, options)), None


def _checked(module: torch.nn.Module, sight: Sight | None) -> Sight:
    if sight is None:
        raise TrainError(f"{type(module).__name__} does not pass keyword arguments on to attention; not supported yet")
    return sight


def _scores(query_1HTD: Tensor, scaling: float | None, options: dict[str, Any]) -> Scores:
    scale = scaling if scaling is not None else query_1HTD.shape[-1] ** -0.5
    return Scores(float(scale), options.get("softcap"), options.get("s_aux"))


def _no_mask(*_: Any, **__: Any) -> None:
    """The sight says who sees whom; no dense mask is built."""


_LAYOUTS: dict[str, Callable[..., Layout]] = {NAME: group_branches, FLEX_NAME: flex_mask}
for _name, _attention in ((NAME, grouped_attention), (FLEX_NAME, flex_attention)):
    AttentionInterface.register(_name, _attention)
    AttentionMaskInterface.register(_name, _no_mask)
