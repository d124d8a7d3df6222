"""Supervised fine-tuning: the weighted cross-entropy of supervised tokens, over the step's total weight."""

from typing import Any

import torch
from torch import Tensor

from tunesmith.train.config import LossConfig
from tunesmith.train.forward import row_tensors
from tunesmith.train.head import ChunkLoss, Head
from tunesmith.train.loss import token_losses
from tunesmith.train.objectives.objective import RowLoss
from tunesmith.types import Batch, Row


class Supervised:
    """Say what the data say."""

    def __init__(self, config: LossConfig | None = None, head: Head | None = None) -> None:
        self.config = config or LossConfig()
        self.head = head or Head(self.config.chunk_tokens)

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

        def loss(logits_CV: Tensor, chunk: slice) -> ChunkLoss:
            losses = token_losses(logits_CV, tensors.targets_S[chunk], self.config, self.head.native)
            return ChunkLoss((losses.trained_S * tensors.weights_S[chunk]).sum(), losses.plain_S)

        total, plain_S = self.head.loss(model, tensors, loss)
        return RowLoss(total, plain_S.float(), tensors.where_S)
