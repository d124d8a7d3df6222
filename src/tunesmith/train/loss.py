"""Losses and what they are made of: pure functions of logits, targets and other models' logits.

All are computed in float32, or in the logits' format where that is finer.

Shapes: T tokens of a row, S supervised tokens of it, V vocabulary.
"""

import numpy as np
import torch
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
    """-log p(target) of each token, in nats: [S].

    The caller weighs, sums, and divides by the total weight of the whole optimizer step: the one normalizer.
    """
    return -token_log_probs(logits_SV, targets_S)


def token_log_probs(logits_SV: Tensor, targets_S: Tensor) -> Tensor:
    """log p(target) of each token, in nats: [S]."""
    return log_probs(logits_SV).gather(1, targets_S[:, None])[:, 0]


def reverse_kl(student_logits_SV: Tensor, teacher_logits_SV: Tensor) -> Tensor:
    """KL(student || teacher) of each place's distribution, in nats: [S].

    The sum over the vocabulary of p_student (log p_student - log p_teacher). On tokens that the student drew it is
    the loss of on-policy distillation (Agarwal et al. 2023, Gu et al. 2023). Where the student gives a token no
    probability at all, that token adds nothing.
    """
    student_SV, teacher_SV = log_probs(student_logits_SV), log_probs(teacher_logits_SV)
    is_possible_SV = student_SV > -torch.inf
    student_SV = student_SV.where(is_possible_SV, 0.0)
    teacher_SV = teacher_SV.where(is_possible_SV, 0.0)
    return (student_SV.exp() * (student_SV - teacher_SV) * is_possible_SV).sum(1)


def log_probs(logits_SV: Tensor) -> Tensor:
    """The logarithm of each token's probability: [S, V], in float32 or finer."""
    return logits_SV.log_softmax(-1, dtype=torch.promote_types(logits_SV.dtype, torch.float32))
