"""Strengths of several models from votes on pairs of their answers.

Each model has a strength in log-odds. Without ties, the chance that i beats j is e^si / (e^si + e^sj): Bradley and
Terry (1952), Biometrika 39:324-345. With ties a third weight stands beside the two, e^(t + (si + sj) / 2): Davidson
(1970), JASA 65:317-328. Both are fitted by Newton's method with the ridge of `newton.PRECISION`; strengths are given
around their mean.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tunesmith.stats.newton import PRECISION, Array, maximize, resampled_counts


class Strengths(NamedTuple):
    """Fitted strengths, mean zero, in log-odds; `tie` is Davidson's t, None where there is no tie."""

    values: Array
    tie: float | None

    def chances(self, first: int, second: int) -> tuple[float, float, float]:
        """The chances that the first wins, that the second wins, and of a tie."""
        one, other = float(self.values[first]), float(self.values[second])
        weights = np.exp([one, other, -np.inf if self.tie is None else self.tie + (one + other) / 2])
        win, loss, tie = weights / weights.sum()
        return float(win), float(loss), float(tie)


class StrengthIntervals(NamedTuple):
    """Strengths, and the bounds of each at the confidence asked for."""

    fitted: Strengths
    low: Array
    high: Array


def bradley_terry(pairs: ArrayLike, counts: ArrayLike, num_models: int) -> Strengths:
    """Strengths from `pairs` (K, 2), indices of models, and `counts` (K, 3): first won, second won, tie.

    The pairs must connect all models, see `connected_groups`: what was never compared, even over others, has no order.
    """
    told = np.asarray(counts, dtype=np.float64)
    has_ties = bool(told[:, 2].any())
    design = _design(np.asarray(pairs, dtype=np.intp), num_models, has_ties)
    return _fit(design, told[:, : design.shape[1]], np.zeros(design.shape[2]), num_models)


def strength_intervals(
    pairs: ArrayLike,
    item_counts: ArrayLike,
    num_models: int,
    confidence: float = 0.95,
    *,
    num_resamples: int = 1000,
    seed: int = 0,
) -> StrengthIntervals:
    """The same with percentile intervals from drawing whole items anew; `item_counts` is (items, K, 3).

    All votes on one item go together: they share its prompt and its answers.
    """
    told = np.asarray(item_counts, dtype=np.float64)
    fitted = bradley_terry(pairs, told.sum(axis=0), num_models)
    design = _design(np.asarray(pairs, dtype=np.intp), num_models, fitted.tie is not None)
    start = fitted.values if fitted.tie is None else np.append(fitted.values, fitted.tie)
    flat = told.reshape(told.shape[0], -1)
    drawn = [
        _fit(design, (times @ flat).reshape(told.shape[1:])[:, : design.shape[1]], start, num_models).values
        for times in resampled_counts(told.shape[0], num_resamples, seed)
    ]
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return StrengthIntervals(fitted, np.minimum(low, fitted.values), np.maximum(high, fitted.values))


def _design(pairs: NDArray[np.intp], num_models: int, has_ties: bool) -> Array:
    """(K, outcomes, parameters): how the log-weight of each outcome is made of the strengths, and of t."""
    rows = np.arange(len(pairs))
    design = np.zeros((len(pairs), 2 + has_ties, num_models + has_ties))
    design[rows, 0, pairs[:, 0]] = 1
    design[rows, 1, pairs[:, 1]] = 1
    if has_ties:
        design[rows, 2, pairs[:, 0]] = design[rows, 2, pairs[:, 1]] = 0.5
        design[rows, 2, -1] = 1
    return design


def _fit(design: Array, counts: Array, start: Array, num_models: int) -> Strengths:
    totals = counts.sum(axis=1)

    def objective(point: Array) -> tuple[float, Array, Array]:
        logits = design @ point
        logits -= logits.max(axis=1, keepdims=True)
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        value = float((counts * (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))).sum())
        means = np.einsum("ko,kop->kp", shares, design)
        gradient = np.einsum("ko,kop->p", counts - totals[:, None] * shares, design) - PRECISION * point
        spread = np.einsum("ko,kop,koq->pq", totals[:, None] * shares, design, design)
        curvature = spread - np.einsum("k,kp,kq->pq", totals, means, means) + PRECISION * np.eye(point.size)
        return value - PRECISION / 2 * float(point @ point), gradient, curvature

    point = maximize(objective, start)
    values = point[:num_models]
    return Strengths(values - values.mean(), float(point[-1]) if point.size > num_models else None)


def connected_groups(pairs: ArrayLike, num_models: int) -> list[list[int]]:
    """The models in groups that votes connect; one group is what strengths need."""
    group = list(range(num_models))
    for first, second in np.asarray(pairs, dtype=np.intp).reshape(-1, 2):
        old, new = group[int(first)], group[int(second)]
        group = [new if each == old else each for each in group]
    return [[model for model in range(num_models) if group[model] == name] for name in dict.fromkeys(group)]
