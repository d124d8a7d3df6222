"""The loss of pairs of answers: pure functions of log-probabilities, one number for each pair.

Shapes: P pairs.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tunesmith.train.objective_config import ObjectiveConfig


class Pairs(NamedTuple):
    """What a loss may know of pairs: log p of whole answers, in nats, their lengths, and the same under the reference.

    All [P]. Where loss weights are not 1 they weigh the tokens in sums and lengths alike. The reference's are 0 where
    there is none.
    """

    chosen_P: Tensor
    rejected_P: Tensor
    chosen_tokens_P: Tensor
    rejected_tokens_P: Tensor
    reference_chosen_P: Tensor
    reference_rejected_P: Tensor

    @property
    def chosen_mean_P(self) -> Tensor:
        return self.chosen_P / self.chosen_tokens_P

    @property
    def rejected_mean_P(self) -> Tensor:
        return self.rejected_P / self.rejected_tokens_P


def pair_losses(pairs: Pairs, config: ObjectiveConfig) -> Tensor:
    """The loss of each pair, as the objective says: [P]."""
    smoothing = config.preference.label_smoothing
    if config.kind == "dpo":
        losses_P = dpo(pairs, config.beta, smoothing)
    elif config.kind == "ipo":
        losses_P = ipo(pairs, config.beta)
    elif config.kind == "simpo":
        losses_P = simpo(pairs, config.beta, config.margin, smoothing)
    else:
        losses_P = orpo(pairs, config.beta)
    return losses_P - config.chosen_weight * pairs.chosen_mean_P


def rewards(pairs: Pairs, config: ObjectiveConfig) -> tuple[Tensor, Tensor]:
    """What the objective takes for the reward of the chosen and of the rejected answer: [P] each."""
    chosen_P = config.beta * (pairs.chosen_P - pairs.reference_chosen_P)
    rejected_P = config.beta * (pairs.rejected_P - pairs.reference_rejected_P)
    if config.kind == "dpo":
        return chosen_P, rejected_P
    return chosen_P / pairs.chosen_tokens_P, rejected_P / pairs.rejected_tokens_P


def dpo(pairs: Pairs, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """Direct preference optimization (Rafailov et al. 2023), conservative with label smoothing (Mitchell 2023): [P].

    -log sigmoid(beta h), h being how much more than the reference the model prefers the chosen answer.
    """
    gains_P = (pairs.chosen_P - pairs.rejected_P) - (pairs.reference_chosen_P - pairs.reference_rejected_P)
    return _smoothed(beta * gains_P, label_smoothing)


def ipo(pairs: Pairs, beta: float) -> Tensor:
    """Identity preference optimization (Azar et al. 2023): [P].

    (h - 1 / (2 beta))^2, with the log-probabilities of answers taken as means over their tokens, as its authors advise.
    """
    gains_P = (pairs.chosen_P - pairs.reference_chosen_P) / pairs.chosen_tokens_P
    gains_P = gains_P - (pairs.rejected_P - pairs.reference_rejected_P) / pairs.rejected_tokens_P
    return (gains_P - 1 / (2 * beta)).square()


def simpo(pairs: Pairs, beta: float, margin: float, label_smoothing: float = 0.0) -> Tensor:
    """Simple preference optimization (Meng et al. 2024): [P].

    -log sigmoid(beta (mean log p chosen - mean log p rejected) - margin); no reference.
    """
    return _smoothed(beta * (pairs.chosen_mean_P - pairs.rejected_mean_P) - margin, label_smoothing)


def orpo(pairs: Pairs, beta: float) -> Tensor:
    """The odds-ratio term of ORPO (Hong et al. 2024): [P].

    -beta log sigmoid(log odds chosen - log odds rejected), odds = p / (1 - p) of the mean probability of a token.
    """
    return -beta * F.logsigmoid(_log_odds(pairs.chosen_mean_P) - _log_odds(pairs.rejected_mean_P))


def _smoothed(logits_P: Tensor, label_smoothing: float) -> Tensor:
    return -(1 - label_smoothing) * F.logsigmoid(logits_P) - label_smoothing * F.logsigmoid(-logits_P)


def _log_odds(log_p_P: Tensor) -> Tensor:
    """log(p / (1 - p)). A probability of 1 to the last digit has finite odds, so that a certain model stays finite."""
    tiny = torch.finfo(log_p_P.dtype).eps
    return log_p_P - torch.log(-torch.expm1(log_p_P.clamp(max=-tiny)))
