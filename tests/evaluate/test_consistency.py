"""Consistency over wordings, and diversity of drawn answers: values by hand, bounds, copies."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taxing import answer

from tunesmith.evaluate.taxes.consistency import CONSISTENCY, PARAPHRASED
from tunesmith.evaluate.taxes.variety import DIVERSITY, dissimilarity, distinct, self_bleu
from tunesmith.verify.equivalence import equal

NUMBER = {"type": "number", "value": "8"}
WORDS = st.text(alphabet="ab c8.", max_size=30)


def told(*texts, asked=NUMBER):
    """Answers to the wordings of one question, judged as the panel judges them."""
    found = [answer(text, item=str(at), answer=asked) for at, text in enumerate(texts)]
    return [replace(each, sample=replace(each.sample, score=equal({"answer": asked}, each.text)[0])) for each in found]


@pytest.mark.parametrize(
    ("texts", "shares"),
    [
        (("8", "A spider has eight legs.", "It is 8."), (1.0, 1.0, 1.0)),
        (("8", "8", "6"), (0.5, 0.5, 0.0)),
        (("6", "It has six legs.", "8"), (0.5, 0.5, 0.0)),
        (("6", "7", "10"), (0.0, 0.0, 0.0)),
        (("", "", ""), (0.0, 0.0, 0.0)),
        (("I do not know", "6", "Well!"), (0.0, 0.0, 0.0)),
    ],
)
def test_answers_agree_when_they_mean_the_same(texts, shares):
    assert tuple(CONSISTENCY.measure(told(*texts)).values()) == shares


def test_names_agree_within_a_sentence():
    asked = {"type": "text", "value": "Canberra"}
    values = CONSISTENCY.measure(told("Sydney", "The capital is Sydney.", "Canberra", asked=asked))
    assert list(values.values()) == [0.5, 0.5, 0.0]
    assert list(PARAPHRASED.measure(told("Sydney", "Canberra.", asked=asked)).values()) == [0.0, 1.0]


def test_a_wording_alone_has_nothing_to_agree_with():
    assert CONSISTENCY.measure(told("8")) == CONSISTENCY.measure([]) == {}


@given(st.lists(WORDS, min_size=2, max_size=3))
def test_agreement_does_not_depend_on_order(texts):
    forth = CONSISTENCY.measure(told(*texts)).values()
    back = CONSISTENCY.measure(told(*reversed(texts))).values()
    assert list(forth) == list(reversed(list(back)))
    assert all(0 <= value <= 1 for value in forth)


def test_dissimilarity_by_hand():
    # Words: two of three are common; pairs: "a b"; threes: none.
    assert dissimilarity("a b c", "a b d") == pytest.approx((1 / 3 + 1 / 2 + 1) / 3)
    assert dissimilarity("A, b!", "a b") == 0.0
    assert dissimilarity("a b c", "d e f") == 1.0


@given(WORDS, WORDS)
def test_dissimilarity_is_bounded_and_symmetric(one, other):
    assert dissimilarity(one, one) == 0.0
    assert 0.0 <= dissimilarity(one, other) == dissimilarity(other, one) <= 1.0


def test_diversity_is_the_mean_over_pairs():
    assert DIVERSITY.measure([answer("a b c")] * 3) == {"a": 0.0}
    assert DIVERSITY.measure([answer("a b c"), answer("d e f"), answer("g h i")]) == {"a": 1.0}
    assert DIVERSITY.measure([answer("a b c"), answer("a b c"), answer("d e f")]) == pytest.approx({"a": 2 / 3})
    assert DIVERSITY.measure([answer("a b c")]) == {}


def test_the_other_figures_by_hand():
    assert distinct(["a b", "a c"], 1) == 3 / 4
    assert distinct(["a b", "a b"], 2) == 1 / 2
    assert distinct([""], 1) == 0.0
    assert self_bleu(["a b c d"] * 2) == 1.0
    assert self_bleu(["a b c d", "e f g h"]) == 0.0
    # Precisions of the first against the second: 3/4, 2/3, 1/2; of the second against the first the same.
    assert self_bleu(["a b c d", "a b c e"]) == pytest.approx((3 / 4 * 2 / 3 * 1 / 2) ** (1 / 3))
    facts = DIVERSITY.facts([answer("a b c d"), answer("a b c e")])
    assert facts == pytest.approx({"distinct_1": 5 / 8, "distinct_2": 4 / 6, "self_bleu": (1 / 4) ** (1 / 3)})
