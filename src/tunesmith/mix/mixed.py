"""The sequence of all visits: which conversation of which source, in which order.

Shapes: M visits, P passes.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import overload

import numpy as np
from numpy.typing import NDArray

from tunesmith.errors import ConfigError
from tunesmith.files import fingerprint
from tunesmith.mix import MixConfig, Part
from tunesmith.mix.choose import IntArray, Source, count_visits, sizes_of
from tunesmith.mix.order import order_pass
from tunesmith.types import Rendered


class Mixed(Sequence[Rendered]):
    """All visits of a training, by position; conversations are read only when they are asked for.

    `lengths` and `supervised` (int64 [M]) are the tokens and supervised tokens of each visit, `epochs` (int64 [M])
    counts from 0 how often its source has been gone through before, and `pass_ends` (int64 [P]) is where each pass
    over the main data ends. `sources` and `indices` (int64 [M]) are the mix itself. A conversation that is visited
    twice has another epoch each time; those of other sources than the first are named SOURCE/ID.
    """

    def __init__(self, config: MixConfig, parts: Sequence[Part], epochs: float) -> None:
        """See `tunesmith.mix.mix`."""
        names = [part.config.name for part in parts]
        if len(set(names)) < len(names):
            raise ConfigError(f"mix: two sources have one name; they are {', '.join(names)}")
        self.config = config
        self.parts = tuple(parts)
        streams = [Source(config, part) for part in parts]
        self.counts = count_visits(config, streams, epochs)
        self.fingerprint = fingerprint(["mix", 1, config, [[part.config, part.fingerprint] for part in parts], epochs])
        self._lay_out(streams)
        self.lengths = self._gather([sizes_of(part.rendered, "tokens") for part in parts])
        self.supervised = self._gather([sizes_of(part.rendered, "supervised") for part in parts])

    def _lay_out(self, streams: Sequence[Source]) -> None:
        sums_SP = np.stack([counts.sums for counts in self.counts])
        self.pass_ends: IntArray = sums_SP.sum(axis=0)
        values = self._values()
        found: list[tuple[IntArray, IntArray, IntArray]] = []
        for number in range(sums_SP.shape[1]):
            first = sums_SP[:, number - 1] if number else np.zeros(len(streams), np.int64)
            counts = sums_SP[:, number] - first
            spans = zip(first.tolist(), sums_SP[:, number].tolist(), strict=True)
            visits = [stream.visits(*span) for stream, span in zip(streams, spans, strict=True)]
            sources = np.repeat(np.arange(len(streams)), counts)
            indices = np.concatenate([each for each, _ in visits])
            keys = [value[each] for value, (each, _) in zip(values, visits, strict=True)]
            generator = np.random.default_rng([self.config.seed, number + 1])
            order = order_pass(self.config.curriculum, np.concatenate(keys), generator)
            found.append((sources[order], indices[order], np.concatenate([each for _, each in visits])[order]))
        self.sources, self.indices, self.epochs = (np.concatenate(each) for each in zip(*found, strict=True))

    def _values(self) -> list[NDArray[np.float64]]:
        """What orders the conversations of each source."""
        by = self.config.curriculum.by
        if by == "none":
            return [np.zeros(len(part.rendered)) for part in self.parts]
        if by != "number":
            return [sizes_of(part.rendered, by).astype(np.float64) for part in self.parts]
        return [_numbers(part) for part in self.parts]

    def _gather(self, sizes: Sequence[IntArray]) -> IntArray:
        starts = np.cumsum([0, *(each.size for each in sizes[:-1])])
        gathered: IntArray = np.concatenate(sizes)[starts[self.sources] + self.indices]
        return gathered

    @property
    def num_pairs(self) -> int:
        """How many visits are of a pair with a chosen and a rejected answer."""
        known = [getattr(part.rendered, "num_pairs", None) for part in self.parts]
        sizes = [len(part.rendered) for part in self.parts]
        if all(pairs in (0, size) for pairs, size in zip(known, sizes, strict=True)):
            return int(np.array([pairs == size for pairs, size in zip(known, sizes, strict=True)])[self.sources].sum())
        return sum(each.is_pair for each in self)

    def __len__(self) -> int:
        return int(self.sources.size)

    @overload
    def __getitem__(self, index: int) -> Rendered: ...
    @overload
    def __getitem__(self, index: slice) -> list[Rendered]: ...
    def __getitem__(self, index: int | slice) -> Rendered | list[Rendered]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        part = self.parts[int(self.sources[index])]
        rendered: Rendered = part.rendered[int(self.indices[index])]
        # Files of two sources may number their conversations alike.
        name = part.config.name
        identifier = rendered.conversation_id if part is self.parts[0] else f"{name}/{rendered.conversation_id}"
        return replace(rendered, source=name, conversation_id=identifier)


def _numbers(part: Part) -> NDArray[np.float64]:
    if part.numbers is None or np.isnan(part.numbers).any():
        raise ConfigError(
            f"mix.curriculum.by = number: the source {part.config.name} has no number for every conversation; set "
            "data.number_field to the field of its records that holds one"
        )
    return part.numbers
