"""Supervised fine-tuning: the weighted cross-entropy of supervised tokens, over the step's total weight."""

from typing import Any

import torch

from tunesmith.train.forward import forward, row_tensors
from tunesmith.train.loss import cross_entropy
from tunesmith.train.objectives.objective import RowLoss
from tunesmith.types import Batch, Row


class Supervised:
    """Say what the data say."""

    def prepare(self, model: Any, batch: Batch, step: int) -> Batch:
        """The batch itself."""
        return batch

    def normalizer(self, batch: Batch) -> float:
        """The one loss normalizer: the sum of all loss weights of the optimizer step."""
        return batch.total_weight

    def row_loss(self, model: Any, row: Row) -> RowLoss:
        """The weighted sum over a row's supervised tokens; logits exist for these alone."""
        tensors = row_tensors(row, model)
        if tensors.places_S.numel() == 0:
            return RowLoss(torch.zeros((), requires_grad=True), torch.zeros(0), tensors.where_S)
        logits_SV = forward(model, tensors, tensors.places_S)
        losses_S = cross_entropy(logits_SV, tensors.targets_S)
        return RowLoss((losses_S * tensors.weights_S).sum(), losses_S.detach().float(), tensors.where_S)
