"""Rows filled across steps: best fit over a bounded buffer of conversations, then as many rows a step as it takes.

The rows of an epoch are a function of the lengths, the seed and the epoch, worked out from the lengths alone before
anything is trained. So the number of steps is exact, any batch can be asked for by its number, and resuming needs
neither the buffer nor what it carried over.

Shapes: N conversations, P pieces, R rows, M rows of a buffer, S steps.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tunesmith.errors import ConfigError
from tunesmith.pack.fit import IntArray, best_fit_decreasing, sort_stably
from tunesmith.pack.pieces import PieceTable, piece_table, pieces_of
from tunesmith.pack.rows import row_of
from tunesmith.pack.steps import LastTwo, Visits
from tunesmith.types import Batch, Rendered, Row

if TYPE_CHECKING:
    from tunesmith.pack import PackConfig

POOR_FILL = 0.99
"""A row filled less than this waits for the next buffer, once."""


class EpochRows(NamedTuple):
    """The rows of an epoch in the order of training: row r has the pieces from `starts[r]` up to `starts[r + 1]`."""

    pieces: IntArray
    starts: IntArray


def fill_rows(config: "PackConfig", table: PieceTable, conversations: IntArray, epoch: int) -> EpochRows:
    """Rows of the pieces of `conversations`, which come in the epoch's order.

    Each buffer of `buffer_conversations` is packed by best-fit decreasing, together with what the buffer before it
    carried over. Its rows are emitted in a seeded order, but for poorly filled ones: these are carried over, unless
    they hold what was carried before, so that nothing waits for more than one buffer. The last buffer emits all.
    """
    size = config.buffer_conversations
    carried, members, counts = np.empty(0, np.int64), [], []
    for begin in range(0, conversations.size, size):
        pieces = np.concatenate([carried, table.pieces_of(conversations[begin : begin + size])])
        lengths = table.lengths[pieces]
        bins = best_fit_decreasing(lengths, config.row_tokens)
        is_emitted_M = np.bincount(bins, lengths) >= POOR_FILL * config.row_tokens
        is_emitted_M[bins[: carried.size]] = True
        is_emitted_M |= begin + size >= conversations.size
        # Not 0 as the last number: numpy takes [seed, epoch, 0] for [seed, epoch], which made the epoch's order.
        generator = np.random.default_rng([config.seed, epoch, begin + 1])
        emitted = generator.permutation(np.flatnonzero(is_emitted_M))
        longest_first = sort_stably(config.row_tokens - lengths, config.row_tokens)
        members.append(pieces[in_bins(emitted, bins, longest_first)])
        counts.append(np.bincount(bins)[emitted])
        carried = pieces[~is_emitted_M[bins]]
    return EpochRows(np.concatenate(members), np.append(0, np.cumsum(np.concatenate(counts))))


def in_bins(wanted: IntArray, bins: IntArray, order: IntArray) -> IntArray:
    """The items of the `wanted` bins, one bin after the other; within a bin they stand as in `order`."""
    ranks_M = np.full(int(bins.max()) + 1, wanted.size)
    ranks_M[wanted] = np.arange(wanted.size)
    ranks = ranks_M[bins[order]]
    return order[sort_stably(ranks, wanted.size)[: np.count_nonzero(ranks < wanted.size)]]


class FullRowSteps:
    """As many steps as `batch_conversations` conversations a step would give, cut out of one stream of full rows.

    The stream is cut where the sum of supervised tokens comes nearest to s / S of all of them, so that a step has as
    many as an unpacked one on average; each step has one row or more.
    """

    def __init__(self, config: "PackConfig", rendered: Sequence[Rendered], visits: Visits, lengths: IntArray) -> None:
        """Raises ConfigError where there are fewer rows than steps."""
        self._config = config
        self._rendered = rendered
        self._visits = visits
        self._table = piece_table(config, rendered, lengths)
        self._epoch_rows = LastTwo(self._fill_epoch)
        num_conversations = int(visits.pass_ends[-1])
        supervised = [self._supervised(epoch) for epoch in range(visits.pass_ends.size)]
        self._first_rows = np.append(0, np.cumsum([each.size for each in supervised]))
        num_steps = -(-num_conversations // config.batch_conversations)
        if self._first_rows[-1] < num_steps:
            raise ConfigError(_too_few_rows(config, num_conversations, int(self._first_rows[-1]), num_steps))
        self._cuts = cut_evenly(np.concatenate(supervised), num_steps)

    def __len__(self) -> int:
        return self._cuts.size - 1

    def batch(self, index: int) -> Batch:
        first, last = int(self._cuts[index]), int(self._cuts[index + 1])
        rows = tuple(self._row(number) for number in range(first, last))
        return Batch(rows, epoch=self._epoch_of(first))

    def _fill_epoch(self, epoch: int) -> EpochRows:
        return fill_rows(self._config, self._table, self._visits.order(epoch), epoch)

    def _supervised(self, epoch: int) -> IntArray:
        """Supervised tokens of each row of an epoch."""
        pieces, starts = self._epoch_rows(epoch)
        return np.add.reduceat(self._table.supervised[pieces], starts[:-1])

    def _epoch_of(self, row: int) -> int:
        return int(np.searchsorted(self._first_rows, row, side="right")) - 1

    def _row(self, number: int) -> Row:
        epoch = self._epoch_of(number)
        pieces, starts = self._epoch_rows(epoch)
        at = number - int(self._first_rows[epoch])
        places = [self._table.place_of(piece) for piece in pieces[starts[at] : starts[at + 1]].tolist()]
        members = [pieces_of(self._rendered[conversation], self._config)[part] for conversation, part in places]
        return row_of(members, [self._visits.epoch(epoch, conversation) for conversation, _ in places])


def cut_evenly(amounts: IntArray, num_parts: int) -> IntArray:
    """Where to cut a list of `amounts` into `num_parts` parts of nearly equal sums: int64 [num_parts + 1], 0 first.

    Each cut stands where the sum so far is nearest to its share, and no part is empty; needs `num_parts` amounts.
    """
    sums = np.append(0, np.cumsum(amounts))
    shares = sums[-1] * np.arange(num_parts + 1) / num_parts
    after = np.clip(np.searchsorted(sums, shares), 1, amounts.size)
    cuts = np.where(shares - sums[after - 1] <= sums[after] - shares, after - 1, after)
    cuts[0], cuts[-1] = 0, amounts.size
    # Cut i must lie at least i from the front and as far from the end as parts follow, and beyond the cut before it.
    slack = np.maximum.accumulate(cuts - np.arange(num_parts + 1))
    return np.minimum(slack, amounts.size - num_parts) + np.arange(num_parts + 1)


def _too_few_rows(config: "PackConfig", num_conversations: int, num_rows: int, num_steps: int) -> str:
    return (
        f"pack.layout = full_rows: {num_conversations} conversations fill {num_rows} rows of {config.row_tokens} "
        f"tokens, but at {config.batch_conversations} a step they make {num_steps} steps, and a step has one row or "
        f"more; raise pack.batch_conversations to {-(-num_conversations // num_rows)} or more, lower pack.row_tokens, "
        "or use pack.layout = best_fit"
    )
