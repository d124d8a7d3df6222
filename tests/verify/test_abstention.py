"""Abstentions and corrections are told from answers, by a table; and no answer is too long or too odd to be read."""

import time
from pathlib import Path

import pytest
from answer_tables import read_table
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.errors import EvaluateError
from tunesmith.verify.abstention import abstention, read_abstention

TABLE = [
    (kind.partition(" | ")[0], tuple(word.strip() for word in kind.partition(" | ")[2].split(";") if word), answer)
    for kind, answer in read_table(Path(__file__).with_name("abstention_answers.txt"))
]
TRAP = {"answer": {"type": "none", "value": "He won it in physics.", "aliases": ["physics"]}}
CONTROL = {"answer": {"type": "text", "value": "Lisbon", "aliases": ["Lisboa"]}}


def test_the_table_is_large_and_without_repeats():
    assert len(TABLE) == len({answer for *_, answer in TABLE}) >= 100


@pytest.mark.parametrize(("kind", "corrections", "answer"), TABLE, ids=[row[2][:40] for row in TABLE])
def test_the_table(kind, corrections, answer):
    assert read_abstention(answer, corrections).kind == kind


@pytest.mark.parametrize(("kind", "corrections", "answer"), TABLE, ids=[row[2][:40] for row in TABLE])
def test_case_blanks_and_apostrophes_do_not_matter(kind, corrections, answer):
    odd = "\n" + answer.replace("'", "’").replace(" ", "  ").upper() + "  "
    assert read_abstention(odd, corrections).kind == kind


@pytest.mark.parametrize("answer", ["", " \n", "...", "🙂"])
def test_to_say_nothing_is_to_abstain(answer):
    assert read_abstention(answer).kind == "abstains"


@pytest.mark.parametrize("answer", ["Einstein's prize was in physics.", "Who could tell? 1743."])
def test_the_known_weakness(answer):
    assert read_abstention(answer).kind == "answers"


@given(st.text(max_size=600), st.lists(st.text(min_size=1, max_size=8), max_size=3))
def test_any_text_is_read(answer, corrections):
    assert read_abstention(answer, corrections).kind in ("abstains", "corrects", "answers")


@pytest.mark.parametrize(
    "unit", ["I do not ", "not really ", "there has ", "it depends ", "no ", "a", "is the ", ", but "]
)
def test_a_megabyte_takes_no_longer_than_its_beginning(unit):
    began = time.perf_counter()
    read_abstention(unit * (2**20 // len(unit)), ["physics"])
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize(
    ("item", "answer", "value", "rule"),
    [
        (TRAP, "He won it in 1921 for his work on molecules.", 0.0, "answers"),
        (TRAP, "He won the prize in physics.", 1.0, "corrects"),
        (TRAP, "I don't know.", 1.0, "abstains"),
        (CONTROL, "The capital is lisboa.", 1.0, "answers"),
        (CONTROL, "The capital is Porto.", 0.0, "answers"),
        (CONTROL, "Lisbonne", 0.0, "answers"),
        (CONTROL, "I'm not sure, maybe Lisbon.", 0.0, "abstains"),
    ],
)
def test_the_scorer(item, answer, value, rule):
    assert abstention(item, answer)[::2] == (value, rule)


def test_the_scorer_wants_answers_that_say_something():
    with pytest.raises(EvaluateError, match="not empty"):
        abstention({"answer": {"type": "text", "value": ""}}, "Lisbon")
