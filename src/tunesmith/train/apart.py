"""Which training conversations are set apart for validation, and views of both parts. Imports no torch.

Shapes: N conversations of the whole, P of a part.
"""

from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from tunesmith.errors import ConfigError
from tunesmith.files import fingerprint
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
    """What is trained on, and what is set apart, each in the order of the data; a function of the data and the config.

    The pieces of a conversation that rendering cut (id, id#2, id#3, ...) stay together. Raises ConfigError where
    nothing would be left to train on.
    """
    if config.size == 0:
        return rendered, []
    owners = _owners(rendered)
    num_whole = int(owners[-1]) + 1 if owners.size else 0
    num_apart = max(1, round(num_whole * config.size)) if config.size < 1 else int(config.size)
    if num_apart >= num_whole:
        raise ConfigError(
            f"train.validation.size = {config.size:g} sets {num_apart:,} conversations apart, but there are "
            f"{num_whole:,}, and at least one is needed to train on; lower it"
        )
    chosen = np.random.default_rng([config.seed, num_whole]).permutation(num_whole)[:num_apart]
    is_apart = np.isin(owners, chosen)
    return Part(rendered, np.flatnonzero(~is_apart)), Part(rendered, np.flatnonzero(is_apart))


def rest_fingerprint(mark: str, config: ValidationConfig) -> str:
    """Names what is left of the data named `mark` when some are set apart."""
    return mark if config.size == 0 else fingerprint([mark, config.size, config.seed])


def _owners(rendered: Sequence[Rendered]) -> NDArray[np.int64]:
    """Which conversation each one is, or is a piece of, counted from 0: int64 [N]."""
    read = getattr(rendered, "conversation_id", None) or (lambda place: rendered[place].conversation_id)
    owners = np.zeros(len(rendered), np.int64)
    whole, pieces, number = "", 0, -1
    for place in range(len(rendered)):
        name = read(place)
        if number >= 0 and name == f"{whole}#{pieces + 1}":
            pieces += 1
        else:
            whole, pieces, number = name, 1, number + 1
        owners[place] = number
    return owners
