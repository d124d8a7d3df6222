"""Which conversations an optimizer step learns from: a fixed number of them, in an order that is new in each epoch."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np

from tunesmith.errors import ConfigError
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


class Visits(Protocol):
    """Which conversations are visited, in which order, in passes. V visits in all, P passes.

    `pass_ends` (int64 [P]) is where each pass ends among all visits.
    """

    pass_ends: IntArray

    def order(self, number: int) -> IntArray:
        """The conversations of a pass, in its order."""

    def epoch(self, number: int, conversation: int) -> int:
        """How often a conversation of a pass was visited before."""


class Shuffled:
    """Every pass visits every conversation, in an order of its own; the last pass may be a part of one."""

    def __init__(self, num_conversations: int, seed: int, epochs: float) -> None:
        num_visits = max(1, round(num_conversations * epochs))
        num_passes = -(-num_visits // num_conversations)
        self.pass_ends: IntArray = np.minimum(np.arange(1, num_passes + 1) * num_conversations, num_visits)
        self._num_conversations = num_conversations
        self._seed = seed

    def order(self, number: int) -> IntArray:
        size = int(self.pass_ends[number]) - number * self._num_conversations
        return epoch_order(self._num_conversations, self._seed, number)[:size]

    def epoch(self, number: int, conversation: int) -> int:
        return number


class Given:
    """A mix has decided already: its conversations are the visits, in its order."""

    def __init__(self, pass_ends: IntArray, epochs: IntArray) -> None:
        self.pass_ends = pass_ends
        self._epochs = epochs

    def order(self, number: int) -> IntArray:
        return np.arange(self.pass_ends[number - 1] if number else 0, self.pass_ends[number])

    def epoch(self, number: int, conversation: int) -> int:
        return int(self._epochs[conversation])


def visits_of(config: "PackConfig", rendered: Sequence[Rendered], epochs: float) -> Visits:
    """A mix, which has `pass_ends` and `epochs`, is visited as it stands; anything else is shuffled in each pass.

    Raises ConfigError where a mix, which holds all its passes, is asked for more than one of itself.
    """
    pass_ends: IntArray | None = getattr(rendered, "pass_ends", None)
    if pass_ends is None:
        return Shuffled(len(rendered), config.seed, epochs)
    if epochs != 1:
        raise ConfigError(f"a mix holds all passes itself; pack it with epochs = 1, not {epochs:g}")
    return Given(pass_ends, rendered.epochs)  # type: ignore[attr-defined]


class ConversationSteps:
    """Steps of `batch_conversations` conversations each, whatever the layout; batches run over epoch borders, so that
    only the last one may be smaller."""

    def __init__(self, config: "PackConfig", rendered: Sequence[Rendered], visits: Visits) -> None:
        self._config = config
        self._rendered = rendered
        self._visits = visits
        self._num_visits = int(visits.pass_ends[-1])
        self._order = LastTwo(visits.order)

    def __len__(self) -> int:
        return -(-self._num_visits // self._config.batch_conversations)

    def batch(self, index: int) -> Batch:
        size = self._config.batch_conversations
        first, last = index * size, min((index + 1) * size, self._num_visits)
        pieces, epochs = [], []
        for place in range(first, last):
            conversation, epoch = self._visit(place)
            found = pieces_of(self._rendered[conversation], self._config)
            pieces += found
            epochs += [epoch] * len(found)
        rows = pack_rows(pieces, self._config.row_tokens, self._config.layout, epochs)
        return Batch(tuple(rows), epoch=self._pass_of(first))

    def _pass_of(self, place: int) -> int:
        return int(np.searchsorted(self._visits.pass_ends, place, side="right"))

    def _visit(self, place: int) -> tuple[int, int]:
        """The conversation at a place among all visits, and its epoch."""
        number = self._pass_of(place)
        first = int(self._visits.pass_ends[number - 1]) if number else 0
        conversation = int(self._order(number)[place - first])
        return conversation, self._visits.epoch(number, conversation)
