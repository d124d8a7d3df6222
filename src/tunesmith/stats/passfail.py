"""Items that are right or wrong, of one model or before and after: intervals and one-sided tests.

`lost` counts the items right before and wrong after, `gained` the reverse, `n` all items; every difference is after
minus before, as a share of the items. Counts need not be whole: those of clustered items are effective counts, see
`tunesmith.stats.clusters`.
"""

import math

from tunesmith.stats.distributions import NORMAL, Interval, beta_cdf, binomial_upper, bisect


def wilson_interval(successes: float, n: float, confidence: float = 0.95) -> Interval:
    """Score interval of one proportion. Source: Wilson (1927), JASA 22:209-212."""
    z = NORMAL.inv_cdf((1 + confidence) / 2)
    rate, scale = successes / n, 1 + z * z / n
    center = (rate + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, center - half)
    return low, 1.0 if successes == n else min(1.0, center + half)


def mcnemar_mid_p(lost: float, gained: float) -> float:
    """One-sided p-value for "got worse": P(X > lost) + P(X = lost) / 2 with X ~ Binomial(lost + gained, 1/2).

    The mid-p version keeps its level and is less shy than the exact test. Source: Fagerland, Lydersen and
    Laake (2013), BMC Medical Research Methodology 13:91. Tails are read from the incomplete beta function, which
    goes on smoothly between whole counts: P(X >= lost) = I_1/2(lost, gained + 1).
    """
    if lost + gained == 0:
        return 1.0
    more = beta_cdf(lost + 1, gained, 0.5) if gained else 0.0
    as_many = beta_cdf(lost, gained + 1, 0.5) if lost else 1.0
    return (more + as_many) / 2


def mcnemar_mid_p_gain(lost: float, gained: float) -> float:
    """One-sided p-value for "got better", the mirror of `mcnemar_mid_p`."""
    return mcnemar_mid_p(gained, lost)


def tango_z(lost: float, gained: float, n: float, delta0: float) -> float:
    """Score statistic of the hypothesis that the paired difference of proportions equals `delta0`.

    Standard normal under the hypothesis; large when the difference lies above `delta0`. Source: Tango
    (1998), Statistics in Medicine 17:891-908, with the closed form of the restricted estimate of the chance
    to be lost.
    """
    variance = n * restricted_variance(lost / n, gained / n, delta0)
    distance = gained - lost - n * delta0
    if variance <= 1e-12 * n:
        return 0.0 if abs(distance) < 1e-9 * n else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def restricted_variance(lost: float, gained: float, delta0: float) -> float:
    """The variance of one item's difference if the true difference is `delta0`, from shares lost and gained: Tango's
    restricted maximum likelihood estimate."""
    b = -(lost + gained) + (2 - gained + lost) * delta0
    c = -lost * delta0 * (1 - delta0)
    share_lost = (math.sqrt(max(b * b - 8 * c, 0.0)) - b) / 4
    return 2 * share_lost + delta0 * (1 - delta0)


def tango_interval(lost: float, gained: float, n: float, confidence: float = 0.95) -> Interval:
    """Two-sided score interval of the paired difference, from inverting `tango_z` by bisection."""
    z = NORMAL.inv_cdf((1 + confidence) / 2)
    center = (gained - lost) / n
    low = bisect(lambda delta: tango_z(lost, gained, n, delta) < z, -1.0, center)
    high = bisect(lambda delta: tango_z(lost, gained, n, delta) < -z, center, 1.0)
    return low, high


def paired_interval(lost: float, gained: float, n: float, confidence: float = 0.95) -> Interval:
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
