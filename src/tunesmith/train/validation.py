"""The validation loss: the objective's loss over conversations set apart, per token, as a probe."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

from tunesmith.errors import TrainError
from tunesmith.train.config import LossConfig
from tunesmith.train.failures import listed, not_finite_loss
from tunesmith.train.objectives.objective import Objective
from tunesmith.train.objectives.supervised import Supervised
from tunesmith.train.probe import VALIDATION_LOSS, Probe
from tunesmith.types import Batch


class ValidationLoss:
    """Sum of the loss over the sum of the loss weights of all conversations set apart: the normalizer of a step that
    holds them all, so that their layout in rows does not matter."""

    name = VALIDATION_LOSS
    higher_is_better = False

    def __init__(self, read: Callable[[], Iterable[Batch]], every_steps: int) -> None:
        """`read` gives the conversations set apart, in batches, anew with each call."""
        self.every_steps = every_steps
        self.objective: Objective = Supervised()
        """What is measured: in a training, what the training makes smaller."""
        self._read = read

    @torch.no_grad()
    def __call__(self, step: int, model: Any) -> float:
        total = weight = 0.0
        for each in self._read():
            batch = self.objective.prepare(model, each, step)
            weight += self.objective.normalizer(batch)
            for row in batch.rows:
                found = self.objective.row_loss(model, row)
                if not math.isfinite(found.total.item()):
                    blame = not_finite_loss(self.objective, model, row, found)
                    raise TrainError(
                        f"after step {step}, {blame.what} on conversations set apart for validation:\n"
                        f"{listed(blame.rows, model)}\nTake them out of the data, or lower train.learning_rate"
                    )
                total += found.total.item()
        if weight == 0:
            raise TrainError(
                "the conversations set apart for validation have no supervised token; raise train.validation.size or "
                "change train.validation.seed"
            )
        return total / weight


def share_objective(probes: Iterable[Probe], objective: Objective) -> None:
    """Have the validation loss among `probes` measure the objective of the training itself; of a supervised one, the
    plain cross-entropy, whatever smooths or weighs it in training."""
    if isinstance(objective, Supervised):
        objective = Supervised(LossConfig(chunk_tokens=objective.config.chunk_tokens), objective.head)
    for probe in probes:
        if isinstance(probe, ValidationLoss):
            probe.objective = objective
