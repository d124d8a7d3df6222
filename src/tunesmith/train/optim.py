"""AdamW over float32 master weights.

The model's own parameters may be bfloat16, which is fast but too coarse to add small updates to: at a learning
rate of 1e-5 most updates would round to nothing. So gradients are summed, and steps are taken, in float32 copies
(mixed-precision training, Micikevicius et al. 2017), which are then rounded into the model.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class MasterAdamW:
    """AdamW (Loshchilov and Hutter 2017) on fp32 masters of the parameters that require gradients."""

    def __init__(self, parameters: Iterable[tuple[str, torch.nn.Parameter]], weight_decay: float) -> None:
        named = [(name, parameter) for name, parameter in parameters if parameter.requires_grad]
        self.names = [name for name, _ in named]
        self.parameters = [parameter for _, parameter in named]
        self.masters = [parameter.detach().float().clone() for parameter in self.parameters]
        self.gradients = [torch.zeros_like(master) for master in self.masters]
        for master, gradient in zip(self.masters, self.gradients, strict=True):
            master.grad = gradient
        # Norms and biases are scales and offsets, not weights to be kept small.
        matrices = [master for master in self.masters if master.ndim > 1]
        others = [master for master in self.masters if master.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.inner = torch.optim.AdamW([g for g in groups if g["params"]], lr=0.0, betas=BETAS, eps=EPSILON, fused=True)

    def load_masters(self, tensors: dict[str, Tensor]) -> None:
        """Start from these fp32 weights, by name, rather than from the model's rounded ones."""
        for name, master in zip(self.names, self.masters, strict=True):
            master.copy_(tensors[name])
        self._round_into_model()

    def collect_gradients(self) -> None:
        """Add the model's gradients to the masters' and clear them: call after each micro-batch."""
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            if parameter.grad is not None:
                gradient += parameter.grad
                parameter.grad = None

    def step(self, learning_rate: float, clip_norm: float) -> float:
        """Clip, step, round into the model, clear; returns the gradient norm before clipping.

        Where the norm is not finite, nothing moves and nothing is cleared.
        """
        norm = float(torch.nn.utils.clip_grad_norm_(self.masters, clip_norm))
        if not math.isfinite(norm):
            return norm
        for group in self.inner.param_groups:
            group["lr"] = learning_rate
        self.inner.step()
        for gradient in self.gradients:
            gradient.zero_()
        self._round_into_model()
        return norm

    @torch.no_grad()
    def _round_into_model(self) -> None:
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            parameter.copy_(master)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that resuming needs, as named tensors: masters and both moments."""
        named: dict[str, Tensor] = {}
        for name, master in zip(self.names, self.masters, strict=True):
            named[f"master/{name}"] = master
            for key, value in self.inner.state.get(master, {}).items():
                named[f"{key}/{name}"] = value
        return named

    def restore(self, named: dict[str, Tensor]) -> None:
        """The inverse of `tensors`."""
        self.load_masters({name: named[f"master/{name}"] for name in self.names})
        for name, master in zip(self.names, self.masters, strict=True):
            if f"step/{name}" in named:
                keys = ("step", "exp_avg", "exp_avg_sq")
                self.inner.state[master] = {key: named[f"{key}/{name}"].to(master.device) for key in keys}
