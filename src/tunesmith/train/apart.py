"""Which training conversations are set apart for validation, and views of both parts. Imports no torch.

Shapes: N conversations of the whole, P of a part.
"""

from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from tunesmith.errors import ConfigError
from tunesmith.train.config import ValidationConfig
from tunesmith.types import Rendered


class Part(Sequence[Rendered]):
    """Some conversations of a sequence, which are read from it when they are asked for.

    Where the whole knows the sizes of its conversations (`lengths` and `supervised`, int64 [N]), so does the part.
    """

    def __init__(self, whole: Sequence[Rendered], places: NDArray[np.int64]) -> None:
        self.whole = whole
        self.places = places

    def __len__(self) -> int:
        return int(self.places.size)

    @overload
    def __getitem__(self, index: int) -> Rendered: ...
    @overload
    def __getitem__(self, index: slice) -> list[Rendered]: ...
    def __getitem__(self, index: int | slice) -> Rendered | list[Rendered]:
        if isinstance(index, slice):
            return [self.whole[place] for place in self.places[index].tolist()]
        return self.whole[int(self.places[index])]

    @property
    def num_pairs(self) -> int:
        """How many of its conversations are pairs of a chosen and a rejected answer."""
        known = getattr(self.whole, "num_pairs", None)
        if known in (0, len(self.whole)):  # none of them, or all
            return len(self) if known else 0
        return sum(each.is_pair for each in self)

    def __getattr__(self, name: str) -> NDArray[np.int64]:
        if name not in ("lengths", "supervised"):
            raise AttributeError(name)
        figures: NDArray[np.int64] = getattr(self.whole, name)
        return figures[self.places]


def set_apart(rendered: Sequence[Rendered], config: ValidationConfig) -> tuple[Sequence[Rendered], Sequence[Rendered]]:
    """What is trained on, and what is set apart, each in the order of the data; a function of the data's number and
    the config.

    Raises ConfigError where nothing would be left to train on.
    """
    if config.size == 0:
        return rendered, []
    num_apart = max(1, round(len(rendered) * config.size)) if config.size < 1 else int(config.size)
    if num_apart >= len(rendered):
        raise ConfigError(
            f"train.validation.size = {config.size:g} sets {num_apart:,} conversations apart, but there are "
            f"{len(rendered):,}, and at least one is needed to train on; lower it"
        )
    is_apart = np.zeros(len(rendered), bool)
    is_apart[np.random.default_rng([config.seed, len(rendered)]).permutation(len(rendered))[:num_apart]] = True
    return Part(rendered, np.flatnonzero(~is_apart)), Part(rendered, np.flatnonzero(is_apart))
