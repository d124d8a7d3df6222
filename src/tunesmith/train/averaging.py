"""Averages of the weights over training, which often generalize better than the last ones.

`Ema` is an exponential moving average (Polyak and Juditsky 1992), with the usual shorter memory at the start.
`LastStates` is the plain mean of the last few states (Izmailov et al. 2018, Stochastic Weight Averaging).
Both are of the exact float32 weights.
"""

import shutil
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tunesmith.errors import TrainError
from tunesmith.files import atomic_folder
from tunesmith.train import TrainConfig
from tunesmith.train.checkpoint import room_for

WEIGHTS = "weights.safetensors"
Named = dict[str, Tensor]


class Average(Protocol):
    """An average that grows with training; what it must remember is in the checkpoint or in files of its own."""

    def after_step(self, step: int, weights: Named) -> None:
        """Take note of the weights after optimizer step `step` (from 1)."""

    def before_checkpoint(self, step: int, weights: Named) -> None:
        """Take note of the weights at a checkpoint that comes at its time."""

    def result(self, step: int, weights: Named) -> Named:
        """The averaged weights, where training ended after `step`."""

    def tensors(self) -> Named:
        """What a checkpoint must keep of it."""

    def restore(self, tensors: Named) -> None:
        """The inverse of `tensors`."""


def average_of(config: TrainConfig, weights: Named, folder: Path) -> Average | None:
    """The average that the config asks for, before the first step; None where it asks for none."""
    if config.final != "average":
        return None
    if config.average.ema_decay is not None:
        return Ema(weights, config.average.ema_decay)
    return LastStates(folder, config.average.states)


class Ema:
    """Moves by 1 - decay of the way to the current weights at each step; early on faster, by (1 + n) / (10 + n)."""

    def __init__(self, weights: Named, decay: float) -> None:
        self._decay = decay
        self._averages = {name: weight.detach().clone() for name, weight in weights.items()}

    @torch.no_grad()
    def after_step(self, step: int, weights: Named) -> None:
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self._averages.values()), [weights[name] for name in self._averages], 1 - decay)

    def before_checkpoint(self, step: int, weights: Named) -> None:
        """Nothing: the average itself is in the checkpoint."""

    def result(self, step: int, weights: Named) -> Named:
        return self._averages

    def tensors(self) -> Named:
        return {f"average/{name}": average for name, average in self._averages.items()}

    @torch.no_grad()
    def restore(self, tensors: Named) -> None:
        for name, average in self._averages.items():
            average.copy_(tensors[f"average/{name}"])


class LastStates:
    """The mean of the final weights and those of the newest checkpoints before, whose weights are kept in `folder`."""

    def __init__(self, folder: Path, num_states: int) -> None:
        self._folder = folder
        self._num_before = num_states - 1

    def after_step(self, step: int, weights: Named) -> None:
        """Nothing: states are taken at checkpoints."""

    def before_checkpoint(self, step: int, weights: Named) -> None:
        path = self._folder / f"step-{step:06d}"
        plain = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
        with room_for(path, self._folder.parent / "checkpoints"), atomic_folder(path) as temporary:
            save_file(plain, temporary / WEIGHTS)
        for older in self._until(step)[: -self._num_before]:
            shutil.rmtree(older)

    def result(self, step: int, weights: Named) -> Named:
        """Summed in the order of the steps. Raises TrainError for a state that cannot be read."""
        before = self._until(step - 1)[-self._num_before :]
        sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        for path in before:
            for name, weight in _read(path / WEIGHTS).items():
                sums[name] += weight.to(sums[name].device)
        return {name: (total + weights[name]) / (len(before) + 1) for name, total in sums.items()}

    def _until(self, step: int) -> list[Path]:
        """States no later than `step`; later ones are of a training that was resumed from before them."""
        last = f"step-{step:06d}"
        return sorted(path for path in self._folder.glob("step-*") if path.name <= last)

    def tensors(self) -> Named:
        return {}

    def restore(self, tensors: Named) -> None:
        """Nothing: the states are on disk."""


def _read(path: Path) -> Named:
    try:
        weights: Named = load_file(path)
    except Exception as error:  # safetensors and the system raise many kinds; each means that it is not whole
        raise TrainError(
            f"{path}: cannot be read ({error}), so the states cannot be averaged; remove the folder {path.parent} to "
            "average the others"
        ) from None
    return weights
