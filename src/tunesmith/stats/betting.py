"""Stopping early without paying for the looks: wealth that bets against a hypothesis.

The items are asked in a fixed random order. Against the hypothesis "the mean difference is at most m" a gambler stakes
a share of the wealth on each next difference, sized by what was seen before; if the hypothesis holds, the chance that
the wealth ever grows 1 / alpha-fold is at most alpha (Ville's inequality), however often one looks. Source:
Waudby-Smith and Ramdas (2024), JRSS B 86:1-27, the predictable plug-in bet for means of bounded values.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tunesmith.stats.clusters import Codes, cluster_sums

PRIOR_VARIANCE = 0.25  # of one difference, before any is seen: as large as that of a fair coin's
Settled = Literal["above", "below"]


class Stop(NamedTuple):
    """What the wealth settled and after how many differences; `settled` is None when it never did."""

    settled: Settled | None
    num_used: int


def log_wealth(values: ArrayLike, mean: float) -> NDArray[np.float64]:
    """The logarithm of the wealth after each value, of bets against "the mean is at most `mean`".

    `values` lie in [-1, 1], in the order in which they came; leading axes are runs apart. At most half of what a
    single value could take is staked, so the wealth stays above zero.
    """
    data = np.asarray(values, dtype=np.float64) - mean
    counts = np.arange(1, data.shape[-1] + 1)
    sums, squares = _before(data), _before(data * data)
    average = (sums - mean) / counts  # one made-up difference of zero comes first
    variance = np.maximum((squares + PRIOR_VARIANCE + mean * mean) / counts - average**2, 1e-12)
    stakes = np.clip(average / (variance + average**2), 0.0, 0.5 / (1 + mean))
    result: NDArray[np.float64] = np.cumsum(np.log1p(stakes * data), axis=-1)
    return result


def _before(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """At each place the sum of what came before it."""
    result: NDArray[np.float64] = np.cumsum(values, axis=-1) - values
    return result


def stop_early(
    values: ArrayLike, above: float, below: float, alpha: float = 0.05, *, alpha_below: float | None = None
) -> Stop:
    """Where ordered differences settle that their mean lies above `above`, or that it lies below `below`.

    Either is wrong with a chance of at most `alpha` (of `alpha_below` for the second, where it is given), over all
    looks. When both are settled the earlier one counts.
    """
    data = np.asarray(values, dtype=np.float64)
    paths: tuple[tuple[Settled, NDArray[np.float64], float], ...] = (
        ("above", log_wealth(data, above), alpha),
        ("below", log_wealth(-data, -below), alpha if alpha_below is None else alpha_below),
    )
    found = []
    for name, path, level in paths:
        crossed = path >= np.log(1 / level)
        if crossed.any():
            found.append(Stop(name, int(crossed.argmax()) + 1))
    return min(found, key=lambda stop: stop.num_used, default=Stop(None, data.size))


def hash_order(ids: Sequence[str], salt: str) -> list[int]:
    """A fixed random order of items: their indices, sorted by a hash of the salt (the set's digest) and the id."""
    keys = [hashlib.sha256(f"{salt}\n{each}".encode()).digest() for each in ids]
    return sorted(range(len(ids)), key=keys.__getitem__)


def ordered_units(values: ArrayLike, ids: Sequence[str], salt: str, codes: Codes | None = None) -> NDArray[np.float64]:
    """The differences to bet on, in hash order: one an item, or the mean of each cluster where there are some."""
    data = np.asarray(values, dtype=np.float64)
    if codes is None:
        return data[hash_order(ids, salt)]
    means = cluster_sums(data, codes) / np.bincount(codes)
    return means[hash_order([str(code) for code in range(means.size)], salt)]
