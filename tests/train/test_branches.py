"""Trees of branches: who precedes whom, and taking a tree apart without losing or doubling a weight."""

import numpy as np
import pytest
from helpers import contexts, rendered, trees
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.branches import paths, predictors, sequences, split, starts_and_ends
from tunesmith.errors import TrainError
from tunesmith.pack import pack_rows, positions_of
from tunesmith.train.flex import depth_first
from tunesmith.train.loss import supervised_places
from tunesmith.types import Rendered

BRANCHES = np.array([[0, -1], [3, 2], [5, 1], [6, 4], [8, -1]], np.int32)  # two sequences; the first is a tree


def test_a_tree_by_hand():
    assert [path.tolist() for path in paths(BRANCHES, 10)] == [[], [0, 1, 2], [0, 1], [0, 1, 2, 3, 4], []]
    assert predictors(BRANCHES, 10).tolist() == [-1, 0, 1, 2, 3, 1, 4, 6, -1, 8]
    assert [each.tolist() for each in sequences(BRANCHES, 10)] == [[0, 1, 5], [0, 1, 2, 3, 4, 6, 7], [8, 9]]


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10_000))
def test_everything_follows_from_walking_back(seed):
    (each,) = trees(1, seed, num_branches=7)
    seen = contexts(each.branches, each.num_tokens)
    assert predictors(each.branches, each.num_tokens).tolist() == [([-1, *before])[-2] for before in seen]
    assert positions_of(each.branches, each.num_tokens).tolist() == [len(before) - 1 for before in seen]
    starts, _ = starts_and_ends(each.branches, each.num_tokens)
    assert [path.tolist() for path in paths(each.branches, each.num_tokens)] == [seen[start][:-1] for start in starts]
    leaves = [seen[places[-1]] for places in sequences(each.branches, each.num_tokens)]
    assert [places.tolist() for places in sequences(each.branches, each.num_tokens)] == leaves
    assert {token for leaf in leaves for token in leaf} == set(range(each.num_tokens))


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10_000))
def test_depth_first_numbers_say_who_sees_whom(seed):
    (each,) = trees(1, seed, num_branches=7)
    numbers, ends = depth_first(each.branches, each.num_tokens)
    assert sorted(numbers.tolist()) == list(range(each.num_tokens))
    sees = (numbers[None] <= numbers[:, None]) & (numbers[:, None] < ends[None])
    assert [np.flatnonzero(line).tolist() for line in sees] == contexts(each.branches, each.num_tokens)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10_000))
def test_taken_apart_every_weight_is_kept_once_with_its_context(seed):
    (each,) = trees(1, seed, num_branches=7)
    seen = contexts(each.branches, each.num_tokens)
    whole = sorted((each.tokens[seen[i]].tolist(), each.loss_weights[i]) for i in np.flatnonzero(each.loss_weights))
    apart = sorted(
        (piece.tokens[: i + 1].tolist(), piece.loss_weights[i])
        for piece in split(each)
        for i in np.flatnonzero(piece.loss_weights)
    )
    assert all(piece.is_linear for piece in split(each))
    assert apart == whole


def test_parts_and_messages_travel_with_their_tokens():
    tokens = np.arange(10, dtype=np.int32)
    whole = Rendered("c", tokens, np.ones(10, np.float32), BRANCHES, tokens.astype(np.uint8), tokens.astype(np.int16))
    for piece in split(whole):
        assert piece.tokens.tolist() == piece.parts.tolist() == piece.messages.tolist()
    (plain,) = rendered(1)
    assert split(plain) == [plain]


def test_one_place_may_predict_several_tokens():
    each = Rendered("c", np.arange(10, dtype=np.int32), np.zeros(10, np.float32), BRANCHES)
    each.loss_weights[[2, 5, 6]] = 1
    (row,) = pack_rows([each], 100)
    places, targets = supervised_places(row)
    assert (places.tolist(), targets.tolist()) == ([1, 1, 4], [2, 5, 6])


def test_a_weight_on_the_first_token_of_a_sequence_names_the_conversation():
    each = Rendered("the-odd-one", np.arange(10, dtype=np.int32), np.zeros(10, np.float32), BRANCHES)
    each.loss_weights[8] = 0.5
    (row,) = pack_rows([*rendered(2, longest=8), each], 100)
    with pytest.raises(TrainError, match=r"conversation the-odd-one: .* loss weight 0.5, but nothing stands before it"):
        supervised_places(row)
