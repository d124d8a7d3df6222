"""Newton's method for concave functions, the ridge that keeps their maximum finite, and drawing items anew."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Objective = Callable[[Array], tuple[float, Array, Array]]
"""The value at a point, its gradient, and its curvature: the negative of the Hessian, positive definite."""

PRECISION = 0.1
"""Of the normal prior around zero (a ridge): a standard deviation of 3.2 in log-odds. Where all votes go one way the
likelihood has no maximum; with this it has one, and a hundred votes outweigh it."""


def maximize(objective: Objective, start: Array) -> Array:
    """The point where a strictly concave function is largest; steps that overshoot are halved."""
    point = start
    value, gradient, curvature = objective(point)
    for _ in range(100):
        step = np.linalg.solve(curvature, gradient)
        if float(gradient @ step) < 1e-9 * max(1.0, abs(value)):
            return point + step  # so near, a step squares the distance; the values differ by rounding only
        after = objective(point + step)
        while after[0] < value:
            step = step / 2
            after = objective(point + step)
        point = point + step
        value, gradient, curvature = after
    return point


def resampled_counts(num_items: int, num_resamples: int, seed: int) -> Iterator[Array]:
    """How often each item is drawn when as many as there are, are drawn with replacement."""
    rng = np.random.default_rng(seed)
    for _ in range(num_resamples):
        yield np.bincount(rng.integers(0, num_items, num_items), minlength=num_items).astype(np.float64)
