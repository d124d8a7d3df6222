"""Layouts: they change where conversations stand, never what is taught; and every one resumes at every batch."""

import json
from collections import Counter

import numpy as np
import pytest
from conversations import (
    LAYOUTS,
    STEPWISE,
    contexts,
    conversation,
    every,
    forest,
    lengths_up_to_40,
    lessons,
    plain,
    rows_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.errors import ConfigError
from tunesmith.pack import PackConfig, pack

MIXED = [*plain([3, 17, 9, 30, 2, 12, 25, 8]), *forest(12, longest=30)]
EXAMPLES = [conversation(number, each.num_tokens, each.branches) for number, each in enumerate(MIXED)]


def config(layout, **options):
    return PackConfig(**{"layout": layout, "batch_conversations": 4, "row_tokens": 40, **options})


def same(one, other):
    """Whether two lists of batches are equal to the last array."""
    assert [batch.epoch for batch in one] == [batch.epoch for batch in other]
    assert [len(batch.rows) for batch in one] == [len(batch.rows) for batch in other]
    for row, twin in zip(rows_of(one), rows_of(other), strict=True):
        assert row.conversation_ids == twin.conversation_ids
        for name in ("tokens", "loss_weights", "positions", "segments", "branches"):
            assert np.array_equal(getattr(row, name), getattr(twin, name)), name
    return True


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), epochs=st.sampled_from([0.4, 1, 1.5, 2, 2.25]), buffer=st.integers(1, 30))
def test_every_layout_teaches_the_same(layout, seed, epochs, buffer):
    """Each conversation's contexts, targets and weights, once an epoch: nothing is lost, doubled, cut or leaked."""
    chosen = config(layout, seed=seed, buffer_conversations=buffer, batch_conversations=6)
    batches = pack(chosen, EXAMPLES, epochs)
    visits = [
        EXAMPLES[number]
        for epoch in range(3)
        for number in np.random.default_rng([seed, epoch]).permutation(len(EXAMPLES))
    ][: round(len(EXAMPLES) * epochs)]
    assert lessons(rows_of(batches)) == lessons(visits)
    assert len(batches) == -(-len(visits) // 6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_positions_count_what_a_token_sees(layout):
    for row in rows_of(pack(config(layout, batch_conversations=10), EXAMPLES)):
        seen = contexts(row)
        assert row.positions.tolist() == [len(before) - 1 for before in seen]
        roots = row.branches[row.branches[:, 1] < 0, 0]
        assert (row.positions[roots] == 0).all()
        for place, before in enumerate(seen):
            assert {token // 1000 for token in before} == {int(row.tokens[place]) // 1000}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_keep_their_limit_and_number_their_segments(layout):
    for row in rows_of(pack(config(layout), EXAMPLES)):
        assert 0 < row.num_tokens <= 40
        assert row.segments.tolist() == sorted(row.segments.tolist())
        for segment, identifier in enumerate(row.conversation_ids):
            assert set(row.tokens[row.segments == segment] // 1000) == {int(identifier[1:])}
        if layout == "padding":
            assert len(row.conversation_ids) == len(row.branches) == 1


@settings(max_examples=60, deadline=None)
@given(lengths_up_to_40, st.integers(1, 7), st.integers(0, 5))
def test_a_step_has_the_same_conversations_in_all_stepwise_layouts(lengths, batch, seed):
    data = plain(lengths)
    steps = [
        [
            Counter(each.conversation_ids)
            for each in pack(config(layout, batch_conversations=batch, seed=seed), data, 1.5)
        ]
        for layout in STEPWISE
    ]
    assert steps[0] == steps[1] == steps[2]


def test_a_step_has_the_same_trees_in_all_stepwise_layouts():
    steps = [[set(each.conversation_ids) for each in pack(config(layout), EXAMPLES, 2)] for layout in STEPWISE]
    assert steps[0] == steps[1] == steps[2]


def test_varlen_keeps_the_order_of_the_epoch():
    (batch,) = pack(config("varlen", batch_conversations=20, seed=3), EXAMPLES)
    order = np.random.default_rng([3, 0]).permutation(20)
    assert [int(identifier[1:]) for identifier in batch.conversation_ids] == order.tolist()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("epochs", [1, 2.3])
def test_resumed_at_any_batch_the_stream_is_as_if_never_stopped(layout, epochs):
    chosen = config(layout, buffer_conversations=7)
    whole = list(pack(chosen, EXAMPLES, epochs, "x"))
    for stop in range(len(whole) + 1):
        stream = pack(chosen, EXAMPLES, epochs, "x")
        iterator = iter(stream)
        assert same([next(iterator) for _ in range(stop)], whole[:stop])
        fresh = pack(chosen, EXAMPLES, epochs, "x")
        fresh.restore(json.loads(json.dumps(stream.state())))
        assert same(list(fresh), whole[stop:])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_batch_can_be_had_by_its_number(layout):
    batches = pack(config(layout, buffer_conversations=7), EXAMPLES, 2.5)
    whole = list(batches)
    backwards = [batches[number] for number in reversed(range(len(batches)))]
    assert same(backwards[::-1], whole)
    for number in (-1, len(batches)):
        with pytest.raises(IndexError, match=f"of {len(batches)}"):
            batches[number]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sizes_known_beforehand_change_nothing_and_spare_the_reading(layout):
    class Sized(list):
        reads = 0
        lengths = np.array([each.num_tokens for each in EXAMPLES])
        supervised = np.array([each.num_supervised for each in EXAMPLES])

        def __getitem__(self, index):
            self.reads += 1
            return super().__getitem__(index)

        def __iter__(self):
            raise AssertionError("every conversation was read")

    data = Sized(EXAMPLES)
    chosen = config(layout, row_tokens=64)
    batches = pack(chosen, data, 2)
    assert len(batches) == 10
    assert data.reads == 0
    assert same(list(batches), list(pack(chosen, EXAMPLES, 2)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_long_document_is_cut_only_where_asked(layout):
    data = [conversation(0, 100), *plain([4] * 11)[1:]]
    with pytest.raises(ConfigError, match=r"c0 has 100 tokens.*pack\.split_long = wrap"):
        pack(config(layout), data)
    batches = pack(config(layout, split_long="wrap", batch_conversations=11), data)
    pieces = sorted((row.tokens[row.tokens < 1000].tolist() for row in rows_of(batches)), reverse=True)
    assert [piece for piece in pieces if piece] == [list(range(80, 100)), list(range(40, 80)), list(range(40))]
    assert sum(batch.num_tokens for batch in every(batches)) == sum(each.num_tokens for each in data)
    cut = int(np.count_nonzero(data[0].loss_weights[[40, 80]]))
    assert sum(batch.num_supervised for batch in every(batches)) == sum(each.num_supervised for each in data) - cut


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sequences_apart_may_stand_in_different_rows_of_a_step(layout):
    large = conversation(0, 60, np.array([[0, -1], [25, -1], [40, -1]], np.int32))
    batches = pack(config(layout), [large, *plain([9] * 8)[1:]], 1)
    holding = [number for number, batch in enumerate(every(batches)) if "c0" in batch.conversation_ids]
    assert lessons(rows_of(batches)) == lessons([large, *plain([9] * 8)[1:]])
    if layout in STEPWISE:
        assert len(holding) == 1
        assert sum("c0" in row.conversation_ids for row in batches[holding[0]].rows) >= 2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_to_pack_is_an_error(layout):
    with pytest.raises(ConfigError, match="no conversation to pack"):
        pack(config(layout), [])
