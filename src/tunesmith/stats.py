"""Paired tests, intervals and sample sizes: what the gate decides with.

Pure functions on counts and arrays. Intervals are two-sided at `confidence`; p-values, sample sizes and
margins are one-sided. `lost` counts the items right before and wrong after, `gained` the reverse, `n` all
items, and every difference is after minus before, as a share of the items.
"""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

NORMAL = NormalDist()
FEW_CHANGES = 10  # fewer changed items than this, and their spread says nothing about the changes unseen
Interval = tuple[float, float]


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Score interval of one proportion. Source: Wilson (1927), JASA 22:209-212."""
    z = NORMAL.inv_cdf((1 + confidence) / 2)
    rate, scale = successes / n, 1 + z * z / n
    center = (rate + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, center - half)
    return low, 1.0 if successes == n else min(1.0, center + half)


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Student's t interval of a mean; needs two values or more."""
    data = np.asarray(values, dtype=np.float64)
    half = t_quantile((1 + confidence) / 2, data.size - 1) * _standard_error(data)
    return float(data.mean() - half), float(data.mean() + half)


def mcnemar_mid_p(lost: int, gained: int) -> float:
    """One-sided p-value for "got worse": P(X > lost) + P(X = lost) / 2 with X ~ Binomial(lost + gained, 1/2).

    The mid-p version keeps its level and is less shy than the exact test. Source: Fagerland, Lydersen and
    Laake (2013), BMC Medical Research Methodology 13:91.
    """
    flips = lost + gained
    if flips == 0:
        return 1.0
    steps = np.arange(1, flips + 1)
    log_chances = np.concatenate(([0.0], np.cumsum(np.log((flips - steps + 1) / steps))))
    chances = np.exp(log_chances - flips * math.log(2))
    return min(1.0, float(chances[lost + 1 :].sum() + chances[lost] / 2))


def mcnemar_mid_p_gain(lost: int, gained: int) -> float:
    """One-sided p-value for "got better", the mirror of `mcnemar_mid_p`."""
    return mcnemar_mid_p(gained, lost)


def tango_z(lost: int, gained: int, n: int, delta0: float) -> float:
    """Score statistic of the hypothesis that the paired difference of proportions equals `delta0`.

    Standard normal under the hypothesis; large when the difference lies above `delta0`. Source: Tango
    (1998), Statistics in Medicine 17:891-908, with the closed form of the restricted estimate of the chance
    to be lost.
    """
    a = 2 * n
    b = -(lost + gained) + (2 * n - gained + lost) * delta0
    c = -lost * delta0 * (1 - delta0)
    share_lost = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * share_lost + delta0 * (1 - delta0))
    distance = gained - lost - n * delta0
    if variance <= 1e-12 * n:
        return 0.0 if abs(distance) < 1e-9 * n else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def tango_interval(lost: int, gained: int, n: int, confidence: float = 0.95) -> Interval:
    """Two-sided score interval of the paired difference, from inverting `tango_z` by bisection."""
    z = NORMAL.inv_cdf((1 + confidence) / 2)
    center = (gained - lost) / n
    low = _bisect(lambda delta: tango_z(lost, gained, n, delta) < z, -1.0, center)
    high = _bisect(lambda delta: tango_z(lost, gained, n, delta) < -z, center, 1.0)
    return low, high


def paired_interval(lost: int, gained: int, n: int, confidence: float = 0.95) -> Interval:
    """Tango's interval, held back where an approximation would say more than a few flips can carry.

    Zero leaves the interval only when the mid-p test shows a difference. When all flips go one way, the far
    bound is at least as wide as the exact binomial one (Clopper and Pearson 1934; without any flip the
    "rule of three"), because there the score interval misses its level: 6.8 % instead of 5 % at zero flips.
    """
    alpha = (1 - confidence) / 2
    low, high = tango_interval(lost, gained, n, confidence)
    if mcnemar_mid_p_gain(lost, gained) >= alpha:
        low = min(low, 0.0)
    if mcnemar_mid_p(lost, gained) >= alpha:
        high = max(high, 0.0)
    if gained == 0:
        low = min(low, -binomial_upper(lost, n, 1 - alpha))
    if lost == 0:
        high = max(high, binomial_upper(gained, n, 1 - alpha))
    return low, high


def binomial_upper(successes: int, n: int, confidence: float = 0.95) -> float:
    """Exact one-sided upper bound of a proportion. Source: Clopper and Pearson (1934), Biometrika 26:404."""
    if successes == n:
        return 1.0
    alpha = 1 - confidence
    if successes == 0:
        return 1 - float(alpha ** (1 / n))
    return _bisect(lambda p: beta_cdf(n - successes, successes + 1, 1 - p) < alpha, successes / n, 1.0)


def paired_t_p(differences: ArrayLike) -> float:
    """One-sided p-value of the paired t test for "got worse" (a mean difference below zero)."""
    data = np.asarray(differences, dtype=np.float64)
    mean, error = float(data.mean()), _standard_error(data)
    if error == 0:
        return 1.0 if mean == 0 else float(mean > 0)
    return t_cdf(mean / error, data.size - 1)


def paired_bootstrap(
    differences: ArrayLike, confidence: float = 0.95, *, num_resamples: int = 4000, seed: int = 0
) -> Interval:
    """Studentized bootstrap interval of a mean difference: it follows skewed data where t does not.

    The same data and seed give the same interval. Source: Efron and Tibshirani (1993), chapter 12.5.
    """
    data = np.asarray(differences, dtype=np.float64)
    mean, error = float(data.mean()), _standard_error(data)
    drawn = data[np.random.default_rng(seed).integers(0, data.size, (num_resamples, data.size))]
    errors = drawn.std(axis=1, ddof=1) / math.sqrt(data.size)
    usable = errors > 1e-12 * max(error, 1e-300)
    if error == 0 or not usable.any():
        return mean, mean
    ratios = (drawn.mean(axis=1)[usable] - mean) / errors[usable]
    lower, upper = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return mean - float(upper) * error, mean - float(lower) * error


def paired_mean_interval(
    differences: ArrayLike, confidence: float = 0.95, *, span: float = 0.0, seed: int = 0
) -> Interval:
    """Interval of a mean difference of continuous scores; needs two items or more.

    From 100 items on the t interval; below, the wider of t and studentized bootstrap on each side. `span`
    is the range of the scores: where fewer than FEW_CHANGES items changed at all, the interval also allows
    for a change of that size in the share of items that may have gone unseen (rule of three).
    """
    data = np.asarray(differences, dtype=np.float64)
    low, high = mean_interval(data, confidence)
    if data.size < 100:
        other_low, other_high = paired_bootstrap(data, confidence, seed=seed)
        low, high = min(low, other_low), max(high, other_high)
    if np.count_nonzero(data) < FEW_CHANGES:
        unseen = binomial_upper(0, data.size, (1 + confidence) / 2) * span
        low, high = min(low, float(data.mean()) - unseen), max(high, float(data.mean()) + unseen)
    return low, high


def items_needed(
    variance: float, distance: float, confidence: float = 0.95, *, power: float = 0.8, span: float = 1.0
) -> int | None:
    """How many items tell a difference from a boundary that lies `distance` away; None when it lies at it.

    n = (z_confidence + z_power)^2 * variance / distance^2, one-sided: the usual sample size of a
    superiority or non-inferiority test. `variance` is that of one item's difference; for pass or fail
    scores it is discordance - difference^2, where discordance is the share of flipped items. Never fewer
    than the rule of three asks for: without flips, n items rule out a rate of 1 - (1 - confidence)^(1/n).
    `span` is how far one item may change; 0.0 leaves that rule out, where most items change a little anyway.
    """
    if distance < 1e-12:  # at the boundary, but for rounding
        return None
    z = NORMAL.inv_cdf(confidence) + NORMAL.inv_cdf(power)
    unseen = math.log(1 - confidence) / math.log1p(-distance / span) if distance < span else 1.0
    return max(math.ceil(z * z * max(variance, 0.0) / distance**2), math.ceil(unseen))


def smallest_provable_margin(discordance: float, n: int, confidence: float = 0.95, *, power: float = 0.8) -> float:
    """The smallest loss that `n` items can rule out with this power when nothing was lost: `items_needed`
    solved for the distance. `discordance` is the share of flipped items; the result is a share of the items
    too."""
    z = NORMAL.inv_cdf(confidence) + NORMAL.inv_cdf(power)
    return min(1.0, max(z * math.sqrt(discordance / n), binomial_upper(0, n, confidence)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that keep the chance of any false alarm. Source: Holm (1979), Scand. J. Stat.
    6:65."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def t_cdf(value: float, degrees: float) -> float:
    """Distribution function of Student's t."""
    tail = beta_cdf(degrees / 2, 0.5, degrees / (degrees + value * value)) / 2
    return tail if value < 0 else 1 - tail


def t_quantile(probability: float, degrees: float) -> float:
    """Inverse of `t_cdf`, by bisection."""
    if probability < 0.5:
        return -t_quantile(1 - probability, degrees)
    high = 1.0
    while t_cdf(high, degrees) < probability:
        high *= 2
    return _bisect(lambda value: t_cdf(value, degrees) >= probability, 0.0, high)


def beta_cdf(a: float, b: float, x: float) -> float:
    """Regularized incomplete beta function I_x(a, b). Source: DLMF 8.17.22, its continued fraction."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(b, a, 1 - x)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) * _beta_fraction(a, b, x) / a


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, by the modified Lentz method."""
    tiny = 1e-300
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1), tiny)
    result = d
    for m in range(1, 100_000):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away_from_zero(1 + numerator * d, tiny)
            c = _away_from_zero(1 + numerator / c, tiny)
            result *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return result


def _away_from_zero(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny


def _standard_error(data: NDArray[np.float64]) -> float:
    return float(data.std(ddof=1)) / math.sqrt(data.size)


def _bisect(is_above: Callable[[float], bool], low: float, high: float) -> float:
    """Where a condition that is false at the left and true at the right begins to hold."""
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (low, middle) if is_above(middle) else (middle, high)
    return (low + high) / 2
