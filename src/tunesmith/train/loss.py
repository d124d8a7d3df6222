"""The loss: cross-entropy of supervised tokens only.

Shapes: T tokens of a row, S supervised tokens of it, V vocabulary.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tunesmith.branches import PlaceArray, predictors
from tunesmith.errors import TrainError
from tunesmith.types import Row


def supervised_places(row: Row) -> tuple[PlaceArray, PlaceArray]:
    """Where each token with a weight is predicted, and where it stands: int64 [S] each.

    A token is predicted by the output of the one it continues; where branches fork, one place predicts several.
    Raises TrainError for a weight on a token that continues nothing.
    """
    targets_S = np.flatnonzero(row.loss_weights)
    places_S = predictors(row.branches, row.num_tokens)[targets_S]
    if (places_S < 0).any():
        token = int(targets_S[places_S < 0][0])
        raise TrainError(
            f"conversation {row.conversation_ids[row.segments[token]]}: a sequence's first token has the loss weight "
            f"{row.loss_weights[token]:g}, but nothing stands before it to predict it from; its weight must be 0"
        )
    return places_S, targets_S


def cross_entropy(logits_SV: Tensor, targets_S: Tensor) -> Tensor:
    """-log p(target) of each token, in nats: [S]. Computed in float32, or in the model's format where that is finer.

    The caller weighs, sums, and divides by the total weight of the whole optimizer step: the one normalizer.
    """
    fine = torch.promote_types(logits_SV.dtype, torch.float32)
    return F.cross_entropy(logits_SV.to(fine), targets_S, reduction="none")
