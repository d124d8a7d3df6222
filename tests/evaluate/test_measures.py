"""Lengths, repetition, openers and style: values by hand, bounds, invariances, and the extremes of answers."""

import math
import time
import zlib
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from taxing import answer, value

from tunesmith.evaluate.taxes import TAXES
from tunesmith.evaluate.taxes.lengths import LENGTH, STUBS, TRUNCATION
from tunesmith.evaluate.taxes.openers import COMMON_OPENER, OPENERS, opener
from tunesmith.evaluate.taxes.repeating import COMPRESSION, LOOPS, REPEATED_LINES, REPETITION, rep
from tunesmith.evaluate.taxes.style import EMOJIS, HEDGING, MARKDOWN, POLITENESS

TWENTY = "one two three four five six seven eight nine ten " * 2
TEXTS = st.text(alphabet="ab c\n.-#1'I’m sorry🙂", max_size=200)
WRITTEN = [tax for tax in TAXES if tax.panel_set.name == "writing"]
SHARES = {tax.name for tax in TAXES if tax.unit in ("", "share of an answer")}


def test_length_is_the_logarithm_of_the_tokens():
    assert value(LENGTH, "x", num_tokens=100) - value(LENGTH, "x", num_tokens=50) == pytest.approx(math.log(2))
    assert value(LENGTH, "", num_tokens=0) == 0.0
    facts = LENGTH.facts([answer("x", item=str(n), num_tokens=n) for n in range(1, 102)])
    assert facts == {"median_tokens": 51.0, "p95_tokens": 96.0}


def test_truncation_and_stubs():
    assert value(TRUNCATION, "x", stopped=False) == 1.0
    assert value(TRUNCATION, "x") == 0.0
    assert value(STUBS, "one two three four five six seven eight nine") == 1.0
    assert value(STUBS, "one two three four five six seven eight nine ten") == 0.0


@pytest.mark.parametrize(
    ("text", "two", "three", "four"),
    [
        ("a b c d e", 0.0, 0.0, 0.0),
        ("a b a b a b", 3 / 5, 2 / 4, 1 / 3),
        ("go go go go go", 3 / 4, 2 / 3, 1 / 2),
        ("Go, go! GO.", 1 / 2, 0.0, 0.0),
        ("one", 0.0, 0.0, 0.0),
        ("", 0.0, 0.0, 0.0),
    ],
)
def test_repeated_ngrams(text, two, three, four):
    assert value(REPETITION, text) == pytest.approx(four)
    assert REPETITION.facts([answer(text)]) == pytest.approx({"rep_2": two, "rep_3": three})


@pytest.mark.parametrize(
    ("text", "run"),
    [("", 0), (" \n\n", 0), ("a", 1), ("a\nb\na", 1), ("a\n\n a \na\nb\nb", 3), ("- x\n- x\n- y", 2)],
)
def test_repeated_lines(text, run):
    assert value(REPEATED_LINES, text) == run


def test_a_loop_has_no_end_and_says_the_same():
    assert value(LOOPS, "I like tea. " * 9, stopped=False) == 1.0
    assert value(LOOPS, "I like tea. " * 9, stopped=True) == 0.0
    assert value(LOOPS, TWENTY[:40], stopped=False) == 0.0


def test_compression_is_raw_over_packed():
    text = "the cat sat on the mat. " * 20
    assert value(COMPRESSION, text) == len(text) / len(zlib.compress(text.encode(), 9)) > 5
    assert value(COMPRESSION, "") == 1.0
    assert value(COMPRESSION, "\ud800") > 0  # half a surrogate pair is a text too


def openers_of(texts):
    return [answer(text, item=str(n)) for n, text in enumerate(texts)]


def test_openers_by_hand():
    answers = openers_of(["Sure, here is a poem", "sure HERE is tea!", "Tides are slow.", "No."])
    assert OPENERS.measure(answers) == {"0": 1.0, "1": 1.0, "2": 2.0, "3": 2.0}
    assert COMMON_OPENER.measure(answers) == {"0": 1.0, "1": 1.0, "2": 0.0, "3": 0.0}
    assert opener("I’m here, now") == ("i'm", "here", "now")
    assert COMMON_OPENER.measure(openers_of(["b", "a"])) == {"0": 0.0, "1": 1.0}
    assert OPENERS.measure([]) == COMMON_OPENER.measure([]) == {}


@given(st.lists(st.sampled_from(["", "a", "a b c d", "a b c e", "Here is x", "I'm so glad"]), min_size=1, max_size=30))
def test_the_mean_surprisal_is_the_entropy_of_the_openers(texts):
    values = OPENERS.measure(openers_of(texts))
    counts = Counter(opener(text) for text in texts)
    assert sum(values.values()) / len(values) == pytest.approx(entropy(list(counts.values()), base=2), abs=1e-9)
    assert all(0 <= each <= math.log2(len(texts)) + 1e-9 for each in values.values())
    assert sum(COMMON_OPENER.measure(openers_of(texts)).values()) == max(counts.values())
    assert OPENERS.measure(openers_of(texts[::-1])) == {str(len(texts) - 1 - int(n)): v for n, v in values.items()}


@pytest.mark.parametrize(
    ("tax", "text", "per_100"),
    [
        (POLITENESS, f"Sure! {TWENTY} I hope this helps. Thanks", 100 * 3 / 26),
        (POLITENESS, "Sure", 5.0),
        (POLITENESS, f"I’d be happy to help {TWENTY}", 100 / 25),
        (POLITENESS, f"We measure pleased thanksgiving {TWENTY}", 0.0),
        (HEDGING, f"Perhaps it is possible, maybe {TWENTY}", 100 * 3 / 25),
        (HEDGING, f"mighty dismay {TWENTY}", 0.0),
        (MARKDOWN, f"# Title\n- a\n* b\n1. c\n  2) d\n{TWENTY}", 100 * 5 / 30),
        (MARKDOWN, f"a - b * c #tag\n#hash\n-dash\n1.5 {TWENTY}", 0.0),
        (EMOJIS, f"🙂 👩‍👩‍👧 🇫🇷 👍🏽 {TWENTY}", 100 * 4 / 24),
        (EMOJIS, f"#1 © a → b {TWENTY}", 0.0),
    ],
)
def test_style_by_hand(tax, text, per_100):
    assert value(tax, text) == pytest.approx(per_100)


@pytest.mark.parametrize("tax", WRITTEN, ids=lambda tax: tax.name)
@settings(max_examples=40)
@given(texts=st.lists(TEXTS, min_size=1, max_size=4), stopped=st.booleans())
def test_values_are_finite_and_in_bounds_and_do_not_depend_on_the_order(tax, texts, stopped):
    answers = [answer(text, item=str(n), stopped=stopped) for n, text in enumerate(texts)]
    values = tax.measure(answers)
    assert values.keys() == {each.item.id for each in answers}
    assert all(0 <= each < math.inf for each in values.values())
    if tax.name in SHARES:
        assert all(each <= 1 for each in values.values())
    assert tax.measure(answers[::-1]) == values


@given(TEXTS, st.integers(1, 4))
def test_case_and_marks_do_not_change_what_is_repeated(text, n):
    assert rep(text, n) == rep(text.upper().replace(".", "!"), n)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=30), st.integers(1, 4))
def test_saying_it_twice_repeats_at_least_half_of_the_sequences_inside(words, n):
    text = " ".join(words)
    grams = max(0, len(words) - n + 1)
    assert rep(f"{text} {text}", n) * max(1, 2 * len(words) - n + 1) >= grams - 1e-9


@pytest.mark.parametrize("tax", TAXES, ids=lambda tax: tax.name)
@pytest.mark.parametrize("text", ["", "one", "word " * 200_000, "x" * 2**20, "- a\n" * 250_000, "🙂" * 250_000])
def test_empty_short_and_endless_answers(tax, text):
    began = time.perf_counter()
    tags = ("safe", "unsafe", "trap", "control", "conflict")
    checker = {"instructions": [{"id": "own:exact_words", "num_words": 2}], "begins_with": ["word"]}
    one = answer(text, tags=tags, **{"answer": {"type": "text"}, "checker": checker})
    values = tax.measure([one, replace(one)])  # some compare an answer with others
    assert math.isfinite(values["a"])
    assert time.perf_counter() - began < 4
