"""Items that come in groups (variants of one question, questions on one document) carry less than their number.

A label groups items when it is shared by some of them and there are FEWEST_CLUSTERS groups or more. With fewer, the
groups are themes of a set ("animals", "sums"): their number is too small to say how much whole groups vary, and they
were chosen, not drawn; items are then taken as independent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tunesmith.stats.distributions import NORMAL, t_cdf, t_quantile

FEWEST_CLUSTERS = 20
Codes = NDArray[np.intp]


def cluster_codes(labels: Sequence[str] | None) -> Codes | None:
    """The labels numbered from 0, or None where items are independent as far as the labels say."""
    if labels is None:
        return None
    _, codes = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    num_clusters = int(codes.max()) + 1 if codes.size else 0
    return codes if FEWEST_CLUSTERS <= num_clusters < codes.size else None


def cluster_sums(values: ArrayLike, codes: Codes) -> NDArray[np.float64]:
    """The sum of the values of each cluster."""
    sums: NDArray[np.float64] = np.bincount(codes, weights=np.asarray(values, dtype=np.float64)).astype(np.float64)
    return sums


def standard_error(values: ArrayLike, codes: Codes | None = None) -> float:
    """Standard error of a mean; with `codes`, robust to dependence within clusters.

    SE = sqrt(C / (C - 1) * sum over clusters of (sum of residuals)^2) / n. Source: Miller (2024), Adding error bars
    to evals, arXiv:2411.00640, with the small-sample factor of Liang and Zeger (1986).
    """
    data = np.asarray(values, dtype=np.float64)
    if codes is None:
        return float(data.std(ddof=1)) / math.sqrt(data.size)
    sums = cluster_sums(data - data.mean(), codes)
    return math.sqrt(sums.size / (sums.size - 1) * float(sums @ sums)) / data.size


def degrees_of_freedom(num_items: int, codes: Codes | None) -> int:
    """Clusters less one; without clusters, items less one."""
    return num_items - 1 if codes is None else int(codes.max())


def cluster_size(codes: Codes) -> float:
    """The size of the cluster that a random item stands in: sum of squared sizes / number of items."""
    sizes = np.bincount(codes)
    return float(sizes @ sizes) / codes.size


def design_effect(differences: ArrayLike, codes: Codes | None) -> float:
    """By how much clusters swell the variance of a mean difference: 1 (not at all) to the size of a cluster.

    The ratio of the robust variance to that of independent items, both with one made-up cluster added that changed as
    a whole: few changes say little about whether clusters change together, and then the worst is assumed; with many
    the addition does not count. Without it the gate's false PASS rate at the boundary reached 31 % where whole
    clusters are lost and few are (`benchmarks/gate.py`).
    """
    if codes is None:
        return 1.0
    data = np.asarray(differences, dtype=np.float64)
    residuals = data - data.mean()
    size, unit = cluster_size(codes), float(np.abs(data).max())
    unit = unit or 1.0
    sums = cluster_sums(residuals, codes)
    robust = float(sums @ sums) * sums.size / (sums.size - 1) + (size * unit) ** 2
    plain = float(residuals @ residuals) + size * unit**2
    return min(max(robust / plain, 1.0), size)


@dataclass(frozen=True, slots=True)
class Flips:
    """Lost and gained of n items as counts of independent items: those of clusters are divided by their design effect.

    `degrees` are those of Student's t by which the design effect is uncertain; None where there are no clusters.
    """

    lost: float
    gained: float
    n: float
    degrees: int | None = None

    def confidence(self, asked: float) -> float:
        """The two-sided confidence to ask of a normal interval so that it holds with a design effect of few
        clusters."""
        if self.degrees is None:
            return asked
        return 2 * NORMAL.cdf(t_quantile((1 + asked) / 2, self.degrees)) - 1

    def p_value(self, p: float) -> float:
        """A one-sided p-value of a normal statistic, widened to Student's t."""
        if self.degrees is None or not 0 < p < 1:
            return p
        return 1 - t_cdf(-NORMAL.inv_cdf(p), self.degrees)


def flips(before: ArrayLike, after: ArrayLike, codes: Codes | None = None) -> Flips:
    """Count the flips of items scored 0 or 1 before and after.

    With clusters: Tango's and McNemar's tests on counts that are divided by the design effect (Rao and Scott 1992,
    Biometrics 48:577-585).
    """
    old, new = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    lost, gained = int((old > new).sum()), int((new > old).sum())
    if codes is None:
        return Flips(lost, gained, old.size)
    effect = design_effect(new - old, codes)
    return Flips(lost / effect, gained / effect, old.size / effect, degrees_of_freedom(old.size, codes))
