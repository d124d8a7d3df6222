"""Where kernels go: modules that are built like Llama's, each proven to compute the same before it is replaced.

Only the instance's `forward` changes. Weights keep their names and places, so that adapters, checkpoints and saving
see the same model. A module is recognized by its structure, and must then give, for random input, the same output
and the same gradients as before, to rounding; what is not proven stays as it is.

Shapes: N rows, D width.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.train.kernels.functions import rms_norm, swiglu
from tunesmith.train.kernels.native import Native

Forward = Callable[..., Any]
_EPSILONS = ("variance_epsilon", "eps")
_SILUS = ("SiLU", "SiLUActivation")
_SAMPLE_ROWS = 6


@dataclass(frozen=True, slots=True)
class Swap:
    """A module, and the forward pass that takes the place of its own."""

    module: nn.Module
    forward: Forward
    kernel: Any
    """What that forward pass finds as `module.tunesmith_kernel`."""


@dataclass(frozen=True, slots=True)
class NormKernel:
    """What a norm needs beside its weight."""

    native: Native
    epsilon: float


def norm_swap(native: Native, module: nn.Module) -> Swap | None:
    """The kernel for a root-mean-square norm with one weight a feature; None where the module is no such thing."""
    epsilon = next((getattr(module, name) for name in _EPSILONS if hasattr(module, name)), None)
    names = [name for name, _ in module.named_parameters()]
    if names != ["weight"] or epsilon is None or next(module.children(), None) is not None:
        return None
    weight = module.get_parameter("weight")
    if weight.ndim != 1 or weight.dtype != torch.bfloat16 or not weight.is_contiguous():
        return None
    swap = Swap(module, _norm_forward, NormKernel(native, float(epsilon)))
    return swap if _is_proven(swap, weight.numel(), [weight]) else None


def mlp_swap(native: Native, module: nn.Module) -> Swap | None:
    """The kernel for silu(gate) * up between linear layers, adapted or not; None where the module is no such thing."""
    parts = [getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
    if not all(isinstance(each, nn.Module) and hasattr(each, "in_features") for each in parts):
        return None
    weights = [getattr(each, "weight", None) for each in parts]
    if any(not isinstance(each, Tensor) or each.dtype != torch.bfloat16 for each in weights):
        return None
    if type(getattr(module, "act_fn", None)).__name__ not in _SILUS:  # for small inputs others look alike
        return None
    swap, width = Swap(module, _mlp_forward, native), getattr(parts[0], "in_features", 0)
    return swap if _is_proven(swap, int(width), []) else None


def _norm_forward(self: Any, hidden_states: Tensor) -> Tensor:
    if hidden_states.dtype != torch.bfloat16 or self.weight.dtype != torch.bfloat16:
        out: Tensor = type(self).forward(self, hidden_states)
        return out
    return rms_norm(self.tunesmith_kernel.native, hidden_states, self.weight, self.tunesmith_kernel.epsilon)


def _mlp_forward(self: Any, hidden_states: Tensor) -> Tensor:
    gate, up = self.gate_proj(hidden_states), self.up_proj(hidden_states)
    if gate.dtype == up.dtype == torch.bfloat16:
        product = swiglu(self.tunesmith_kernel, gate, up)
    else:
        product = torch.nn.functional.silu(gate) * up
    out: Tensor = self.down_proj(product)
    return out


@contextmanager
def swapped(swaps: list[Swap]) -> Iterator[None]:
    """While this lasts, the modules compute with kernels."""
    for swap in swaps:
        swap.module.tunesmith_kernel = swap.kernel
        swap.module.forward = MethodType(swap.forward, swap.module)
    try:
        yield
    finally:
        for swap in swaps:
            del swap.module.forward, swap.module.tunesmith_kernel


def _is_proven(swap: Swap, width: int, weights: list[Tensor]) -> bool:
    """Whether the module's own forward pass and the kernel's agree on rows of very different size, one of them with
    features far from zero, and one so small that the norm's epsilon shows."""
    generator = torch.Generator().manual_seed(0)
    sizes_N1 = torch.tensor([1.0, 30.0, 0.1, 1e-3, 1.0, 1.0])[:, None]
    means_N1 = torch.tensor([0.0, 0.0, 0.0, 0.0, 2.0, -1.0])[:, None]
    x_ND = (torch.randn(_SAMPLE_ROWS, width, generator=generator) + means_N1) * sizes_N1
    above_ND = torch.randn(_SAMPLE_ROWS, width, generator=generator).bfloat16()

    def run() -> list[Tensor]:
        x_1ND = x_ND.bfloat16()[None].requires_grad_()
        out = swap.module(x_1ND)
        wanted = [x_1ND, *(each for each in weights if each.requires_grad)]
        return [out.detach()[0], *torch.autograd.grad(out, wanted, above_ND[None])]

    return agree(swap, run)


def agree(swap: Swap, run: Callable[[], list[Tensor]], roundings: float = 2) -> bool:
    """Whether `run` comes to the same tensors with the module's own forward pass and with the kernel's, each row within
    so many roundings of its numbers. A module that cannot be run so is not what it looks like."""
    if "forward" in vars(swap.module):  # somebody else was here
        return False
    was_training = swap.module.training
    swap.module.eval()  # an adapter's dropout would make every run another
    try:
        with torch.enable_grad():
            own = run()
            with swapped([swap]):
                ours = run()
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
        return False
    finally:
        swap.module.train(was_training)
    return len(own) == len(ours) and all(is_close(*pair, roundings) for pair in zip(own, ours, strict=True))


def is_close(one: Tensor, other: Tensor, roundings: float) -> bool:
    """Whether two bfloat16 results are the same row by row, to so many roundings of each number of a row."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    one, other = one.float(), other.float()
    off, size = (one - other).norm(dim=-1), one.norm(dim=-1)
    return bool((off <= roundings * torch.finfo(torch.bfloat16).eps * size + 1e-30).all())
