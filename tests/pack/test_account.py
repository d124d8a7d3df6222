"""Accounting: what the rows hold is what the conversations hold, to the token, and padding is told apart."""

import numpy as np
import pytest
from conversations import LAYOUTS, forest, lengths_up_to_40, long_tailed, plain, tree
from hypothesis import given, settings

from tunesmith.pack import PackConfig, Tokens, account, count_rows, pack

DATA = long_tailed(300)


def config(layout, **options):
    return PackConfig(**{"layout": layout, "batch_conversations": 32, "row_tokens": 256, **options})


def source_of(identifier):
    return ("web", "books", "chat")[int(identifier[1:]) % 3]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_hold_what_the_conversations_hold(layout):
    batches = pack(config(layout), DATA, 2)
    counted = batches.account(source_of)
    assert counted.num_steps == len(batches)
    assert counted.total.num_tokens == 2 * sum(each.num_tokens for each in DATA)
    assert counted.total.num_supervised == 2 * sum(each.num_supervised for each in DATA)
    for source, tokens in counted.by_source.items():
        own = [each for each in DATA if source_of(each.conversation_id) == source]
        assert tokens.num_tokens == 2 * sum(each.num_tokens for each in own)
        assert tokens.num_supervised == 2 * sum(each.num_supervised for each in own)
    assert sum(counted.by_source.values(), Tokens()) == counted.total
    assert (counted.total.num_padded > 0) == (layout == "padding")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_add_up_to_steps_and_steps_to_all(layout):
    batches = pack(config(layout), DATA)
    steps = [account(batches.config, [batches[number]]) for number in range(len(batches))]
    whole = batches.account()
    assert sum((step.total for step in steps), Tokens()) == whole.total
    assert sum(step.num_micro_batches for step in steps) == whole.num_micro_batches
    for number, step in enumerate(steps):
        batch = batches[number]
        assert step.total == sum(count_rows(batches.config, batch), Tokens())
        assert (step.total.num_tokens, step.total.num_supervised) == (batch.num_tokens, batch.num_supervised)


def test_padding_by_hand():
    """Lines of 5, 3, 9, 9, 2 in rows of 20: 5 and 3 together (27 with 9), then 9 and 9, then 2 alone (27)."""
    lengths = [5, 3, 9, 9, 2]
    chosen = config("padding", batch_conversations=5, row_tokens=20, seed=0)
    order = np.random.default_rng([0, 0]).permutation(5)
    data = plain([lengths[np.flatnonzero(order == number)[0]] for number in range(5)])
    batches = pack(chosen, data)
    assert [row.num_tokens for row in batches[0].rows] == lengths
    assert [tokens.num_padded for tokens in count_rows(chosen, batches[0])] == [0, 2, 0, 0, 0]
    counted = batches.account()
    assert counted.num_micro_batches == 3
    assert counted.padding == 2 / 30
    assert counted.fill == 28 / 60


@settings(max_examples=60, deadline=None)
@given(lengths_up_to_40)
def test_stacks_keep_the_row_limit(lengths):
    batches = pack(config("padding", row_tokens=60), plain(lengths))
    counted = batches.account()
    assert counted.total.num_tokens + counted.total.num_padded <= counted.num_micro_batches * 60
    assert counted.fill <= 1


def test_a_tree_taken_apart_costs_its_shared_tokens_again():
    data = [tree(number, 40, 6, chance_of_root=0) for number in range(5)]
    packed, padded = (pack(config(layout), data) for layout in ("best_fit", "padding"))
    shared, apart = packed.account().total, padded.account().total
    assert shared.num_supervised == apart.num_supervised
    assert shared.num_tokens == 200 < apart.num_tokens


@pytest.mark.parametrize("layout", LAYOUTS)
def test_trees_are_counted_by_source_too(layout):
    data = forest(20, longest=60)
    batches = pack(config(layout), data)
    counted = batches.account(source_of)
    for source, tokens in counted.by_source.items():
        own = [each for each in data if source_of(each.conversation_id) == source]
        assert tokens.num_supervised == sum(each.num_supervised for each in own)
    assert sum(counted.by_source.values(), Tokens()) == counted.total


def test_nothing_counted_is_nothing():
    counted = account(config("best_fit"), [])
    assert (counted.fill, counted.padding, counted.total) == (0, 0, Tokens())
