"""How often one model's answer is preferred to another's: raw, and with the judge's taste for length taken out."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tunesmith.stats.distributions import Interval
from tunesmith.stats.newton import PRECISION, Array, maximize, resampled_counts
from tunesmith.stats.passfail import paired_interval


class LengthControlled(NamedTuple):
    """The win rate at equal lengths and in no place, with its bounds.

    `length_effect` is by how much the log-odds of winning grow when an answer is much longer instead of as long;
    `place_effect` by how much when it is shown first instead of second.
    """

    value: float
    low: float
    high: float
    length_effect: float
    place_effect: float


def win_rate(values: ArrayLike) -> float:
    """The mean of items won (1), lost (0) and tied (0.5)."""
    return float(np.mean(np.asarray(values, dtype=np.float64)))


def win_rate_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Interval of a win rate over independent items won (1), lost (0) or tied (0.5).

    The win rate is 1/2 + (won - lost) / (2 * items): the paired difference of `passfail.paired_interval`, so it
    stays honest where few items are decided.
    """
    data = np.asarray(values, dtype=np.float64)
    won, lost = int((data == 1).sum()), int((data == 0).sum())
    if won + lost + int((data == 0.5).sum()) != data.size:
        raise ValueError("an item is won (1), lost (0) or tied (0.5)")
    low, high = paired_interval(lost, won, data.size, confidence)
    return 0.5 + low / 2, 0.5 + high / 2


def length_controlled(
    wins: ArrayLike,
    length_differences: ArrayLike,
    is_first: ArrayLike,
    items: ArrayLike,
    confidence: float = 0.95,
    *,
    num_resamples: int = 1000,
    seed: int = 0,
) -> LengthControlled:
    """The win rate that a logistic model gives for answers of equal length; one row a vote.

    logit P(win) = theta + phi * tanh(length difference / its standard deviation) + psi * place, place being +1/2 where
    the model's answer was shown first and -1/2 where second; the result is sigmoid(theta). `wins` are 1, 0 or 0.5, and
    `items` numbers (from 0) the item of each row, which is drawn anew as a whole for the percentile interval. After
    Dubois et al. (2024), Length-Controlled AlpacaEval, arXiv:2404.04475, without their term for the difficulty of an
    instruction, which is known only for public sets, and with a ridge (`newton.PRECISION`) in place of the lasso.
    """
    labels, codes = np.asarray(wins, dtype=np.float64), np.asarray(items, dtype=np.intp)
    features = _features(np.asarray(length_differences, dtype=np.float64), np.asarray(is_first, dtype=bool))
    fitted = logistic(features, labels, np.ones(labels.size), np.zeros(3))
    drawn = [
        logistic(features, labels, times[codes], fitted)[0]
        for times in resampled_counts(int(codes.max()) + 1, num_resamples, seed)
    ]
    value = _sigmoid(float(fitted[0]))
    bounds = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = (_sigmoid(float(bound)) for bound in bounds)
    # Where all items go one way, drawing them anew shows no variation at all.
    raw, (raw_low, raw_high) = _of_items(labels, codes, confidence)
    low, high = min(low, value - (raw - raw_low)), max(high, value + (raw_high - raw))
    return LengthControlled(value, max(low, 0.0), min(high, 1.0), float(fitted[1]), float(fitted[2]))


def _of_items(labels: Array, codes: np.ndarray, confidence: float) -> tuple[float, Interval]:
    """The raw win rate of items, of which one that is not won or lost in all its votes is tied."""
    means = np.bincount(codes, weights=labels) / np.maximum(np.bincount(codes), 1)
    values = np.where(means == 1, 1.0, np.where(means == 0, 0.0, 0.5))
    return win_rate(values), win_rate_interval(values, confidence)


def _features(differences: Array, is_first: np.ndarray) -> Array:
    scale = float(differences.std()) or 1.0
    return np.column_stack([np.ones(differences.size), np.tanh(differences / scale), np.where(is_first, 0.5, -0.5)])


def logistic(features: Array, labels: Array, weights: Array, start: Array) -> Array:
    """Coefficients of a logistic regression with a ridge on all of them; labels lie in [0, 1]."""

    def objective(point: Array) -> tuple[float, Array, Array]:
        logits = features @ point
        chances = 1 / (1 + np.exp(-np.clip(logits, -700, 700)))
        value = float(weights @ (labels * logits - np.logaddexp(0, logits)))
        gradient = features.T @ (weights * (labels - chances)) - PRECISION * point
        curvature = (features.T * (weights * chances * (1 - chances))) @ features + PRECISION * np.eye(point.size)
        return value - PRECISION / 2 * float(point @ point), gradient, curvature

    return maximize(objective, start)


def _sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))
