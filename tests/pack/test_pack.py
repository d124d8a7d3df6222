"""Packing: every conversation once an epoch, no padding, exact step counts, exact resumption."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.errors import ConfigError
from tunesmith.pack import PackConfig, pack, pack_rows
from tunesmith.types import Rendered


def rendered(lengths):
    return [
        Rendered(f"c{index}", np.full(size, index, np.int32), np.ones(size, np.float32))
        for index, size in enumerate(lengths)
    ]


sizes = st.lists(st.integers(1, 40), min_size=1, max_size=30)


@settings(max_examples=80, deadline=None)
@given(sizes, st.integers(1, 7))
def test_every_conversation_is_visited_once_an_epoch(lengths, batch):
    batches = pack(PackConfig(batch_conversations=batch, row_tokens=40), rendered(lengths), epochs=2)
    seen = [identifier for each in batches for identifier in each.conversation_ids]
    assert sorted(seen) == sorted([f"c{index}" for index in range(len(lengths))] * 2)


@settings(max_examples=80, deadline=None)
@given(sizes)
def test_rows_hold_whole_conversations_within_the_limit(lengths):
    rows = pack_rows(rendered(lengths), 40)
    assert sum(row.num_tokens for row in rows) == sum(lengths)
    for row in rows:
        assert row.num_tokens <= 40
        for segment, identifier in enumerate(row.conversation_ids):
            inside = row.segments == segment
            assert set(row.tokens[inside].tolist()) == {int(identifier[1:])}
            assert row.positions[inside].tolist() == list(range(int(inside.sum())))


def test_number_of_steps_is_exact_and_last_batch_may_be_short():
    batches = pack(PackConfig(batch_conversations=4), rendered([3] * 10), epochs=1.5)
    sizes_seen = [len(batch.conversation_ids) for batch in batches]
    assert len(batches) == len(sizes_seen) == 4
    assert sizes_seen == [4, 4, 4, 3]


def test_order_changes_with_epoch_and_seed_and_nothing_else():
    data = rendered([2] * 20)
    config = PackConfig(batch_conversations=20)
    first, second = list(pack(config, data, epochs=2))
    again = next(iter(pack(config, data, epochs=2)))
    other = next(iter(pack(config.model_copy(update={"seed": 1}), data, epochs=2)))
    assert first.conversation_ids == again.conversation_ids
    assert first.conversation_ids != second.conversation_ids
    assert first.conversation_ids != other.conversation_ids
    assert (first.epoch, second.epoch) == (0, 1)


@pytest.mark.parametrize("stop", [0, 1, 3, 6])
def test_restored_stream_goes_on_with_the_next_batch(stop):
    data = rendered(range(1, 14))
    config = PackConfig(batch_conversations=2, row_tokens=16)
    whole = [batch.conversation_ids for batch in pack(config, data, source="x")]
    stream = pack(config, data, source="x")
    iterator = iter(stream)
    for _ in range(stop):
        next(iterator)
    fresh = pack(config, data, source="x")
    fresh.restore(stream.state())
    assert [batch.conversation_ids for batch in fresh] == whole[stop:]


def test_restoring_into_other_data_is_refused():
    state = pack(PackConfig(), rendered([3]), source="x").state()
    with pytest.raises(ConfigError, match="other data"):
        pack(PackConfig(), rendered([3]), source="y").restore(state)


def test_conversation_longer_than_a_row_is_refused():
    with pytest.raises(ConfigError, match="row_tokens"):
        pack(PackConfig(row_tokens=10), rendered([11]))
