"""The loss: weighted cross-entropy over supervised positions only.

Shapes: T tokens of a row, S supervised positions of it, V vocabulary.
"""

import torch.nn.functional as F
from torch import Tensor


def supervised_positions(loss_weights_T: Tensor) -> Tensor:
    """Positions whose *output* is trained, int64 [S]: one before each token with a weight."""
    return (loss_weights_T[1:] != 0).nonzero().squeeze(-1)


def weighted_cross_entropy(logits_SV: Tensor, targets_S: Tensor, weights_S: Tensor) -> Tensor:
    """The weighted sum (not mean) of -log p(target), in nats.

    The caller divides by the total weight of the whole optimizer step: the one normalizer. Computed in float32
    whatever the model's number format.
    """
    losses_S = F.cross_entropy(logits_SV.float(), targets_S, reduction="none")
    return (losses_S * weights_S).sum()
