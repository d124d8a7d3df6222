"""Several answers to each item: what they estimate, and how much of the variance more answers would remove.

Arrays are (items, samples); every item has equally many samples. Source: Miller (2024), arXiv:2411.00640.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Split(NamedTuple):
    """`between`: the variance of the items' true means. `within`: the mean variance of one answer around its item's
    true mean."""

    between: float
    within: float

    def error(self, num_items: int, num_samples: int) -> float:
        """Standard error of the overall mean: sqrt((between + within / samples) / items)."""
        return math.sqrt((self.between + self.within / num_samples) / num_items)


def variance_split(values: ArrayLike) -> Split:
    """Split the variance of (items, samples) values; needs two items and two samples, and is unbiased but for the
    cut of `between` at zero."""
    data = np.asarray(values, dtype=np.float64)
    within = float(data.var(axis=1, ddof=1).mean())
    between = float(data.mean(axis=1).var(ddof=1)) - within / data.shape[1]
    return Split(max(between, 0.0), within)


def pass_at_k(num_samples: int, num_right: int, k: int) -> float:
    """Unbiased chance that one of k answers is right: 1 - C(n - c, k) / C(n, k). Source: Chen et al. (2021),
    arXiv:2107.03374."""
    if not 1 <= k <= num_samples:
        raise ValueError(f"pass@{k} needs {k} samples an item or more; there are {num_samples}")
    return 1 - math.comb(num_samples - num_right, k) / math.comb(num_samples, k)
