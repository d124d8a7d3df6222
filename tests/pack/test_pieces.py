"""Conversations that do not fit a row: taken apart into trees, cut where asked, refused by name otherwise."""

import numpy as np
import pytest
from conversations import conversation, forest, lessons, tree
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.errors import ConfigError
from tunesmith.pack import PackConfig, trees_of
from tunesmith.pack.pieces import check_sizes, lengths_of, piece_table, pieces_of, supervised_of, wrapped
from tunesmith.types import Rendered

THREE_SEQUENCES = np.array([[0, -1], [6, -1], [10, -1]], np.int32)


@given(seed=st.integers(0, 10_000), num_branches=st.integers(1, 9))
def test_trees_teach_what_the_conversation_taught(seed, num_branches):
    whole = tree(3, 30, num_branches, seed)
    apart = trees_of(whole)
    assert sum(each.num_tokens for each in apart) == whole.num_tokens
    assert lessons(apart) == lessons([whole])
    for each in apart:
        assert (each.branches[:, 1] < 0).tolist() == [True] + [False] * (len(each.branches) - 1)
        assert (each.branches.dtype, each.conversation_id) == (np.int32, whole.conversation_id)


def test_what_hangs_together_is_left_as_it_is():
    whole = tree(0, 30, chance_of_root=0)
    assert trees_of(whole) == [whole]


def test_parts_and_messages_go_with_their_tokens():
    whole = conversation(0, 9, np.array([[0, -1], [3, -1], [7, 1]], np.int32))
    whole = Rendered("a", whole.tokens, whole.loss_weights, whole.branches, whole.tokens.astype(np.uint8), None)
    first, second = trees_of(whole)
    assert first.parts.tolist() == first.tokens.tolist() == [0, 1, 2, 7, 8]
    assert second.parts.tolist() == second.tokens.tolist() == [3, 4, 5, 6]
    assert first.branches.tolist() == [[0, -1], [3, 1]]
    assert first.messages is None


def test_a_conversation_that_fits_stays_whole_and_a_larger_one_becomes_its_trees():
    whole = conversation(0, 12, THREE_SEQUENCES)
    assert pieces_of(whole, PackConfig(row_tokens=12)) == [whole]
    assert [each.num_tokens for each in pieces_of(whole, PackConfig(row_tokens=11))] == [6, 4, 2]


@given(num_tokens=st.integers(1, 50), row_tokens=st.integers(1, 12))
def test_a_wrapped_document_keeps_every_token_and_trains_all_but_the_first_of_a_piece(num_tokens, row_tokens):
    whole = conversation(0, num_tokens)
    pieces = wrapped(whole, row_tokens)
    assert np.concatenate([each.tokens for each in pieces]).tolist() == whole.tokens.tolist()
    assert [each.num_tokens for each in pieces[:-1]] == [row_tokens] * (len(pieces) - 1)
    expected = whole.loss_weights.copy()
    expected[::row_tokens] = 0
    assert np.concatenate([each.loss_weights for each in pieces]).tolist() == expected.tolist()
    assert whole.loss_weights.tolist() == conversation(0, num_tokens).loss_weights.tolist()


def test_wrapping_reads_what_cannot_be_written():
    whole = conversation(0, 9)
    whole.tokens.setflags(write=False)
    whole.loss_weights.setflags(write=False)
    assert len(pieces_of(whole, PackConfig(row_tokens=4, split_long="wrap"))) == 3


def test_separate_sequences_are_wrapped_one_by_one():
    config = PackConfig(row_tokens=5, split_long="wrap")
    pieces = pieces_of(conversation(0, 12, THREE_SEQUENCES), config)
    assert [each.num_tokens for each in pieces] == [5, 1, 4, 2]


def test_padding_takes_a_tree_apart_into_plain_sequences():
    whole = tree(0, 30, 6)
    pieces = pieces_of(whole, PackConfig(layout="padding"))
    assert all(each.is_linear for each in pieces)
    assert lessons(pieces) == lessons([whole])


@pytest.mark.parametrize("split_long", ["error", "wrap"])
def test_a_tree_is_never_cut(split_long):
    whole = tree(7, 30, chance_of_root=0)
    with pytest.raises(ConfigError) as caught:
        pieces_of(whole, PackConfig(row_tokens=29, split_long=split_long))
    for word in ("c7", "30 tokens", "pack.row_tokens = 29", "raise pack.row_tokens to 30", "render.layout = split"):
        assert word in str(caught.value)


def test_the_error_says_what_hangs_together():
    whole = conversation(1, 12, THREE_SEQUENCES)
    with pytest.raises(ConfigError, match=r"c1 has 12 tokens, of which 6 hang together.*raise it to 6"):
        pieces_of(whole, PackConfig(row_tokens=5))


def test_the_longest_conversation_is_named():
    data = [conversation(0, 10), conversation(1, 30), conversation(2, 20)]
    with pytest.raises(ConfigError, match=r"c1 has 30 tokens.*raise it to 30.*pack.split_long = wrap"):
        check_sizes(PackConfig(row_tokens=10), data, lengths_of(data))


def test_sizes_are_the_sequences_own_where_it_has_them():
    class Known(list):
        lengths = np.array([5, 6])
        supervised = np.array([1, 2])

    assert lengths_of(Known()) is Known.lengths
    assert supervised_of(Known()) is Known.supervised
    data = forest(5)
    assert lengths_of(data).tolist() == [each.num_tokens for each in data]
    assert supervised_of(data).tolist() == [each.num_supervised for each in data]


def test_the_table_has_the_sizes_of_all_pieces():
    data = [conversation(0, 4), conversation(1, 12, THREE_SEQUENCES), conversation(2, 11), conversation(3, 5)]
    config = PackConfig(row_tokens=5, split_long="wrap")
    table = piece_table(config, data, lengths_of(data))
    pieces = [
        (number, part, piece) for number in range(4) for part, piece in enumerate(pieces_of(data[number], config))
    ]
    assert table.lengths.tolist() == [piece.num_tokens for _, _, piece in pieces]
    assert table.supervised.tolist() == [piece.num_supervised for _, _, piece in pieces]
    assert [table.place_of(number) for number in range(len(pieces))] == [(number, part) for number, part, _ in pieces]
    assert table.pieces_of(np.array([3, 1, 0])).tolist() == [8, 1, 2, 3, 4, 0]
