import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.text.minhash import (
    NUM_PERMUTATIONS,
    UnionFind,
    near_duplicate_clusters,
    num_bands,
    shingles,
)

STORY = "the quick brown fox jumps over the lazy dog while seven old wizards brew a strange green potion"


def variants(num_changed, count, seed=0):
    """The story, and copies of it with some words replaced."""
    dice = random.Random(seed)
    texts = [STORY]
    for number in range(count):
        changed = STORY.split()
        for place in dice.sample(range(len(changed)), num_changed):
            changed[place] = f"word{number}x{place}"
        texts.append(" ".join(changed))
    return texts


def jaccard(first, second):
    return len(shingles(first) & shingles(second)) / len(shingles(first) | shingles(second))


@given(pairs=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_union_find_joins_what_is_connected(pairs):
    sets, expected = UnionFind(), [{number} for number in range(10)]
    for _ in range(10):
        sets.add()
    for first, second in pairs:
        sets.union(first, second)
        joined = expected[first] | expected[second]
        for member in joined:
            expected[member] = joined
    labels = sets.labels()
    assert all((labels[a] == labels[b]) == (b in expected[a]) for a in range(10) for b in range(10))
    assert list(dict.fromkeys(labels)) == list(range(len(set(labels))))


def test_equal_up_to_case_and_punctuation_is_one_cluster():
    texts = ["How are you today?", "how are you, TODAY", "Where are you today?", "Ｈow are you today"]
    assert near_duplicate_clusters(texts) == [0, 0, 1, 0]


def test_short_and_wordless_texts():
    texts = ["yes", "Yes!", "no", "+++", "---", "+++", "", " "]
    assert near_duplicate_clusters(texts) == [0, 0, 1, 2, 3, 2, 4, 4]


def test_a_chain_of_near_duplicates_is_one_cluster():
    words = [f"w{number}" for number in range(60)]
    texts = [" ".join(words[start : start + 40]) for start in range(0, 20, 2)]
    assert jaccard(texts[0], texts[-1]) < 0.5
    assert near_duplicate_clusters(texts) == [0] * len(texts)


def test_different_texts_stay_apart():
    texts = [" ".join(f"w{number}x{place}" for place in range(20)) for number in range(300)]
    assert near_duplicate_clusters(texts) == list(range(300))


def test_many_equal_texts_cost_little():
    assert set(near_duplicate_clusters(["the very same text again"] * 20_000)) == {0}


def test_texts_are_read_one_at_a_time():
    assert near_duplicate_clusters(text for text in ["a b c d", "x y z", "a b c d"]) == [0, 1, 0]


@pytest.mark.parametrize("seed", [0, 7])
def test_equal_seeds_give_equal_clusters(seed):
    texts = [text for number in range(40) for text in variants(2, 3, seed=number)]
    assert near_duplicate_clusters(texts, seed=seed) == near_duplicate_clusters(texts, seed=seed)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.9, 1.0])
def test_every_pair_at_the_threshold_is_united(threshold):
    texts = [f"{text} {number // 5}" for number, text in enumerate(variants(1, 99))]
    labels = near_duplicate_clusters(texts, threshold)
    pairs = [(a, b) for a in range(100) for b in range(a) if jaccard(texts[a], texts[b]) >= threshold]
    assert all(labels[a] == labels[b] for a, b in pairs)


def test_agrees_with_datasketch_on_clear_cases():
    datasketch = pytest.importorskip("datasketch")
    texts = [text for number in range(20) for text in (f"{number} " + " ".join(f"t{number}w{p}" for p in range(40)),)]
    texts += [f"{text} indeed" for text in texts[::2]]
    oracle = datasketch.MinHashLSH(threshold=0.7, num_perm=NUM_PERMUTATIONS)
    expected = UnionFind()
    for text in texts:
        number = expected.add()
        sketch = datasketch.MinHash(num_perm=NUM_PERMUTATIONS)
        sketch.update_batch([gram.encode() for gram in shingles(text)])
        for found in oracle.query(sketch):
            expected.union(int(found), number)
        oracle.insert(str(number), sketch)
    assert near_duplicate_clusters(texts) == expected.labels()
    assert len(set(expected.labels())) == 20


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.99, 1.0])
def test_bands_divide_the_permutations_and_find_enough(threshold):
    bands = num_bands(threshold)
    assert NUM_PERMUTATIONS % bands == 0
    if bands < NUM_PERMUTATIONS:
        assert 1 - (1 - threshold ** (NUM_PERMUTATIONS // bands)) ** bands >= 0.999


@pytest.mark.parametrize("threshold", [0, -1, 1.1])
def test_thresholds_out_of_range(threshold):
    with pytest.raises(ValueError, match="threshold"):
        near_duplicate_clusters(["a"], threshold)
