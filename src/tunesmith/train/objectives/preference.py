"""Learning from pairs: prefer the chosen answer to the rejected one, by the mean loss of the pairs of a step.

A pair stands in one row, its prompt once. One pass of the row gives the log-probabilities of both answers; where the
objective asks for the model before training, a second pass without gradients gives the reference's.

Shapes: S trained tokens of a row, P pairs of it.
"""

from typing import Any

import torch
from torch import Tensor

from tunesmith.errors import TrainError
from tunesmith.train.forward import RowTensors, row_tensors
from tunesmith.train.head import Head
from tunesmith.train.objective_config import ObjectiveConfig
from tunesmith.train.objectives.objective import RowLoss
from tunesmith.train.objectives.pair_losses import Pairs, pair_losses, rewards
from tunesmith.train.objectives.reference import Reference
from tunesmith.types import Batch, Row


class Preference:
    """Prefer what was chosen."""

    def __init__(self, config: ObjectiveConfig, reference: Reference | None, head: Head | None = None) -> None:
        self.config = config
        self.reference = reference
        self.head = head or Head()

    def prepare(self, model: Any, batch: Batch, step: int) -> Batch:
        """The batch itself; raises TrainError where it holds what is no pair."""
        for row in batch.rows:
            _check_pairs(row)
        return batch

    def normalizer(self, batch: Batch) -> float:
        """The number of pairs in the step."""
        return float(len(batch.conversation_ids))

    def row_loss(self, model: Any, row: Row) -> RowLoss:
        """The sum over a row's pairs."""
        tensors = row_tensors(row, model)
        log_S = self.head.log_probs(model, tensors)
        reference_S = torch.zeros_like(log_S) if self.reference is None else self.reference.log_probs(model, tensors)
        pairs = _pairs(row, tensors, log_S, reference_S)
        losses_P = pair_losses(pairs, self.config)
        return RowLoss(losses_P.sum(), -log_S.detach().float(), tensors.where_S, self._figures(pairs))

    @torch.no_grad()
    def _figures(self, pairs: Pairs) -> dict[str, float]:
        chosen_P, rejected_P = rewards(pairs, self.config)
        return {
            "reward_accuracy": float((chosen_P > rejected_P).sum()),
            "reward_margin": float((chosen_P - rejected_P).sum()),
            "chosen_reward": float(chosen_P.sum()),
            "rejected_reward": float(rejected_P.sum()),
        }


def _pairs(row: Row, tensors: RowTensors, log_S: Tensor, reference_S: Tensor) -> Pairs:
    """The sums of each pair's two answers, a token weighing what its loss weight says."""
    numbers_S = torch.from_numpy(row.segments[tensors.where_S]).long().to(log_S.device)
    chosen_S, rejected_S = tensors.weights_S.clamp(min=0), (-tensors.weights_S).clamp(min=0)

    def sums(values_S: Tensor) -> Tensor:
        return values_S.new_zeros(len(row.conversation_ids)).index_add(0, numbers_S, values_S)

    return Pairs(
        chosen_P=sums(log_S * chosen_S),
        rejected_P=sums(log_S * rejected_S),
        chosen_tokens_P=sums(chosen_S),
        rejected_tokens_P=sums(rejected_S),
        reference_chosen_P=sums(reference_S * chosen_S),
        reference_rejected_P=sums(reference_S * rejected_S),
    )


def _check_pairs(row: Row) -> None:
    sides = [set(row.segments[side].tolist()) for side in (row.loss_weights > 0, row.loss_weights < 0)]
    for number, identifier in enumerate(row.conversation_ids):
        seen = [name for name, numbers in zip(("chosen", "rejected"), sides, strict=True) if number in numbers]
        if len(seen) < 2:
            raise TrainError(
                f"conversation {identifier} is no pair: it has trained tokens of {' and '.join(seen) or 'no'} answer "
                "in this row; the objective compares a chosen with a rejected answer, both in one row"
            )
