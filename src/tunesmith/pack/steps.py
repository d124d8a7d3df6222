"""Which conversations an optimizer step learns from: a fixed number of them, in an order that is new in each epoch."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from tunesmith.pack.fit import IntArray
from tunesmith.pack.pieces import pieces_of
from tunesmith.pack.rows import pack_rows
from tunesmith.types import Batch, Rendered

if TYPE_CHECKING:
    from tunesmith.pack import PackConfig

T = TypeVar("T")


class LastTwo(Generic[T]):
    """A function of the epoch that remembers its last two results: a batch may reach over the border of two epochs."""

    def __init__(self, make: Callable[[int], T]) -> None:
        self._make = make
        self._kept: dict[int, T] = {}

    def __call__(self, epoch: int) -> T:
        if epoch not in self._kept:
            made = self._make(epoch)
            self._kept = dict([*list(self._kept.items())[-1:], (epoch, made)])
        return self._kept[epoch]


def epoch_order(num_conversations: int, seed: int, epoch: int) -> IntArray:
    """The order in which an epoch visits the conversations, int64 [N]."""
    return np.random.default_rng([seed, epoch]).permutation(num_conversations)


class ConversationSteps:
    """Steps of `batch_conversations` conversations each, whatever the layout; batches run over epoch borders, so that
    only the last one may be smaller."""

    def __init__(self, config: "PackConfig", rendered: Sequence[Rendered], num_conversations: int) -> None:
        self._config = config
        self._rendered = rendered
        self._num_conversations = num_conversations
        self._order = LastTwo(lambda epoch: epoch_order(len(rendered), config.seed, epoch))

    def __len__(self) -> int:
        return -(-self._num_conversations // self._config.batch_conversations)

    def batch(self, index: int) -> Batch:
        size = self._config.batch_conversations
        first, last = index * size, min((index + 1) * size, self._num_conversations)
        pieces, epochs = [], []
        for place in range(first, last):
            found = pieces_of(self._rendered[self._conversation_at(place)], self._config)
            pieces += found
            epochs += [place // len(self._rendered)] * len(found)
        rows = pack_rows(pieces, self._config.row_tokens, self._config.layout, epochs)
        return Batch(tuple(rows), epoch=first // len(self._rendered))

    def _conversation_at(self, place: int) -> int:
        epoch, offset = divmod(place, len(self._rendered))
        return int(self._order(epoch)[offset])
