"""A layer's attention between its projections: turning by position, blocks, products and softmax in one function.

Serves layers that are built like Llama's (queries, keys and values from a linear layer each, normed per head or not,
turned by halves or not at all), for rows whose blocks are short enough for plain products (`grouped.py`) and whose
attention drops nothing. Everything else, a cache of keys or another attention implementation included, goes through
the layer's own forward pass.

Shapes: T tokens of a row, S lines of a block, H query heads, G key heads, Q queries, K keys, D head width, E width.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from tunesmith.train.attention import NAME, Sight, grouped_attention
from tunesmith.train.grouped import Group, is_short
from tunesmith.train.kernels.native import Native
from tunesmith.train.kernels.places import Swap, agree

LISTENING = "tunesmith_listening"
"""The attention that a model must have while its layers are proven: ours, and it notes how it is called."""

_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
_HEARD = ("sight", "sliding_window")
Turn = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class AttentionKernel:
    """What a layer needs beside its weights, as its own forward pass hands it to attention."""

    native: Native
    scale: float
    window: int | None
    is_turned: bool


@dataclass(frozen=True, slots=True)
class _Heard:
    scale: float | None
    options: dict[str, Any]
    spread: float
    """The standard deviation of the scores."""


_heard: list[_Heard] = []


def _listen(
    module: nn.Module,
    query_1HTD: Tensor,
    key_1GTD: Tensor,
    value_1GTD: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    with torch.no_grad():
        every_key = key_1GTD.repeat_interleave(query_1HTD.shape[1] // key_1GTD.shape[1], 1).float()
        scores = query_1HTD.float() @ every_key.transpose(2, 3) * (scaling or query_1HTD.shape[-1] ** -0.5)
        _heard.append(_Heard(scaling, options, float(scores.std())))
    return grouped_attention(module, query_1HTD, key_1GTD, value_1GTD, attention_mask, scaling, **options)


def _no_mask(*_: Any, **__: Any) -> None:
    """The sight says who sees whom."""


AttentionInterface.register(LISTENING, _listen)
AttentionMaskInterface.register(LISTENING, _no_mask)


def attention_swap(native: Native, module: nn.Module) -> Swap | None:
    """The kernel for a layer's attention; None where the module is none, or one that does more.

    The model's attention implementation must be `LISTENING`.
    """
    if not all(isinstance(getattr(module, name, None), nn.Module) for name in _PROJECTIONS):
        return None
    width, heads = getattr(module.q_proj, "in_features", None), getattr(module, "head_dim", None)
    weight = getattr(module.q_proj, "weight", None)
    if width is None or heads is None or not isinstance(weight, Tensor) or weight.dtype != torch.bfloat16:
        return None
    states, sight = _sample(int(width)), _sample_sight()
    heard = _listen_to(module, states, sight)
    if heard is None:
        return None
    # Scores of size one show what a layer does with them; larger ones leave a softmax that rounding alone decides.
    states["hidden"] /= max(heard.spread, 1e-6) ** 0.5
    for is_turned in (True, False):
        kernel = AttentionKernel(native, heard.scale or heads**-0.5, heard.options.get("sliding_window"), is_turned)
        swap = Swap(module, _forward, kernel)
        if _is_proven(swap, states, sight):
            return swap
    return None


def _forward(self: Any, hidden_states: Tensor, *arguments: Any, **options: Any) -> Any:
    kernel: AttentionKernel = self.tunesmith_kernel
    groups = _groups(self, kernel, hidden_states, options) if not arguments else None
    if groups is None:
        return type(self).forward(self, hidden_states, *arguments, **options)
    turn = tuple(each[0].contiguous() for each in options["position_embeddings"]) if kernel.is_turned else None
    heads = (*hidden_states.shape[1:-1], -1, self.head_dim)
    query_THD, key_TGD, value_TGD = (getattr(self, name)(hidden_states).view(heads) for name in _PROJECTIONS[:3])
    if hasattr(self, "q_norm"):
        query_THD, key_TGD = self.q_norm(query_THD), self.k_norm(key_TGD)
    attended_THD = _Attend.apply(  # type: ignore[no-untyped-call]
        kernel, groups, turn, query_THD, key_TGD, value_TGD
    )
    return self.o_proj(attended_THD.flatten(1)[None]), None


def _groups(
    module: Any, kernel: AttentionKernel, hidden_states: Tensor, options: dict[str, Any]
) -> tuple[Group, ...] | None:
    """The blocks of the row, where this call is one that the kernel serves."""
    sight, turn = options.get("sight"), options.get("position_embeddings")
    is_ours = (
        isinstance(sight, Sight)
        and options.get("past_key_values") is None
        and module.config._attn_implementation in (NAME, LISTENING)
        and not (module.training and getattr(module, "attention_dropout", 0.0))
        and hidden_states.dtype == torch.bfloat16
        and hidden_states.ndim == 3
        and len(hidden_states) == 1
    )
    if not is_ours:
        return None
    if kernel.is_turned and (turn is None or any(not _fits(each, hidden_states, module.head_dim) for each in turn)):
        return None
    assert sight is not None
    groups: Any = sight.layout(kernel.window)
    return groups if all(is_short(*_size(group)) for group in groups) else None


def _fits(turn: Tensor, hidden_states: Tensor, width: int) -> bool:
    return turn.shape == (1, hidden_states.shape[1], width) and turn.dtype == torch.bfloat16


def _size(group: Group) -> tuple[int, int]:
    return group.queries_SQ.shape[1], group.keys_SK.shape[1]


class _Attend(torch.autograd.Function):
    """Queries [T, H, D], keys and values [T, G, D] to what the queries attend to, [T, H, D]. H / G query heads that
    share a key head are stacked along the length."""

    @staticmethod
    def forward(
        context: Any, kernel: AttentionKernel, groups: tuple[Group, ...], turn: Turn | None, *states: Tensor
    ) -> Tensor:
        native = kernel.native
        query_THD, key_TGD, value_TGD = (each.contiguous() for each in states)
        out_THD = query_THD.new_empty(*query_THD.shape[:2], value_TGD.shape[-1])
        kept: list[Tensor] = []
        for group in groups:
            query = native.rotary_gather(query_THD, turn, group.queries_SQ)
            key = native.rotary_gather(key_TGD, turn, group.keys_SK)
            value = native.rotary_gather(value_TGD, None, group.keys_SK)
            weights = _stacked(query, key) @ key.flatten(0, 1).transpose(1, 2)
            shape = (*query.shape[:3], key.shape[2])
            native.softmax_forward(weights.view(shape), group.hidden_SQK, kernel.scale)
            attended = (weights @ value.flatten(0, 1)).view(*query.shape[:3], -1)
            native.to_row(attended, out_THD, group.row_places_N, group.block_places_N)
            kept += [query, key, value, weights]
        context.call = kernel, groups, turn
        context.save_for_backward(*kept)
        return out_THD

    @staticmethod
    def backward(context: Any, *above: Tensor) -> tuple[Any, ...]:
        kernel, groups, turn = context.call
        native, kept, above_THD = kernel.native, context.saved_tensors, above[0].contiguous()
        sums: list[Tensor] | None = None
        for number, group in enumerate(groups):
            query, key, value, weights = kept[4 * number : 4 * number + 4]
            # What is padding must be 0: a key's gradient is a sum over all queries of the block.
            block = query.new_zeros(*query.shape[:3], value.shape[-1])
            native.from_row(block, above_THD, group.row_places_N, group.block_places_N)
            stacked = _stacked(block, key)
            of_value = weights.transpose(1, 2) @ stacked
            of_scores = stacked @ value.flatten(0, 1).transpose(1, 2)
            shape = (*query.shape[:3], key.shape[2])
            native.softmax_backward(of_scores.view(shape), weights, kernel.scale, is_causal=group.hidden_SQK is None)
            of_query = of_scores @ key.flatten(0, 1)
            of_key = of_scores.transpose(1, 2) @ _stacked(query, key)
            found = (of_query.view_as(query), of_key.view_as(key), of_value.view_as(value))
            if sums is None:
                sums = [_zeros(above_THD, each) for each in found]
            places = (group.queries_SQ, group.keys_SK, group.keys_SK)
            for one, where, total in zip(found, places, sums, strict=True):
                native.scatter_add(one, where, total)
        assert sums is not None
        turns = (turn, turn, None)
        return None, None, None, *(native.rotary_back(each, way) for each, way in zip(sums, turns, strict=True))


def _stacked(states_SHQD: Tensor, key_SGKD: Tensor) -> Tensor:
    """[S, H, Q, D] -> [S * G, H / G * Q, D]."""
    lines, key_heads = key_SGKD.shape[:2]
    return states_SHQD.view(lines * key_heads, -1, states_SHQD.shape[-1])


def _zeros(above_THD: Tensor, block_SHLD: Tensor) -> Tensor:
    shape = (len(above_THD), block_SHLD.shape[1], block_SHLD.shape[3])
    return torch.zeros(shape, dtype=torch.float32)


# The proof

_ROUNDINGS = 8  # scores, weights and four products round, each in its own way
_LENGTHS = (11, 9, 6)  # a conversation, a trunk, and a branch on the trunk's fifth token


def _sample(width: int) -> dict[str, Any]:
    """What a layer is called with: states, and cosine and sine, whose width the layer's heads decide."""
    generator = torch.Generator().manual_seed(0)
    return {"hidden": torch.randn(1, sum(_LENGTHS), width, generator=generator).bfloat16(), "generator": generator}


def _sample_sight() -> Sight:
    first, second = _LENGTHS[0], _LENGTHS[0] + _LENGTHS[1]
    branches = np.array([[0, -1], [first, -1], [second, first + 4]], np.int32)
    return Sight(branches, sum(_LENGTHS), max(_LENGTHS[0], 5 + _LENGTHS[2]), NAME, torch.device("cpu"))


def _turn(module: Any) -> Turn:
    angles_TD = torch.rand(sum(_LENGTHS), module.head_dim // 2, generator=torch.Generator().manual_seed(1)) * 6.28
    both = torch.cat([angles_TD, angles_TD], dim=-1)[None]
    return both.cos().bfloat16(), both.sin().bfloat16()


def _listen_to(module: Any, states: dict[str, Any], sight: Sight) -> _Heard | None:
    """How the layer's own forward pass calls attention; None where it does so with more than a scale and a window."""
    _heard.clear()
    try:
        with torch.no_grad():
            out = _call(module, states["hidden"], sight)
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
        return None
    if len(_heard) != 1 or not isinstance(out, tuple) or len(out) != 2 or out[1] is not None:
        return None
    more = {name: value for name, value in _heard[0].options.items() if name not in _HEARD and value}
    return None if more else _heard[0]


def _call(module: Any, hidden_1TE: Tensor, sight: Sight) -> Any:
    was_training = module.training
    module.eval()
    try:
        return module(hidden_states=hidden_1TE, position_embeddings=_turn(module), attention_mask=None, sight=sight)
    finally:
        module.train(was_training)


def _is_proven(swap: Swap, states: dict[str, Any], sight: Sight) -> bool:
    above = torch.randn(states["hidden"].shape, generator=torch.Generator().manual_seed(2)).bfloat16()

    def run() -> list[Tensor]:
        hidden_1TE = states["hidden"].clone().requires_grad_()
        out_1TE = _call(swap.module, hidden_1TE, sight)[0]
        return [out_1TE.detach()[0], torch.autograd.grad(out_1TE, hidden_1TE, above[..., : out_1TE.shape[-1]])[0][0]]

    return agree(swap, run, _ROUNDINGS)
