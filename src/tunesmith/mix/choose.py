"""How often each source is visited in each pass, and which of its conversations.

A source is an endless stream: one seeded permutation of its conversations after the other. A pass takes as many from
it as bring the sum so far nearest to what was asked, so that rounding never adds up.

Shapes: N conversations of a source, P passes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from tunesmith.errors import ConfigError
from tunesmith.mix import MixConfig, Part, Unit
from tunesmith.types import Rendered

IntArray = NDArray[np.int64]


def sizes_of(rendered: Sequence[Rendered], unit: Unit) -> IntArray:
    """What each conversation counts for, int64 [N]: from the sequence's own arrays where it has them."""
    if unit == "rows":
        return np.ones(len(rendered), np.int64)
    known: IntArray | None = getattr(rendered, "lengths" if unit == "tokens" else "supervised", None)
    if known is not None:
        return known
    return np.array([each.num_tokens if unit == "tokens" else each.num_supervised for each in rendered], np.int64)


class Source:
    """The endless stream of one source's conversations."""

    def __init__(self, config: MixConfig, part: Part) -> None:
        self.config = part.config
        self.sizes = sizes_of(part.rendered, config.weigh_by)
        self.size = int(self.sizes.sum())
        self._key = [config.seed, crc32(part.config.name.encode())]
        if not self.sizes.size:
            raise ConfigError(f"mix: the source {part.config.name} has no conversation; dropped.jsonl says why")

    def __len__(self) -> int:
        return int(self.sizes.size)

    def order(self, epoch: int) -> IntArray:
        """Its conversations in the order of its own epoch `epoch`."""
        return np.random.default_rng([*self._key, epoch + 1]).permutation(len(self))

    def amount(self, count: int) -> int:
        """What its first `count` visits add up to."""
        epoch, rest = divmod(count, len(self))
        return epoch * self.size + int(self.sizes[self.order(epoch)[:rest]].sum())

    def count_for(self, amount: float) -> int:
        """How many visits come nearest to `amount`."""
        epoch = int(amount // self.size)
        sums = np.append(0, np.cumsum(self.sizes[self.order(epoch)]))
        rest = amount - epoch * self.size
        after = min(max(int(np.searchsorted(sums, rest)), 1), len(self))
        nearest = after - 1 if rest - sums[after - 1] <= sums[after] - rest else after
        return epoch * len(self) + nearest

    def visits(self, first: int, last: int) -> tuple[IntArray, IntArray]:
        """The conversations of visits `first` up to `last`, and in which of the source's epochs each is."""
        epochs = np.arange(first, last) // len(self)
        orders = [self.order(epoch) for epoch in range(first // len(self), -(-last // len(self)))]
        joined = np.concatenate(orders) if orders else np.empty(0, np.int64)
        start = first - first // len(self) * len(self)
        return joined[start : start + last - first], epochs


@dataclass(frozen=True, slots=True)
class Counts:
    """How many visits a source has had by the end of each pass, int64 [P]; `shortfall` says what it lacks."""

    sums: IntArray
    shortfall: str = ""


def count_visits(config: MixConfig, sources: Sequence[Source], epochs: float) -> list[Counts]:
    """The visits of every source, the main data first. Raises ConfigError that names all sources that fall short."""
    main = sources[0]
    num_visits = max(1, round(len(main) * epochs))
    passes = np.minimum(np.arange(1, -(-num_visits // len(main)) + 1) * len(main), num_visits)
    counts: dict[int, Counts] = {0: Counts(passes)}
    amounts = np.array([main.amount(count) for count in passes.tolist()], np.float64)
    fixed = amounts.copy()
    for index, source in enumerate(sources[1:], 1):
        if source.config.share is None:
            counts[index] = _capped(config, source, _counts_of(config, source, main, passes, amounts))
            fixed += [source.amount(count) for count in counts[index].sums.tolist()]
    share = sum(source.config.share or 0.0 for source in sources)
    if share >= 1:
        raise ConfigError(f"mix: the shares add up to {share:g}, which leaves nothing for the main data")
    for index, source in enumerate(sources):
        if source.config.share is not None:
            wanted = source.config.share / (1 - share) * fixed
            counts[index] = _capped(config, source, _nearest(config, source, wanted))
    found = [counts[index] for index in range(len(sources))]
    short = [each.shortfall for each in found if each.shortfall]
    if short and config.shortfall == "error":
        raise ConfigError(
            "mix: " + "; ".join(short) + ". Ask for less, raise max_epochs of the source, give it more data, or set "
            "mix.shortfall = accept to take what there is"
        )
    return found


def _counts_of(
    config: MixConfig, source: Source, main: Source, passes: IntArray, amounts: NDArray[np.float64]
) -> IntArray:
    """Visits by the end of each pass, of a source that says no share; `amounts` [P] are those of the main data."""
    asked = source.config
    if asked.weight is not None:
        return _nearest(config, source, asked.weight * amounts)
    if asked.epochs is None and config.temperature > 1:
        # size^(1/T) relative to the main data's, which stay as large as they are.
        ratio = (source.size / main.size) ** (1 / config.temperature) if main.size else 0.0
        return _nearest(config, source, ratio * amounts)
    repeats = 1.0 if asked.epochs is None else asked.epochs
    return np.rint(repeats * len(source) * passes / len(main)).astype(np.int64)


def _nearest(config: MixConfig, source: Source, amounts: NDArray[np.float64]) -> IntArray:
    if not source.size:
        raise ConfigError(
            f"mix: the source {source.config.name} has no {config.weigh_by} tokens, so no weight or share can be "
            "reached; set mix.weigh_by = rows, or leave it out"
        )
    return np.array([source.count_for(amount) for amount in amounts.tolist()], np.int64)


def _capped(config: MixConfig, source: Source, sums: IntArray) -> Counts:
    """At most `max_epochs` of visits, spread over the passes as what was asked for."""
    asked = source.config
    # Epochs that were named, and one a pass, are meant as they stand.
    if asked.weight is None and asked.share is None and (asked.epochs is not None or config.temperature == 1):
        return Counts(sums)
    cap, needed = int(asked.max_epochs * len(source)), int(sums[-1])
    if needed <= cap:
        return Counts(sums)
    what = f"weight {asked.weight:g}" if asked.weight else f"share {asked.share:g}" if asked.share else "temperature"
    reason = (
        f"the source {asked.name} would be visited {needed / len(source):.2f} times to reach its {what}, but its "
        f"max_epochs is {asked.max_epochs:g} ({len(source):,} conversations, {source.size:,} {unit_name(config)})"
    )
    return Counts(sums * cap // needed, reason)


def unit_name(config: MixConfig) -> str:
    """The unit of weights and shares, in words."""
    return {"supervised": "supervised tokens", "tokens": "tokens", "rows": "conversations"}[config.weigh_by]
