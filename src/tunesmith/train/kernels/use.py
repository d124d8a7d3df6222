"""Which kernels a training uses: those that this machine can build and this model's modules are proven for."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from tunesmith.train.kernels.attention import LISTENING, attention_swap
from tunesmith.train.kernels.build import CannotBuildError
from tunesmith.train.kernels.native import Native, load_native
from tunesmith.train.kernels.places import Swap, mlp_swap, norm_swap, swapped

PARTS = ("norm", "swiglu", "attention", "loss", "gradients")
"""What kernels there are: for modules of the model, for the loss of chunks of logits, for sums of gradients."""

_SWAPS: dict[str, Callable[[Native, torch.nn.Module], Swap | None]] = {
    "norm": norm_swap,
    "swiglu": mlp_swap,
    "attention": attention_swap,
}


@dataclass(frozen=True, slots=True)
class Kernels:
    """What a training computes with."""

    digest: str = "torch"
    """Of the kernels' source, compiler, flags and processor; `torch` where there are none."""

    note: str | None = None
    """What a person should know: why there are none, where there could be."""

    loss: Native | None = None
    gradients: Native | None = None
    num_swapped: int = 0
    """How many modules compute with kernels."""

    @property
    def kind(self) -> str:
        """`native` or `torch`, as the metrics say."""
        return "torch" if self.digest == "torch" else "native"


@contextmanager
def kernels_in(model: Any, choice: str, num_ranks: int = 1, parts: Sequence[str] = PARTS) -> Iterator[Kernels]:
    """While this lasts, `model` computes with the kernels that `train.kernels` asks for.

    They serve bfloat16 models on the CPU, in one process. A model that comes here must not be adapted or sharded yet.
    """
    if choice == "off" or num_ranks > 1 or not _is_served(model):
        yield Kernels()
        return
    try:
        native = load_native()
    except CannotBuildError as error:
        yield Kernels(note=f"trained with torch's operations alone, which is slower: {error}")
        return
    swaps = _swaps(native, model, parts)
    loss, gradients = (native if part in parts else None for part in ("loss", "gradients"))
    with swapped(swaps):
        yield Kernels(native.digest, None, loss, gradients, len(swaps))


def _is_served(model: Any) -> bool:
    weights = list(model.parameters())
    return bool(weights) and all(each.device.type == "cpu" and each.dtype == torch.bfloat16 for each in weights)


def _swaps(native: Native, model: Any, parts: Sequence[str]) -> list[Swap]:
    """The modules that are recognized and proven, each by itself, while the model listens to its own attention."""
    found = []
    before = model.config._attn_implementation
    model.set_attn_implementation(LISTENING)
    try:
        for module in model.modules():
            tried = (_SWAPS[part](native, module) for part in parts if part in _SWAPS)
            found += [swap for swap in tried if swap is not None][:1]
    finally:
        model.set_attn_implementation(before)
    return found
