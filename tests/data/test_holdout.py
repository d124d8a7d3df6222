import json
from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data import DataConfig, iter_conversations, write_data
from tunesmith.data.holdout import heldout_indices, question_text
from tunesmith.errors import DataError
from tunesmith.text.minhash import shingles
from tunesmith.types import Conversation, Message

NUM_REAL = 3000


def reachable_sizes(clusters):
    sums = {0}
    for size in Counter(clusters).values():
        sums |= {size + reached for reached in sums}
    return sums - {0, len(clusters)}


@given(clusters=st.lists(st.integers(0, 6), min_size=2, max_size=30), data=st.data(), seed=st.integers(0, 99))
def test_whole_clusters_as_near_to_the_target_as_can_be(clusters, data, seed):
    target = data.draw(st.integers(1, len(clusters) - 1))
    sizes = reachable_sizes(clusters)
    if not sizes:
        with pytest.raises(DataError, match="near-duplicates of each other"):
            heldout_indices(clusters, target, seed)
        return
    held = heldout_indices(clusters, target, seed)
    assert abs(len(held) - target) == min(abs(size - target) for size in sizes)
    assert not {clusters[index] for index in held} & {
        cluster for index, cluster in enumerate(clusters) if index not in held
    }


def test_the_seed_decides():
    chosen = [frozenset(heldout_indices(range(1000), 0.1, seed)) for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert [len(held) for held in chosen] == [100, 100, 100]


def test_every_conversation_has_the_same_chance():
    counts = Counter(index for seed in range(400) for index in heldout_indices(range(10), 3, seed))
    assert all(80 < counts[index] < 160 for index in range(10))


@pytest.mark.parametrize(("holdout", "expected"), [(0.001, 1), (0.25, 2), (3, 3), (9, 9), (0.94, 9)])
def test_fractions_and_counts(holdout, expected):
    assert len(heldout_indices(range(10), holdout, 0)) == expected


@pytest.mark.parametrize("holdout", [10, 11, 0.99])
def test_something_must_stay_to_train_on(holdout):
    with pytest.raises(DataError, match="leaves none to train on"):
        heldout_indices(range(10), holdout, 0)


@pytest.mark.parametrize(
    ("conversation", "expected"),
    [
        (Conversation("x", text="once"), "once"),
        (Conversation("x", (Message("system", "s"), Message("user", "q"), Message("assistant", "a"))), "q"),
        (Conversation("x", (Message("user", "q"), Message("assistant", "a"), Message("user", "r"))), "q\nr"),
        (Conversation("x", (Message("assistant", "a"),)), "a"),
    ],
)
def test_the_text_that_is_compared(conversation, expected):
    assert question_text(conversation) == expected


def similar_pairs(texts, threshold):
    """Every pair of near-duplicates, exactly, by an inverted index."""
    sets = [shingles(text) for text in texts]
    places: dict[str, list[int]] = {}
    for index, grams in enumerate(sets):
        for gram in grams:
            places.setdefault(gram, []).append(index)
    shared = Counter(pair for indices in places.values() for pair in combinations(indices, 2))
    return [pair for pair, count in shared.items() if count / len(sets[pair[0]] | sets[pair[1]]) >= threshold]


def test_no_near_duplicates_across_the_sides_on_real_data(shared_data, write_file, tmp_path):
    with (shared_data / "gsm8k" / "train.jsonl").open() as file:
        rows = [json.loads(line) for _, line in zip(range(NUM_REAL), file, strict=False)]
    # Real questions with other numbers are near-duplicates too rare to test on, so each third gets a variant.
    rows += [{**row, "question": f"{row['question']} Please answer."} for row in rows[::3]]
    path = write_file("rows.jsonl", rows)
    config = DataConfig(paths=(str(path),), prompt_field="question", response_field="answer", holdout=0.2)
    facts = write_data(config, tmp_path / "out")
    assert (facts["num_out"], facts["num_heldout"]) == (len(rows) * 4 // 5, len(rows) // 5)
    sides = [list(iter_conversations(tmp_path / "out" / f"{name}.jsonl")) for name in ("conversations", "heldout")]
    num_train = len(sides[0])
    pairs = similar_pairs([question_text(conversation) for side in sides for conversation in side], 0.7)
    assert len(pairs) > NUM_REAL // 4
    assert not [pair for pair in pairs if (pair[0] < num_train) != (pair[1] < num_train)]
