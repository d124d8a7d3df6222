"""Student's t, the incomplete beta function and exact binomial bounds, on numpy's and Python's own functions."""

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

NORMAL = NormalDist()
Interval = tuple[float, float]


def t_cdf(value: float, degrees: float) -> float:
    """Distribution function of Student's t."""
    if math.isinf(value):
        return float(value > 0)
    tail = beta_cdf(degrees / 2, 0.5, degrees / (degrees + value * value)) / 2
    return tail if value < 0 else 1 - tail


@lru_cache(maxsize=1024)
def t_quantile(probability: float, degrees: float) -> float:
    """Inverse of `t_cdf`, by bisection."""
    if probability < 0.5:
        return -t_quantile(1 - probability, degrees)
    high = 1.0
    while t_cdf(high, degrees) < probability:
        high *= 2
    return bisect(lambda value: t_cdf(value, degrees) >= probability, 0.0, high)


def binomial_upper(successes: float, n: float, confidence: float = 0.95) -> float:
    """Exact one-sided upper bound of a proportion. Source: Clopper and Pearson (1934), Biometrika 26:404.

    Counts need not be whole: those of clustered items are divided by their design effect.
    """
    if successes >= n:
        return 1.0
    alpha = 1 - confidence
    if successes == 0:
        return 1 - float(alpha ** (1 / n))
    return bisect(lambda p: beta_cdf(n - successes, successes + 1, 1 - p) < alpha, successes / n, 1.0)


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


def bisect(is_above: Callable[[float], bool], low: float, high: float) -> float:
    """Where a condition that is false at the left and true at the right begins to hold."""
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (low, middle) if is_above(middle) else (middle, high)
    return (low + high) / 2
