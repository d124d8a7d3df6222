"""Into which bin each item goes: best fit, next fit. Lengths in, bin numbers out; nothing here knows of tokens.

Shapes: N items, M bins.
"""

from bisect import bisect_left, insort

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


def best_fit_decreasing(lengths: IntArray, capacity: int) -> IntArray:
    """The bin of each item, int64 [N]: longest items first, each into the fullest bin that has room for it.

    Exactly the bins of the sequential method (best-fit decreasing; Johnson 1973): equal lengths go in order of index,
    among equally full bins the one opened first is taken, and bins are numbered as they are opened. But all items of
    one length are placed together. Once an item has gone into the tightest bin, that bin is tighter still, so the
    next item of the same length follows it until there is no room; then the next bin with as much room is filled
    alike. So a whole group of bins with equal room is filled in one go, and the work in Python is for each distinct
    length and group, not for each item.

    Raises ValueError where a length is negative or above `capacity`.
    """
    if lengths.size and not 0 <= lengths.min() <= lengths.max() <= capacity:
        raise ValueError(f"lengths must be 0 to {capacity}, the capacity; seen {lengths.min()} to {lengths.max()}")
    gaps = capacity - lengths
    counts = np.bincount(gaps)
    open_bins = _OpenBins(capacity)
    placed = [open_bins.place(capacity - gap, int(counts[gap])) for gap in np.flatnonzero(counts).tolist()]
    bins = np.empty(lengths.size, np.int64)
    bins[sort_stably(gaps, capacity)] = np.concatenate(placed) if placed else bins
    return bins


class _OpenBins:
    """The bins so far, in groups of equal room."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.num_bins = 0
        self._rooms: list[int] = []  # sorted; those that have a group
        self._groups: dict[int, list[IntArray]] = {}

    def place(self, length: int, num_items: int) -> IntArray:
        """The bins of `num_items` items of equal length, int64 [num_items]; no shorter item was placed before."""
        placed, left = [], num_items
        while left:
            room, bins, each = self._tightest(length, left)
            num_placed = min(left, bins.size * each)
            placed.append((bins.repeat(each) if each > 1 else bins)[:num_placed])
            num_in_last = num_placed - (bins.size - 1) * each
            if num_in_last == each:
                self._put(room - each * length, bins)
            else:
                self._put(room - each * length, bins[:-1])
                self._put(room - num_in_last * length, bins[-1:])
            left -= num_placed
        return placed[0] if len(placed) == 1 else np.concatenate(placed)

    def _tightest(self, length: int, num_items: int) -> tuple[int, IntArray, int]:
        """Take out as many of the tightest bins as `num_items` need: their room, their numbers, items for each."""
        at = bisect_left(self._rooms, length)
        room = self._rooms[at] if at < len(self._rooms) else self.capacity
        each = room // length if length else num_items
        num_needed = -(-num_items // each)
        if at == len(self._rooms):
            self.num_bins += num_needed
            return room, np.arange(self.num_bins - num_needed, self.num_bins, dtype=np.int64), each
        chunks = self._groups[room]
        bins = chunks[0] if len(chunks) == 1 else np.sort(np.concatenate(chunks))
        if num_needed < bins.size:
            self._groups[room] = [bins[num_needed:]]
        else:
            del self._groups[room], self._rooms[at]
        return room, bins[:num_needed], each

    def _put(self, room: int, bins: IntArray) -> None:
        if not bins.size:
            return
        if room not in self._groups:
            self._groups[room] = []
            insort(self._rooms, room)
        self._groups[room].append(bins)


def next_fit(lengths: IntArray, capacity: int) -> IntArray:
    """The bin of each item, int64 [N], in order: into the last bin, or a new one where that has no room."""
    bins, number, room = [], -1, -1
    for length in lengths.tolist():
        if length > room:
            number, room = number + 1, capacity
        bins.append(number)
        room -= length
    return np.array(bins, np.int64)


def members_of(bins: IntArray, order: IntArray) -> list[IntArray]:
    """The items of each bin, in order of bin number; within a bin they stand as in `order`, a permutation of all."""
    by_bin = order[sort_stably(bins[order], bins.size)]
    return np.split(by_bin, np.flatnonzero(np.diff(bins[by_bin])) + 1) if bins.size else []


def sort_stably(values: IntArray, largest: int) -> IntArray:
    """The order that sorts `values`, which are 0 to `largest`; equal ones stay in theirs."""
    # numpy sorts 16 bits by radix, several times faster than 64.
    return np.argsort(values.astype(np.uint16 if largest < 2**16 else np.int64), kind="stable")
