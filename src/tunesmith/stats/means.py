"""Means and mean differences of scores that are more than right or wrong; clusters as `clusters.cluster_codes`."""

import math

import numpy as np
from numpy.typing import ArrayLike

from tunesmith.stats.clusters import Codes, cluster_sums, degrees_of_freedom, standard_error
from tunesmith.stats.distributions import Interval, binomial_upper, t_cdf, t_quantile

FEW_CHANGES = 10  # fewer changed items than this, and their spread says nothing about the changes unseen
MANY_ITEMS = 100  # from here on Student's t follows any usual skew


def mean_interval(values: ArrayLike, confidence: float = 0.95, codes: Codes | None = None) -> Interval:
    """Student's t interval of a mean, with C - 1 degrees of freedom for C clusters; needs two values or more."""
    data = np.asarray(values, dtype=np.float64)
    half = t_quantile((1 + confidence) / 2, degrees_of_freedom(data.size, codes)) * standard_error(data, codes)
    return float(data.mean() - half), float(data.mean() + half)


def paired_t_p(differences: ArrayLike, codes: Codes | None = None) -> float:
    """One-sided p-value of the paired t test for "got worse" (a mean difference below zero)."""
    data = np.asarray(differences, dtype=np.float64)
    mean, error = float(data.mean()), standard_error(data, codes)
    if error == 0:
        return 1.0 if mean == 0 else float(mean > 0)
    return t_cdf(mean / error, degrees_of_freedom(data.size, codes))


def paired_bootstrap(
    differences: ArrayLike,
    confidence: float = 0.95,
    codes: Codes | None = None,
    *,
    num_resamples: int = 4000,
    seed: int = 0,
) -> Interval:
    """Studentized bootstrap interval of a mean difference: it follows skewed data where t does not.

    Whole clusters are drawn, where there are some. The same data and seed give the same interval. Source: Efron and
    Tibshirani (1993), chapter 12.5; clusters: Cameron, Gelbach and Miller (2008), Rev. Econ. Stat. 90:414-427.
    """
    data = np.asarray(differences, dtype=np.float64)
    sums = data if codes is None else cluster_sums(data, codes)
    sizes = np.ones_like(data) if codes is None else np.bincount(codes).astype(np.float64)
    mean, error = float(data.mean()), standard_error(data, codes)
    drawn = np.random.default_rng(seed).integers(0, sums.size, (num_resamples, sums.size))
    totals, counts = sums[drawn], sizes[drawn]
    means = totals.sum(axis=1) / counts.sum(axis=1)
    residuals = ((totals - means[:, None] * counts) ** 2).sum(axis=1)
    errors = np.sqrt(residuals * sums.size / (sums.size - 1)) / counts.sum(axis=1)
    usable = errors > 1e-12 * max(error, 1e-300)
    if error == 0 or not usable.any():
        return mean, mean
    ratios = (means[usable] - mean) / errors[usable]
    lower, upper = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return mean - float(upper) * error, mean - float(lower) * error


def paired_mean_interval(
    differences: ArrayLike, confidence: float = 0.95, codes: Codes | None = None, *, span: float = 0.0, seed: int = 0
) -> Interval:
    """Interval of a mean difference of continuous scores; needs two items or more.

    From 100 items (or clusters) on the t interval; below, the wider of t and studentized bootstrap on each side.
    `span` is the range of the scores: where fewer than FEW_CHANGES items (or clusters) changed at all, the interval
    also allows for a change of that size in the share that may have gone unseen (rule of three).
    """
    data = np.asarray(differences, dtype=np.float64)
    low, high = mean_interval(data, confidence, codes)
    num_units = degrees_of_freedom(data.size, codes) + 1
    if num_units < MANY_ITEMS:
        other_low, other_high = paired_bootstrap(data, confidence, codes, seed=seed)
        low, high = min(low, other_low), max(high, other_high)
    if num_changed(data, codes) < FEW_CHANGES:
        unseen = binomial_upper(0, num_units, (1 + confidence) / 2) * span
        low, high = min(low, float(data.mean()) - unseen), max(high, float(data.mean()) + unseen)
    return low, high


def num_changed(differences: ArrayLike, codes: Codes | None = None) -> int:
    """How many items, or clusters, hold a difference at all."""
    changed = np.asarray(differences) != 0
    return int(np.count_nonzero(changed if codes is None else cluster_sums(changed, codes)))


def widened(interval: Interval, center: float, extra: float) -> Interval:
    """An interval with an independent error of half-width `extra` added in quadrature on both sides."""
    return center - math.hypot(center - interval[0], extra), center + math.hypot(interval[1] - center, extra)
