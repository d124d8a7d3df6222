"""Rows filled across steps: full, seeded, bounded in what they reorder; steps that learn as much as unpacked ones."""

import numpy as np
import pytest
from conversations import conversation, long_tailed, plain, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.errors import ConfigError
from tunesmith.pack import PackConfig, pack
from tunesmith.pack.full_rows import POOR_FILL, cut_evenly, fill_rows
from tunesmith.pack.pieces import lengths_of, piece_table

DATA = long_tailed(3000)


def config(**options):
    return PackConfig(
        **{"layout": "full_rows", "batch_conversations": 64, "row_tokens": 256, "buffer_conversations": 500, **options}
    )


def filled(chosen, data, epoch=0):
    """The rows of an epoch, each a list of conversation numbers, and the epoch's order."""
    order = np.random.default_rng([chosen.seed, epoch]).permutation(len(data))
    pieces, starts = fill_rows(chosen, piece_table(chosen, data, lengths_of(data)), order, epoch)
    return [row.tolist() for row in np.split(pieces, starts[1:-1])], order.tolist()


@pytest.mark.parametrize("buffer", [200, 500, 10_000])
def test_rows_are_full(buffer):
    rows, _ = filled(config(buffer_conversations=buffer), DATA)
    tokens = [sum(DATA[number].num_tokens for number in row) for row in rows]
    assert max(tokens) <= 256
    assert np.mean(tokens) / 256 > (0.99 if buffer > 200 else 0.98)
    assert sorted(number for row in rows for number in row) == list(range(3000))


@pytest.mark.parametrize("layout", ["best_fit", "varlen", "padding"])
def test_steps_learn_as_much_as_unpacked_ones(layout):
    """As many steps, the same total, so the same mean to the token; and no step is far from it."""
    full = pack(config(), DATA, 2)
    other = pack(config(layout=layout), DATA, 2)
    supervised, unpacked = ([batch.num_supervised for batch in each] for each in (full, other))
    assert len(supervised) == len(unpacked)
    assert sum(supervised) == sum(unpacked)
    mean = 64 * sum(each.num_supervised for each in DATA) / len(DATA)
    assert np.mean(supervised) == pytest.approx(mean, rel=0.01)
    assert np.std(supervised) < np.std(unpacked[:-1])
    assert max(abs(number - mean) for number in supervised) < 256


def test_nothing_waits_longer_than_one_buffer():
    rows, order = filled(config(), DATA)
    places = {number: place // 500 for place, number in enumerate(order)}
    newest = 0
    for row in rows:
        windows = [places[number] for number in row]
        newest = max(newest, *windows)
        assert newest - min(windows) <= 1


def test_conversations_that_never_pair_up_still_come_out():
    rows, order = filled(config(buffer_conversations=10), plain([200] * 95))
    assert len(rows) == 95
    assert sorted(number for row in rows for number in row) == sorted(order)


def test_poorly_filled_rows_wait_for_partners():
    """Conversations too large to pair with their own kind find small ones in the next buffer."""
    chosen = config(buffer_conversations=4, row_tokens=100)
    table = piece_table(chosen, plain([60, 60, 60, 60, 40, 40, 40, 40]), np.array([60] * 4 + [40] * 4))
    pieces, starts = fill_rows(chosen, table, np.arange(8), 0)
    assert [sorted(table.lengths[row].tolist()) for row in np.split(pieces, starts[1:-1])] == [[40, 60]] * 4
    assert POOR_FILL > 0.6


def test_rows_come_in_a_seeded_order_that_is_not_that_of_packing():
    rows, _ = filled(config(buffer_conversations=3000), DATA)
    first = [DATA[row[0]].num_tokens for row in rows]
    assert first != sorted(first, reverse=True)
    assert abs(np.corrcoef(np.arange(len(first)), first)[0, 1]) < 0.2
    assert filled(config(), DATA)[0] == filled(config(), DATA)[0]
    assert filled(config(seed=1), DATA)[0] != filled(config(), DATA)[0] != filled(config(), DATA, epoch=1)[0]


def test_a_batch_over_the_border_of_two_epochs_has_rows_of_both():
    batches = list(pack(config(batch_conversations=90), DATA, 1.5))
    crossing = [batch for batch in batches if batch.epoch == 0][-1]
    seen = [identifier for batch in batches if batch.epoch == 0 for identifier in batch.conversation_ids]
    assert set(seen) == {each.conversation_id for each in DATA}
    assert len(seen) > len(DATA)
    assert set(crossing.conversation_ids) & set(seen[: -len(crossing.conversation_ids)])
    assert [batch.epoch for batch in batches] == sorted(batch.epoch for batch in batches)


def test_a_part_of_an_epoch_visits_the_first_part_of_its_order():
    batches = pack(config(), DATA, 0.5)
    order = np.random.default_rng([0, 0]).permutation(3000)[:1500]
    seen = [int(identifier[1:]) for row in rows_of(batches) for identifier in row.conversation_ids]
    assert sorted(seen) == sorted(order.tolist())


def test_rows_larger_than_a_step_are_refused_with_what_would_work():
    with pytest.raises(ConfigError, match="a step has one row or more") as caught:
        pack(config(batch_conversations=2), DATA)
    needed = int(str(caught.value).split("pack.batch_conversations to ")[1].split()[0])
    assert len(pack(config(batch_conversations=needed), DATA)) > 0
    with pytest.raises(ConfigError):
        pack(config(batch_conversations=needed - 1), DATA)


def test_conversations_with_nothing_to_learn_do_no_harm():
    silent = [conversation(number, 1) for number in range(40)]
    batches = list(pack(config(batch_conversations=10, row_tokens=8), silent))
    assert [batch.num_supervised for batch in batches] == [0] * 4
    assert all(batch.rows for batch in batches)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 40))
def test_cuts_are_even_and_no_part_is_empty(amounts, num_parts):
    num_parts = min(num_parts, len(amounts))
    cuts = cut_evenly(np.array(amounts, np.int64), num_parts)
    assert (cuts[0], cuts[-1], cuts.size) == (0, len(amounts), num_parts + 1)
    assert (np.diff(cuts) >= 1).all()
    if num_parts * 50 <= sum(amounts) // 2 and min(amounts) > 0:
        sums = np.append(0, np.cumsum(amounts))[cuts]
        shares = sum(amounts) * np.arange(num_parts + 1) / num_parts
        assert np.abs(sums - shares).max() <= max(amounts) / 2
