"""The compiled functions of `native.cpp`, called with tensors: bfloat16, contiguous, on the CPU.

Nothing is checked here but what would read outside of a tensor; `functions.py` makes of these what autograd knows.

Shapes: N rows, D width, V vocabulary, T tokens, S lines of a block, H heads, Q queries, K keys, L places of a line.
"""

import ctypes
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tunesmith.train.kernels.build import CannotBuildError, library

_BLOCK = 64  # as in native.cpp
_P, _I, _F, _C = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float, ctypes.c_int
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "norm_forward": (_P, _P, _P, _P, _I, _I, _F, _C),
    "norm_backward": (_P, _P, _P, _P, _P, _P, _P, _I, _I, _C),
    "swiglu_forward": (_P, _P, _P, _I, _C),
    "swiglu_backward": (_P, _P, _P, _P, _P, _I, _C),
    "rotary_gather": (_P, _P, _P, _P, _P, _I, _I, _I, _I, _C),
    "scatter_add": (_P, _P, _P, _I, _I, _I, _I, _C),
    "rotary_back": (_P, _P, _P, _P, _I, _I, _I, _C),
    "copy_real": (_P, _P, _P, _P, _I, _I, _I, _I, _C, _C),
    "softmax_forward": (_P, _P, _I, _I, _I, _I, _F, _C),
    "softmax_backward": (_P, _P, _I, _I, _I, _C, _F, _C),
    "cross_entropy_forward": (_P, _P, _P, _P, _I, _I, _C),
    "cross_entropy_backward": (_P, _P, _P, _P, _P, _I, _I, _C),
    "add_narrow": (_P, _P, _I, _C),
}


class Native:
    """The library of one file, whose name is its digest."""

    def __init__(self, path: Path) -> None:
        self.digest = path.stem
        try:
            self._library = ctypes.CDLL(str(path))
            for name, signature in _SIGNATURES.items():
                function = getattr(self._library, name)
                function.argtypes, function.restype = signature, None
        except (OSError, AttributeError) as error:
            raise CannotBuildError(f"{path} cannot be loaded ({error})") from error

    def __deepcopy__(self, memo: Any) -> "Native":
        """A copy of a model runs the same functions."""
        return self

    def _call(self, name: str, *arguments: Any) -> None:
        pointers = [each.data_ptr() if isinstance(each, Tensor) else each for each in arguments]
        getattr(self._library, name)(*pointers, torch.get_num_threads())

    def norm_forward(self, x_ND: Tensor, weight_D: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        """x / root mean square * weight, and the inverse of each row's root mean square in float32: [N, D], [N]."""
        out_ND, rstd_N = torch.empty_like(x_ND), torch.empty(len(x_ND), dtype=torch.float32)
        self._call("norm_forward", x_ND, weight_D, out_ND, rstd_N, *x_ND.shape, epsilon)
        return out_ND, rstd_N

    def norm_backward(
        self, above_ND: Tensor, x_ND: Tensor, weight_D: Tensor, rstd_N: Tensor, *, with_weight: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The gradients by x and, if asked for, by the weight."""
        out_ND, parts_BD, weight = torch.empty_like(x_ND), None, None
        if with_weight:
            parts_BD = torch.empty(-(-len(x_ND) // _BLOCK), x_ND.shape[1], dtype=torch.float32)
            weight = torch.empty_like(weight_D)
        self._call("norm_backward", above_ND, x_ND, weight_D, rstd_N, out_ND, parts_BD, weight, *x_ND.shape)
        return out_ND, weight

    def swiglu_forward(self, gate: Tensor, up: Tensor) -> Tensor:
        """silu(gate) * up."""
        out = torch.empty_like(gate)
        self._call("swiglu_forward", gate, up, out, gate.numel())
        return out

    def swiglu_backward(self, above: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients by gate and up."""
        of_gate, of_up = torch.empty_like(gate), torch.empty_like(up)
        self._call("swiglu_backward", above, gate, up, of_gate, of_up, gate.numel())
        return of_gate, of_up

    def rotary_gather(self, x_THD: Tensor, turn: tuple[Tensor, Tensor] | None, places_SL: Tensor) -> Tensor:
        """The places of a row as a block, turned by cosine and sine [T, D] where these are given: [S, H, L, D]."""
        heads, width = x_THD.shape[1:]
        out = x_THD.new_empty(len(places_SL), heads, places_SL.shape[1], width)
        shape = (len(places_SL), heads, places_SL.shape[1], width)
        self._call("rotary_gather", x_THD, *(turn or (None, None)), places_SL, out, *shape)
        return out

    def scatter_add(self, block_SHLD: Tensor, places_SL: Tensor, sums_THD: Tensor) -> None:
        """Add a block to the places of the row that it was taken from."""
        self._call("scatter_add", block_SHLD, places_SL, sums_THD, *block_SHLD.shape)

    def rotary_back(self, sums_THD: Tensor, turn: tuple[Tensor, Tensor] | None) -> Tensor:
        """float32 sums, turned the other way: bfloat16 [T, H, D]."""
        out_THD = torch.empty_like(sums_THD, dtype=torch.bfloat16)
        self._call("rotary_back", sums_THD, *(turn or (None, None)), out_THD, *sums_THD.shape)
        return out_THD

    def to_row(self, block_SHQD: Tensor, row_THD: Tensor, row_places_N: Tensor, block_places_N: Tensor) -> None:
        """Copy a block's real queries into the row."""
        self._copy_real(block_SHQD, row_THD, row_places_N, block_places_N, 1)

    def from_row(self, block_SHQD: Tensor, row_THD: Tensor, row_places_N: Tensor, block_places_N: Tensor) -> None:
        """Copy a row's places into the block's real queries."""
        self._copy_real(block_SHQD, row_THD, row_places_N, block_places_N, 0)

    def _copy_real(self, block: Tensor, row: Tensor, row_places_N: Tensor, block_places_N: Tensor, way: int) -> None:
        _, heads, queries, width = block.shape
        size = (row_places_N.numel(), heads, queries, width, way)
        self._call("copy_real", block, row, row_places_N, block_places_N, *size)

    def softmax_forward(self, scores_SHQK: Tensor, hidden_SQK: Tensor | None, scale: float) -> None:
        """In place: the softmax of the scaled scores over what a query sees."""
        self._call("softmax_forward", scores_SHQK, hidden_SQK, *scores_SHQK.shape, scale)

    def softmax_backward(self, gradient_SHQK: Tensor, weights: Tensor, scale: float, *, is_causal: bool) -> None:
        """In place: the gradient by the softmax's weights becomes the one by the scores before scaling."""
        lines, heads, queries, keys = gradient_SHQK.shape
        self._call("softmax_backward", gradient_SHQK, weights, lines * heads * queries, queries, keys, is_causal, scale)

    def cross_entropy_forward(self, logits_NV: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
        """-log p(target), and the logarithm of the softmax's denominator: float32 [N] each."""
        losses_N, logs_N = torch.empty(2, len(logits_NV), dtype=torch.float32)
        self._call("cross_entropy_forward", logits_NV, targets_N, losses_N, logs_N, *logits_NV.shape)
        return losses_N, logs_N

    def cross_entropy_backward(self, above_N: Tensor, logits_NV: Tensor, targets_N: Tensor, logs_N: Tensor) -> Tensor:
        """The gradient by the logits: bfloat16 [N, V]."""
        out_NV = torch.empty_like(logits_NV)
        self._call("cross_entropy_backward", above_N, logits_NV, targets_N, logs_N, out_NV, *logits_NV.shape)
        return out_NV

    def add_narrow(self, sums: Tensor, addend: Tensor) -> None:
        """Add bfloat16 numbers to float32 ones, in place."""
        self._call("add_narrow", sums, addend, sums.numel())


def load_native() -> Native:
    """The kernels, compiled for this machine. Raises CannotBuildError with one line of reason."""
    return Native(library())
