"""Best-fit decreasing by length class is the sequential method, bin for bin."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.pack import best_fit_decreasing, next_fit

CAPACITY = 30


def one_by_one(lengths, capacity):
    """The sequential method, with a scan over all bins: fullest that has room, the first opened among equals."""
    bins, rooms = [0] * len(lengths), []
    for item in sorted(range(len(lengths)), key=lambda item: (-lengths[item], item)):
        fitting = [number for number, room in enumerate(rooms) if room >= lengths[item]]
        best = min(fitting, key=lambda number: (rooms[number], number), default=len(rooms))
        if best == len(rooms):
            rooms.append(capacity)
        rooms[best] -= lengths[item]
        bins[item] = best
    return bins


def fit(lengths, capacity=CAPACITY):
    return best_fit_decreasing(np.array(lengths, np.int64), capacity).tolist()


few_lengths = st.lists(st.integers(0, CAPACITY), max_size=60)
many_equal = st.lists(st.sampled_from([2, 3, 7, 8, 13, 16]), max_size=200)


@settings(max_examples=400, deadline=None)
@given(st.one_of(few_lengths, many_equal))
def test_it_is_the_sequential_method_bin_for_bin(lengths):
    assert fit(lengths) == one_by_one(lengths, CAPACITY)


@pytest.mark.parametrize("capacity", [97, 500, 70_000])
def test_it_is_the_sequential_method_on_a_long_tail(capacity):
    lengths = np.clip(np.random.default_rng(capacity).lognormal(4, 1, 1500), 1, capacity).astype(int).tolist()
    assert fit(lengths, capacity) == one_by_one(lengths, capacity)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, CAPACITY), min_size=1, max_size=300))
def test_every_item_is_in_one_bin_none_overflows_and_none_could_be_spared(lengths):
    bins = np.array(fit(lengths))
    filled = np.bincount(bins, lengths)
    assert bins.size == len(lengths)
    assert filled.max() <= CAPACITY
    assert filled.min() > 0
    assert np.sum(filled <= CAPACITY / 2) <= 1
    assert fit(lengths) == bins.tolist()


def test_bins_are_numbered_as_they_are_opened():
    assert fit([10, 20, 10, 30, 5, 15]) == [1, 1, 2, 0, 2, 2]


def test_nothing_to_pack_is_nothing():
    assert fit([]) == []
    assert next_fit(np.empty(0, np.int64), 5).tolist() == []


@pytest.mark.parametrize("length", [-1, CAPACITY + 1])
def test_a_length_that_fits_nowhere_is_refused(length):
    with pytest.raises(ValueError, match=f"0 to {CAPACITY}"):
        fit([3, length])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, CAPACITY), min_size=1, max_size=60))
def test_next_fit_keeps_the_order_and_opens_a_bin_only_when_it_must(lengths):
    bins = next_fit(np.array(lengths), CAPACITY).tolist()
    assert bins == sorted(bins)
    filled = np.bincount(bins, lengths)
    assert filled.max() <= CAPACITY
    for before, item in zip(bins, range(1, len(bins)), strict=False):
        assert bins[item] == before or filled[before] + lengths[item] > CAPACITY


def test_a_million_lengths_take_no_time():
    lengths = np.clip(np.random.default_rng(0).lognormal(5.5, 1, 1_000_000), 8, 4096).astype(np.int64)
    began = time.perf_counter()
    bins = best_fit_decreasing(lengths, 4096)
    assert time.perf_counter() - began < 5
    assert lengths.sum() / 4096 / (bins.max() + 1) > 0.9999
