"""Too long conversations: what each policy keeps, and that the books balance whatever it does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from word_renderer import BOS, END, STOP, WordRenderer, same, token_of, turns

from tunesmith.branches import sequences
from tunesmith.errors import MaskError, RenderError
from tunesmith.render import RenderConfig
from tunesmith.render.bulk.ledger import MAX_SOURCES, OTHERS, Account, Ledger, source_file
from tunesmith.render.bulk.policy import (
    apply_policy,
    longest_sequence,
)
from tunesmith.types import Conversation, Message, Rendered

POLICIES = ("error", "drop", "split_turns", "truncate_prompt_head", "truncate_response")
TRAIN_ON = ("assistant", "last_turn", "all")


def outcome_of(conversation, renderer=None, **config):
    renderer = renderer or WordRenderer()
    rendered = renderer.render_many([conversation])[0]
    return apply_policy(RenderConfig(train_on=renderer.train_on, **config), renderer, conversation, rendered)


def words(count, word="w"):
    return " ".join(f"{word}{number}" for number in range(count))


def check_books(outcome, rendered):
    account = outcome.account
    assert account.num_in == 1
    assert account.num_out == bool(outcome.kept)
    assert account.num_pieces == len(outcome.kept)
    assert all(value >= 0 for value in account)
    for kind, attribute in (("tokens", "num_tokens"), ("supervised", "num_supervised")):
        numbers = account._asdict()
        came, went = (numbers[f"num_{kind}_{word}"] for word in ("in", "out"))
        repeated, cut = (numbers[f"num_{kind}_{word}"] for word in ("repeated", "cut"))
        assert came == getattr(rendered, attribute)
        assert went == sum(getattr(each, attribute) for each in outcome.kept)
        assert came + repeated == went + cut
    assert bool(outcome.kept) or len(outcome.drops) == 1


# Properties of plain conversations

contents = st.lists(st.integers(1, 12), min_size=2, max_size=8).map(
    lambda sizes: [words(size, f"m{number}-") for number, size in enumerate(sizes)]
)


@st.composite
def conversations(draw):
    if draw(st.booleans()):
        return Conversation("doc", text=words(draw(st.integers(1, 60))), source="notes.txt")
    return turns(*draw(contents), system=draw(st.sampled_from([None, "be brief"])))


@settings(max_examples=300, deadline=None)
@given(conversations(), st.integers(1, 40), st.sampled_from(POLICIES), st.booleans(), st.sampled_from(TRAIN_ON))
def test_books_balance_and_everything_fits(conversation, max_tokens, policy, bos, train_on):
    renderer = WordRenderer(bos, train_on)
    rendered = renderer.render(conversation)
    if not rendered.loss_weights.any():
        return
    outcome = outcome_of(conversation, renderer, max_tokens=max_tokens, too_long=policy)
    check_books(outcome, rendered)
    assert all(each.num_tokens <= max_tokens for each in outcome.kept)
    assert all(each.loss_weights.any() for each in outcome.kept)
    assert outcome.account.num_supervised_repeated == 0
    if rendered.num_tokens <= max_tokens:
        assert len(outcome.kept) == 1
        assert same(outcome.kept[0], rendered)
        assert not outcome.account.num_affected
        assert not outcome.drops
    else:
        assert outcome.account.num_affected == 1
        assert all(each.loss_weights[0] == 0 for each in outcome.kept if policy != "truncate_response")


@settings(max_examples=200, deadline=None)
@given(contents, st.integers(4, 40))
def test_split_trains_each_whole_turn_that_fits_exactly_once(texts, max_tokens):
    conversation = turns(*texts, system="be brief")
    whole = WordRenderer().render(conversation)
    outcome = outcome_of(conversation, max_tokens=max_tokens, too_long="split_turns")
    trained = [token for each in outcome.kept for token in each.tokens[each.loss_weights > 0].tolist()]
    expected = []
    for number in range(1, len(texts), 2):
        piece = WordRenderer().render(turns(texts[number - 1], texts[number], system="be brief"))
        if piece.num_tokens <= max_tokens:
            expected += [*map(token_of, texts[number].split()), STOP]
    assert trained == (whole.tokens[whole.loss_weights > 0].tolist() if whole.num_tokens <= max_tokens else expected)


# Each policy by itself


def test_error_and_drop_say_how_long():
    for policy in ("error", "drop"):
        outcome = outcome_of(turns(words(5), words(5)), max_tokens=10, too_long=policy)
        assert not outcome.kept
        assert outcome.drops[0] == ("too_long", "16 tokens, more than render.max_tokens = 10", 16)
        assert outcome.account.num_tokens_cut == 16
        assert outcome.account.num_stop_tokens_cut == 1


def test_split_starts_each_piece_with_the_leading_messages_and_a_user():
    conversation = turns(words(4, "a"), "b", words(4, "c"), "d", "e", "f", system="s")
    outcome = outcome_of(conversation, max_tokens=24, too_long="split_turns")
    # 4 for the system message, 7 + 4, 7 + 4 and 4 + 4 for the turns
    pieces = [turns(words(4, "a"), "b", system="s"), turns(words(4, "c"), "d", "e", "f", system="s")]
    assert [each.tokens.tolist() for each in outcome.kept] == [
        WordRenderer().render(piece).tokens.tolist() for piece in pieces
    ]
    assert outcome.account.num_without_context == 1
    assert outcome.account.num_tokens_repeated == 4
    assert outcome.account.num_tokens_cut == outcome.account.num_supervised_cut == 0


def test_split_drops_a_turn_that_does_not_fit_and_counts_it():
    conversation = turns("a", "b", words(30), "c", "d", "e")
    outcome = outcome_of(conversation, max_tokens=20, too_long="split_turns")
    assert [each.num_tokens for each in outcome.kept] == [8, 8]
    assert [(drop.reason, drop.detail) for drop in outcome.drops] == [
        ("too_long", "messages 3 to 4: 37 tokens, more than render.max_tokens = 20")
    ]
    # What the template writes by itself belongs to no message, yet is cut with it.
    assert outcome.account.num_tokens_cut == 37
    assert outcome.account.num_supervised_cut == 2
    assert outcome.account.num_stop_tokens_cut == 1


def test_split_keeps_tool_results_with_their_turn_and_consecutive_users_together():
    roles = ["user", "user", "assistant", "tool", "assistant", "user", "assistant", "user"]
    messages = tuple(Message(role, f"{role} {number}") for number, role in enumerate(roles))
    outcome = outcome_of(Conversation("c", messages), max_tokens=26, too_long="split_turns")
    assert [each.num_tokens for each in outcome.kept] == [25, 15]
    assert outcome.account.num_supervised_cut == 0


def test_split_of_last_turn_keeps_only_the_piece_with_the_last_turn():
    conversation = turns("a", "b", "c", "d", "e", "f")
    outcome = outcome_of(conversation, WordRenderer(train_on="last_turn"), max_tokens=9, too_long="split_turns")
    assert [each.tokens[each.loss_weights > 0].tolist() for each in outcome.kept] == [[token_of("f"), STOP]]
    assert outcome.account.num_tokens_cut == 16


def test_split_trains_leading_messages_once():
    conversation = turns("a", "b", "c", "d", system="s")
    outcome = outcome_of(conversation, WordRenderer(train_on="all"), max_tokens=12, too_long="split_turns")
    trained = [token for each in outcome.kept for token in each.tokens[each.loss_weights > 0].tolist()]
    assert trained.count(token_of("s")) == 1
    assert trained.count(token_of("c")) == 1


def test_split_of_a_turn_that_is_refused_by_itself_is_kept_apart():
    class Picky(WordRenderer):
        def render(self, conversation):
            if len(conversation.messages) == 2 and conversation.messages[0].content == "c":
                raise RenderError("train.jsonl:1 (c0): begins with c")
            return super().render(conversation)

    outcome = outcome_of(turns("a", "b", "c", "d"), Picky(), max_tokens=9, too_long="split_turns")
    assert len(outcome.kept) == 1
    assert outcome.drops[0][:2] == ("refused", "messages 3 to 4: begins with c")


def test_documents_become_windows():
    conversation = Conversation("doc", text=words(24), source="notes.txt")
    outcome = outcome_of(conversation, max_tokens=10, too_long="split_turns")
    tokens = np.concatenate([each.tokens for each in outcome.kept])
    assert np.array_equal(tokens, WordRenderer().render(conversation).tokens)
    assert [each.num_tokens for each in outcome.kept] == [10, 10, 5]
    assert [each.tokens.tolist().count(END) for each in outcome.kept] == [0, 0, 1]
    assert [each.loss_weights.tolist() for each in outcome.kept] == [[0.0] + [1.0] * (n - 1) for n in (10, 10, 5)]
    assert outcome.account.num_supervised_cut == outcome.account.num_without_context == 2
    assert outcome.account.num_tokens_cut == 0


def test_a_window_of_nothing_but_its_first_token_is_cut():
    outcome = outcome_of(Conversation("doc", text=words(10)), max_tokens=10, too_long="split_turns")
    assert [each.num_tokens for each in outcome.kept] == [10]
    assert (outcome.account.num_tokens_cut, outcome.account.num_stop_tokens_cut) == (1, 1)


def test_head_goes_and_the_answer_stays():
    conversation = turns(words(20), words(3, "answer"))
    whole = WordRenderer().render(conversation)
    outcome = outcome_of(conversation, max_tokens=12, too_long="truncate_prompt_head")
    assert np.array_equal(outcome.kept[0].tokens, whole.tokens[-12:])
    assert np.array_equal(outcome.kept[0].loss_weights, whole.loss_weights[-12:])
    assert outcome.account.num_supervised_cut == 0
    assert outcome.account.num_tokens_cut == whole.num_tokens - 12


def test_head_keeps_the_beginning_of_sequence_token():
    conversation = turns(words(20), words(3, "answer"))
    whole = WordRenderer(bos=True).render(conversation)
    outcome = outcome_of(conversation, WordRenderer(bos=True), max_tokens=12, too_long="truncate_prompt_head")
    assert outcome.kept[0].tokens.tolist() == [BOS, *whole.tokens[-11:].tolist()]


def test_head_counts_the_earlier_turns_that_went():
    conversation = turns("a", words(6, "early"), "b", words(3, "late"))
    outcome = outcome_of(conversation, max_tokens=16, too_long="truncate_prompt_head")
    kept = outcome.kept[0]
    trained = kept.tokens[kept.loss_weights > 0].tolist()
    early = [token_of(f"early{number}") for number in range(6)]
    # early1 is the first that is left: nothing stands before it any more, so it is context.
    assert trained == [*early[2:], STOP, *[token_of(f"late{number}") for number in range(3)], STOP]
    assert kept.tokens[0] == early[1]
    assert outcome.account.num_supervised_cut == 2
    assert outcome.account.num_stop_tokens_cut == 0


def test_head_refuses_to_cut_the_answer():
    outcome = outcome_of(turns("a", words(20)), max_tokens=12, too_long="truncate_prompt_head")
    assert not outcome.kept
    assert outcome.drops[0].reason == "too_long"
    assert "last trained stretch has 21 tokens" in outcome.drops[0].detail


def test_response_loses_its_end_and_is_not_taught_to_stop_there():
    outcome = outcome_of(turns("a", words(20)), max_tokens=12, too_long="truncate_response")
    kept = outcome.kept[0]
    assert kept.num_tokens == 12
    assert STOP not in kept.tokens[kept.loss_weights > 0]
    assert outcome.account.num_stop_tokens_cut == 1
    assert outcome.account.num_supervised_cut == 21 - 6


def test_response_ends_with_its_last_trained_token():
    outcome = outcome_of(turns("a", "b", words(20), "c"), max_tokens=12, too_long="truncate_response")
    assert outcome.kept[0].num_tokens == 8
    assert outcome.kept[0].tokens[-1] == STOP


def test_response_without_anything_trained_is_dropped():
    outcome = outcome_of(turns(words(20), "b"), max_tokens=12, too_long="truncate_response")
    assert not outcome.kept
    assert outcome.drops[0].reason == "nothing_trained"


def test_a_cut_document_is_not_taught_to_end():
    outcome = outcome_of(Conversation("doc", text=words(20)), max_tokens=12, too_long="truncate_response")
    assert END not in outcome.kept[0].tokens
    assert outcome.account.num_stop_tokens_cut == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [(RenderError("f:1 (c): no"), "refused"), (MaskError("nothing_trained", "f:1 (c): no"), "nothing_trained")],
)
def test_a_refusal_is_told_without_its_place(error, reason):
    outcome = apply_policy(RenderConfig(), WordRenderer(), Conversation("c", text="x", source="f:1"), error)
    assert outcome.drops == ((reason, "no", 0),)
    assert outcome.account == Account()


# Trees

# Its sequences are 0 1 2 3, then 0 1 4 5 6 7 8, then 0 1 4 5 9 10.
TREE = Rendered(
    "tree",
    np.arange(100, 111, dtype=np.int32),
    np.array([0, 1, 0, 1, 0, 1, 0, 1, 1, 0, 1], np.float32),
    np.array([[0, -1], [4, 1], [9, 5]], np.int32),
    parts=np.arange(11, dtype=np.uint8),
)


@st.composite
def trees(draw):
    """Trees whose tokens are all different, so that each can be found again."""
    sizes = draw(st.lists(st.integers(1, 8), min_size=1, max_size=6))
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    parents = [-1] + [draw(st.integers(-1, start - 1)) for start in starts[1:]]
    total = sum(sizes)
    weights = draw(st.lists(st.sampled_from([0.0, 1.0, 0.5, 2.0]), min_size=total, max_size=total))
    tokens = np.arange(100, 100 + total, dtype=np.int32)
    branches = np.array([starts, parents], np.int32).T
    return Rendered("tree", tokens, np.array(weights, np.float32), branches, parts=np.arange(total, dtype=np.uint8))


def truncated(tree, max_tokens, policy):
    conversation = turns("a", "b")
    config = RenderConfig(max_tokens=max_tokens, too_long=policy)
    return apply_policy(config, WordRenderer(), conversation, tree)


def read_sequences(rendered):
    return [rendered.tokens[places].tolist() for places in sequences(rendered.branches, rendered.num_tokens)]


def test_the_length_of_a_tree_is_that_of_its_longest_sequence():
    assert longest_sequence(TREE.branches, 11) == max(len(each) for each in read_sequences(TREE)) == 7


@settings(max_examples=300, deadline=None)
@given(trees())
def test_longest_sequence_is_what_the_sequences_say(tree):
    longest = max(places.size for places in sequences(tree.branches, tree.num_tokens))
    assert longest_sequence(tree.branches, tree.num_tokens) == longest


@settings(max_examples=400, deadline=None)
@given(trees(), st.integers(1, 12), st.sampled_from(["truncate_prompt_head", "truncate_response", "drop"]))
def test_a_cut_tree_fits_balances_and_weighs_no_token_twice(tree, max_tokens, policy):
    if not tree.loss_weights.any():
        return
    outcome = truncated(tree, max_tokens, policy)
    check_books(outcome, tree)
    before = dict(zip(tree.tokens.tolist(), tree.loss_weights.tolist(), strict=True))
    for kept in outcome.kept:
        assert longest_sequence(kept.branches, kept.num_tokens) <= max_tokens
        weighed = kept.loss_weights > 0
        tokens = kept.tokens[weighed].tolist()
        assert len(tokens) == len(set(tokens))
        assert all(before[token] == weight for token, weight in zip(tokens, kept.loss_weights[weighed], strict=True))
        assert np.array_equal(kept.parts, kept.tokens - 100)
        assert kept.branches[0].tolist() == [0, -1]
        assert (np.diff(kept.branches[:, 0]) > 0).all()
        assert (kept.branches[:, 1] < kept.branches[:, 0]).all()


@settings(max_examples=300, deadline=None)
@given(trees(), st.integers(1, 12))
def test_sequences_of_a_tree_that_fit_stay_as_they_were(tree, max_tokens):
    outcome = truncated(tree, max_tokens, "truncate_response")
    found = [each for kept in outcome.kept for each in read_sequences(kept)]
    for sequence in read_sequences(tree):
        weights = tree.loss_weights[np.array(sequence) - 100]
        if outcome.kept and len(sequence) <= max_tokens and weights.any():
            assert sequence in found


def test_only_the_sequence_that_is_too_long_is_cut():
    outcome = truncated(TREE, 6, "truncate_response")
    kept = outcome.kept[0]
    fitting, cut = [[100, 101, 102, 103], [100, 101, 104, 105, 109, 110]], [100, 101, 104, 105, 106, 107]
    assert read_sequences(kept) == [*fitting, cut]
    assert kept.branches[:, 1].tolist() == [-1, 1, -1] or kept.branches[:, 1].tolist() == [-1, 1, 5, -1]
    assert kept.tokens[-6:][kept.loss_weights[-6:] > 0].tolist() == [107]
    assert (outcome.account.num_tokens_cut, outcome.account.num_tokens_repeated) == (1, 4)
    assert outcome.account.num_supervised_cut == 1


# The ledger


def test_sources_are_named_without_their_line():
    assert source_file("a.jsonl:12") == "a.jsonl"
    assert source_file("a.json:12, item 3") == "a.json"
    assert source_file("folder/notes.txt") == "folder/notes.txt"
    assert source_file("odd:name.txt") == "odd:name.txt"
    assert source_file("") == ""


def test_ledger_adds_up_by_source():
    ledger = Ledger("drop", 10)
    accounts = np.arange(4 * len(Account._fields)).reshape(4, -1)
    ledger.add(["a:1", "b:1", "a:2"], accounts[:3])
    ledger.add(["c:1"], accounts[3:])
    told = ledger.to_dict()
    assert list(told["sources"]) == ["a", "b", "c"]
    assert list(told["sources"]["a"].values()) == (accounts[0] + accounts[2]).tolist()
    assert tuple(told["total"].values()) == ledger.total() == tuple(accounts.sum(axis=0))


def test_ledger_of_very_many_files_stays_small():
    ledger = Ledger("drop", 10)
    num_files = MAX_SOURCES + 50
    ledger.add([f"{number}.txt" for number in range(num_files)], np.ones((num_files, len(Account._fields)), np.int64))
    told = ledger.to_dict()
    assert len(told["sources"]) == MAX_SOURCES + 1
    assert told["sources"][OTHERS]["num_in"] == 50
    assert told["total"]["num_in"] == MAX_SOURCES + 50
