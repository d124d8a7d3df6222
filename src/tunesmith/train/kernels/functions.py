"""The kernels as functions that autograd goes back through. bfloat16 on the CPU; any layout, any leading shape.

Shapes: D width, V vocabulary, N places.
"""

from typing import Any

import torch
from torch import Tensor

from tunesmith.train.kernels.native import Native


def rms_norm(native: Native, x: Tensor, weight_D: Tensor, epsilon: float) -> Tensor:
    """round(x / root mean square) * weight, as Llama's norm rounds: the shape of x (Zhang and Sennrich 2019)."""
    if x.shape[-1] != weight_D.numel():
        raise ValueError(f"a norm of {weight_D.numel()} features got {x.shape[-1]}")
    out: Tensor = _RMSNorm.apply(native, x, weight_D, epsilon)  # type: ignore[no-untyped-call]
    return out


def swiglu(native: Native, gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up (Shazeer 2020)."""
    if gate.shape != up.shape:
        raise ValueError(f"gate and up differ in shape: {tuple(gate.shape)} and {tuple(up.shape)}")
    out: Tensor = _SwiGLU.apply(native, gate, up)  # type: ignore[no-untyped-call]
    return out


def cross_entropy(native: Native, logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    """-log p(target) of each place, in float32: [N]."""
    losses_N: Tensor = _CrossEntropy.apply(native, logits_NV, targets_N)  # type: ignore[no-untyped-call]
    return losses_N


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, native: Native, x: Tensor, weight_D: Tensor, epsilon: float) -> Tensor:
        x_ND = x.contiguous().view(-1, x.shape[-1])
        out_ND, rstd_N = native.norm_forward(x_ND, weight_D.contiguous(), epsilon)
        context.native = native
        context.save_for_backward(x, weight_D, rstd_N)
        return out_ND.view(x.shape)

    @staticmethod
    def backward(context: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        x, weight_D, rstd_N = context.saved_tensors
        above_ND, x_ND = (each.contiguous().view(-1, x.shape[-1]) for each in (above[0], x))
        with_weight = context.needs_input_grad[2]
        of_x, of_weight = context.native.norm_backward(
            above_ND, x_ND, weight_D.contiguous(), rstd_N, with_weight=with_weight
        )
        return None, of_x.view(x.shape), of_weight, None


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, native: Native, gate: Tensor, up: Tensor) -> Tensor:
        gate, up = gate.contiguous(), up.contiguous()
        context.native = native
        context.save_for_backward(gate, up)
        return native.swiglu_forward(gate, up)

    @staticmethod
    def backward(context: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        gate, up = context.saved_tensors
        return None, *context.native.swiglu_backward(above[0].contiguous(), gate, up)


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, native: Native, logits_NV: Tensor, targets_N: Tensor) -> Tensor:
        logits_NV, targets_N = logits_NV.contiguous(), targets_N.contiguous()
        losses_N, logs_N = native.cross_entropy_forward(logits_NV, targets_N)
        context.native = native
        context.save_for_backward(logits_NV, targets_N, logs_N)
        return losses_N

    @staticmethod
    def backward(context: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        logits_NV, targets_N, logs_N = context.saved_tensors
        above_N = above[0].float().contiguous()
        return None, context.native.cross_entropy_backward(above_N, logits_NV, targets_N, logs_N), None
