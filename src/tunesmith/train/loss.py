"""Losses and what they are made of: pure functions of logits, targets and other models' logits.

All are computed in float32, or in the logits' format where that is finer.

Shapes: T tokens of a row, S supervised tokens of it, V vocabulary.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tunesmith.branches import PlaceArray, predictors
from tunesmith.errors import TrainError
from tunesmith.train.config import LossConfig
from tunesmith.train.kernels.functions import cross_entropy
from tunesmith.train.kernels.native import Native
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


class TokenLosses(NamedTuple):
    """The losses of tokens, before their weights."""

    trained_S: Tensor
    """What training makes smaller, in nats: [S]."""

    plain_S: Tensor
    """-log p(target), in nats, which compares across all settings; detached [S]."""


def token_losses(logits_SV: Tensor, targets_S: Tensor, config: LossConfig, native: Native | None = None) -> TokenLosses:
    """The loss of each token. The caller weighs, sums, and divides by the total weight of the whole optimizer step:
    the one normalizer.

    Cross-entropy is -log p(target); label smoothing (Szegedy et al. 2015) mixes in the mean of -log p over the
    vocabulary, as torch's cross_entropy does. Dynamic fine-tuning (Wu et al. 2025) multiplies each token's loss by
    its own probability, through which no gradient flows. The z-loss (Chowdhery et al. 2022) adds the squared
    logarithm of the softmax's denominator. `native` computes plain cross-entropy of bfloat16 logits, if given.
    """
    if native is not None and not config.differs and logits_SV.dtype == torch.bfloat16:
        losses_S = cross_entropy(native, logits_SV, targets_S)
        return TokenLosses(losses_S, losses_S.detach())
    log_probs_SV = log_probs(logits_SV)
    picked_S = _picked(log_probs_SV, targets_S)
    trained_S = -picked_S
    if config.label_smoothing > 0:
        smooth_S = -log_probs_SV.mean(1)
        trained_S = (1 - config.label_smoothing) * trained_S + config.label_smoothing * smooth_S
    if config.kind == "dft":
        trained_S = trained_S * picked_S.detach().exp()
    if config.z_loss > 0:
        denominator_S = _picked(logits_SV, targets_S).to(picked_S.dtype) - picked_S
        trained_S = trained_S + config.z_loss * denominator_S.square()
    return TokenLosses(trained_S, -picked_S.detach())


def token_log_probs(logits_SV: Tensor, targets_S: Tensor) -> Tensor:
    """log p(target) of each token, in nats: [S]."""
    return _picked(log_probs(logits_SV), targets_S)


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


def _picked(values_SV: Tensor, targets_S: Tensor) -> Tensor:
    return values_SV.gather(1, targets_S[:, None])[:, 0]
