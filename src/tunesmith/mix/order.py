"""The order of a pass: shuffled, or by a number from the smallest to the largest, strictly or in stages."""

import numpy as np
from numpy.typing import NDArray

from tunesmith.mix import CurriculumConfig
from tunesmith.mix.choose import IntArray


def order_pass(config: CurriculumConfig, values: NDArray[np.float64], generator: np.random.Generator) -> IntArray:
    """Where each place of a pass is taken from, int64 [M]; `values` (float64 [M]) are read by a curriculum only.

    Equal values stand in a random order.
    """
    shuffled = generator.permutation(values.size)
    if config.by == "none":
        return shuffled
    keys = values[shuffled] if config.direction == "ascending" else -values[shuffled]
    ordered = shuffled[np.argsort(keys, kind="stable")]
    if not config.stages:
        return ordered
    return np.concatenate([generator.permutation(stage) for stage in np.array_split(ordered, config.stages)])
