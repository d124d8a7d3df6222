"""Training noise: what another seed of the same recipe would have given.

A claim about one checkpoint needs none of this; a claim about a recipe adds the variance between its seeds.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tunesmith.stats.distributions import t_quantile


class SeedNoise(NamedTuple):
    """`variance` (tau^2) is that of the true mean difference from seed to seed, over `num_seeds` seeds."""

    variance: float
    num_seeds: int

    def half_width(self, confidence: float) -> float:
        """What it adds to each side of a two-sided interval: t with seeds - 1 degrees of freedom * sqrt(tau^2 /
        seeds)."""
        quantile = t_quantile((1 + confidence) / 2, self.num_seeds - 1)
        return quantile * math.sqrt(self.variance / self.num_seeds)


def seed_noise(differences: ArrayLike) -> SeedNoise:
    """tau^2 from (seeds, items) differences to one baseline, two seeds or more, by the method of moments.

    All seeds answer the same items, so the items' own spread cancels; what is left of the variance between the seeds'
    means, once the part that items of one seed explain (seed x item interaction / items) is taken off, is tau^2. Two
    way random effects: Searle, Casella and McCulloch (1992), Variance Components, chapter 4.
    """
    data = np.asarray(differences, dtype=np.float64)
    num_seeds, num_items = data.shape
    means = data.mean(axis=1)
    residuals = data - means[:, None] - data.mean(axis=0) + data.mean()
    interaction = float((residuals**2).sum()) / max((num_seeds - 1) * (num_items - 1), 1)
    return SeedNoise(max(float(means.var(ddof=1)) - interaction / num_items, 0.0), num_seeds)
