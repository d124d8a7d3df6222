"""A cheap judge held against a dear one: how far they agree, and the mean that both together give.

The judge's mean over many items is precise and may be biased; the people's over few is unbiased and imprecise.
Prediction-powered inference takes the judge's mean and corrects it by what people say on the items that both judged.
It needs those items to be a random part of all.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tunesmith.stats.distributions import binomial_upper, t_quantile
from tunesmith.stats.means import FEW_CHANGES
from tunesmith.stats.newton import Array


class Corrected(NamedTuple):
    """A mean of people's labels, with its bounds. `trust` is the weight of the judge: 0 leaves it out, 1 is full."""

    mean: float
    low: float
    high: float
    trust: float


class Agreement(NamedTuple):
    """Of `num_items` that both judged: the share with the same label, and Cohen's kappa, which is 1 for perfect
    agreement and 0 for what chance would give; not a number where both gave one single label."""

    num_items: int
    share: float
    kappa: float


def prediction_powered_mean(
    human: ArrayLike,
    judged: ArrayLike,
    judged_only: ArrayLike,
    confidence: float = 0.95,
    *,
    trust: float | None = None,
    span: float = 1.0,
) -> Corrected:
    """The mean of the human label over all items: `human` and `judged` on the n labeled ones, `judged_only` on the N
    others.

    mean = trust * mean(judged_only) + mean(human - trust * judged), with variance
    trust^2 * var(judged_only) / N + var(human - trust * judged) / n. Source: Angelopoulos et al. (2023), Science
    382:669-674 (trust 1). Where `trust` is None it is the one of least variance,
    cov(human, judged) / ((1 + n / N) * var(judged)) within [0, 1], so that a bad judge does no harm: PPI++,
    Angelopoulos, Duchi and Zrnic (2023), arXiv:2311.01453. Bounds are by Student's t with n - 1 degrees; where the two
    differ on fewer than FEW_CHANGES items they also allow for a difference of `span` that went unseen (rule of
    three). Needs two labeled items.
    """
    labels, same, others = (np.asarray(each, dtype=np.float64) for each in (human, judged, judged_only))
    if labels.size < 2 or labels.size != same.size:
        raise ValueError(f"two labels or more, each with the judge's; here are {labels.size} and {same.size}")
    weight = _best_trust(labels, same, others) if trust is None else trust
    rest = labels - weight * same
    mean, variance = float(rest.mean()), float(rest.var(ddof=1)) / labels.size
    if others.size and weight:
        mean += weight * float(others.mean())
        variance += weight**2 * float(others.var(ddof=min(1, others.size - 1))) / others.size
    elif weight:
        mean, variance = float(labels.mean()), float(labels.var(ddof=1)) / labels.size
    half = t_quantile((1 + confidence) / 2, labels.size - 1) * math.sqrt(variance)
    compared = same if weight else np.full_like(labels, np.median(labels))
    if np.count_nonzero(labels != compared) < FEW_CHANGES:
        half = max(half, binomial_upper(0, labels.size, (1 + confidence) / 2) * span)
    return Corrected(mean, mean - half, mean + half, weight if others.size else 0.0)


def _best_trust(labels: Array, same: Array, others: Array) -> float:
    if not others.size:
        return 0.0
    variance = float(np.concatenate([same, others]).var(ddof=1))
    if variance == 0:
        return 0.0
    shared = float(np.cov(labels, same, ddof=1)[0, 1])
    return min(max(shared / ((1 + labels.size / others.size) * variance), 0.0), 1.0)


def agreement(first: Sequence[str], second: Sequence[str]) -> Agreement:
    """How far two judges agree on the same items. Source: Cohen (1960), Educ. Psychol. Meas. 20:37-46."""
    if not first or len(first) != len(second):
        raise ValueError(f"one label each of the same items; here are {len(first)} and {len(second)}")
    share = sum(one == other for one, other in zip(first, second, strict=True)) / len(first)
    chance = sum(first.count(label) * second.count(label) for label in set(first)) / len(first) ** 2
    return Agreement(len(first), share, (share - chance) / (1 - chance) if chance < 1 else float("nan"))
