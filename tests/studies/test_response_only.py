"""The study's pure functions: checks of instructions, the conversations and their split, the comparison, the tables."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tunesmith.data import iter_conversations, write_data
from tunesmith.model import ModelConfig
from tunesmith.stats import mean_interval

FOLDER = Path(__file__).resolve().parents[2] / "studies"
if str(FOLDER) not in sys.path:
    sys.path.insert(0, str(FOLDER))

import comparison  # noqa: E402
import response_only as study  # noqa: E402
import verifiable_instructions as checks  # noqa: E402

LOSS = next(measure for measure in study.MEASURES if measure.key == "loss")
FOLLOWED = next(measure for measure in study.MEASURES if measure.key == "followed")


@pytest.fixture
def small(tmp_path):
    return study.Study(tmp_path, ModelConfig(), (0, 1, 2), 3.0, 16, 512, 96, 38)


# Instructions


@pytest.mark.parametrize(
    ("check", "accepted", "refused"),
    [
        (["all_capitals"], "TOKYO, 2 KM OFF.", "TOKYo"),
        (["all_capitals"], "A", "123"),
        (["all_lowercase"], "rain falls.", "Rain falls."),
        (["bullets", 2], "Here:\n- one\n- two", "- one\n- two\n- three"),
        (["bullets", 2], "- one\n- two", "* one\n* two"),
        (["numbered", 3], "1. a\n2. b\n3. c", "1. a\n3. b\n2. c"),
        (["numbered", 2], "So:\n\n1. a\n\n2. b", "1) a\n2) b"),
        (["at_most_words", 3], "It's a well-known", "one two three four"),
        (["at_least_words", 3], "one two three", "one, two"),
        (["one_sentence"], 'She said: "Go!"', "One. Two."),
        (["one_sentence"], "Is it 3.5 miles?", "no mark at the end"),
        (["one_sentence"], "Well...", "Done. \n\nMore"),
        (["paragraphs", 2], "one\nline\n\ntwo", "one\ntwo"),
        (["starts_with", "Snow"], "Snow falls.", "Snowing again."),
        (["starts_with", "Good morning"], "Good morning!", "A good morning!"),
        (["ends_with", "See you soon."], "Thanks. See you soon.", "Thanks. See you soon"),
        (["in_double_quotes"], '"Fresh bread"', '"Fresh" and "warm"'),
        (["in_double_quotes"], '"a"', '""'),
        (["contains_word", "green", 2], "Green grass, green leaves", "green greenery"),
        (["contains_word", "curious"], "Stay curious!", "Curiosity"),
        (["without_word", "red"], "It is colored and sacred.", "Red as fire"),
        (["without_commas"], "one and two", "one, two"),
        (["only_digits"], "7", "7 days"),
        (["only_digits"], "12", "１２"),
        (["is_one_of", "Yes", "No"], "Yes", "Yes."),
        (["json_with_keys", "name", "age"], '{"age": 30, "name": "Ana"}', '{"name": "Ana"}'),
        (["json_with_keys", "color"], '{"color": "green"}', '```json\n{"color": "green"}\n```'),
        (["json_with_keys", "color"], '{"color": null}', '["color"]'),
    ],
)
def test_checks(check, accepted, refused):
    name, *values = check
    instruction = checks.Instruction("one", "", ((name, tuple(values)),))
    assert checks.is_followed(instruction, f" {accepted}\n")
    assert not checks.is_followed(instruction, refused)


def test_every_check_must_pass_and_an_empty_answer_passes_none():
    both = checks.Instruction("both", "", (("without_commas", ()), ("at_most_words", (2,))))
    assert checks.is_followed(both, "two words")
    assert not checks.is_followed(both, "these are words")
    assert not checks.is_followed(both, " \n")


def test_the_instructions_hold_together():
    assert 30 <= len(checks.INSTRUCTIONS) <= 40
    assert len({each.id for each in checks.INSTRUCTIONS}) == len(checks.INSTRUCTIONS)
    used = {name for each in checks.INSTRUCTIONS for name, _ in each.checks}
    assert used == set(checks.CHECKS)
    for each in checks.INSTRUCTIONS:
        asked = [str(value) for _, values in each.checks for value in values if isinstance(value, str)]
        assert all(value in each.prompt for value in asked), each.id


def test_continuations():
    by_text = {each.text: each for each in checks.CONTINUATIONS}
    assert len(by_text) == len(checks.CONTINUATIONS)
    assert all(text == text.rstrip(" ") for text in by_text), "a last space would be a token of its own"
    counting = by_text["1, 2, 3, 4,"]
    assert checks.is_continued(counting, " 5, 6, 7")
    assert not checks.is_continued(counting, " 50, 60")
    assert not checks.is_continued(counting, "\n\nThis is a sequence of numbers: 5")
    code = by_text["def add(a, b):\n    return"]
    assert checks.is_continued(code, " a + b\n")
    assert not checks.is_continued(code, "\n\nHere is the function: a + b")


# Conversations and their split


def pair(number, response="Yes."):
    return {"id": f"task{number}", "prompt": f"Question about topic {number * 7919}?", "response": response}


def test_all_runs_hold_out_the_same_conversations(small, tmp_path):
    small.source.write_text("".join(json.dumps(pair(number)) + "\n" for number in range(40)))
    sides = set()
    for arm, seed in small.runs():
        folder = tmp_path / study.run_name(arm, seed)
        write_data(small.recipe(arm, seed).data, folder)
        names = ("conversations", "heldout")
        kept, held = (tuple(each.id for each in iter_conversations(folder / f"{name}.jsonl")) for name in names)
        assert (len(kept), len(held)) == (34, 6)
        assert set(kept).isdisjoint(held)
        sides.add((kept, held))
    assert len(sides) == 1


def test_arms_differ_in_what_they_train_on_and_in_nothing_else(small):
    one, other = (small.recipe(arm, 2) for arm in study.TUNED)
    assert (one.render.train_on, other.render.train_on) == ("assistant", "response_only")
    assert one.model_copy(update={"name": other.name, "render": other.render}) == other
    assert (one.train.seed, one.pack.seed, one.data.seed) == (2, 2, 0)


def test_a_result_is_known_while_nothing_that_it_depends_on_changed(small):
    path = study.result_path(small, "assistant", 1)
    path.parent.mkdir()
    path.write_text(json.dumps({"mark": study.mark_of(small, "assistant", 1, "abc")}))
    assert study.known_result(small, "assistant", 1, "abc") is not None
    assert study.known_result(small, "assistant", 0, "abc") is None
    assert study.known_result(small, "assistant", 1, "other conversations") is None
    assert study.known_result(replace(small, epochs=2.0), "assistant", 1, "abc") is None


# The comparison


def result(arm, seed, values, weights=None, key="loss"):
    weights = weights or [1] * len(values)
    items = [{"id": str(n), "value": v, "weight": w} for n, (v, w) in enumerate(zip(values, weights, strict=True))]
    asked = [{**each, "num_tokens": 10, "stopped": True} for each in items]
    empty = {measure.key: items for measure in study.MEASURES} | {"followed": asked}
    return {"arm": arm, "seed": seed, **empty, key: asked if key == "followed" else items}


def test_weighted_items_keep_the_mean_of_all_tokens():
    values, weights = np.array([1.0, 2.0, 6.0]), np.array([10.0, 30.0, 60.0])
    linear = comparison.linearized(values, weights)
    assert linear.mean() == pytest.approx(4.3)
    # the residuals of the ratio estimator: weight x (value - mean) / mean weight
    assert linear - 4.3 == pytest.approx(weights * (values - 4.3) / weights.mean())
    assert comparison.linearized(values, np.ones(3)) == pytest.approx(values)


def test_differences_are_paired_by_seed():
    results = [result("assistant", seed, [1.0 + seed, 3.0 + seed], [3, 1]) for seed in (0, 1, 2)]
    results += [result("response_only", seed, [1.5 + seed + seed / 10, 3.5 + seed], [3, 1]) for seed in (2, 1, 0)]
    found = study.compare(results, LOSS, "response_only", "assistant")
    assert sorted(found.by_seed) == pytest.approx([0.5, 0.575, 0.65])
    assert found.over_seeds == pytest.approx(mean_interval([0.5, 0.575, 0.65]))
    assert found.over_items[0] <= found.mean <= found.over_items[1]


def test_the_one_base_stands_beside_every_seed():
    results = [result("base", 0, [1.0, 2.0]), *(result("assistant", seed, [1.5 + seed, 2.5]) for seed in (0, 1))]
    assert study.compare(results, LOSS, "assistant", "base").by_seed == pytest.approx((0.5, 1.0))


def test_equal_seeds_and_single_items_have_no_spread():
    results = [result(arm, seed, [1.0]) for arm in study.TUNED for seed in (0, 1)]
    found = study.compare(results, LOSS, *study.TUNED)
    assert (found.over_seeds, found.over_items) == (None, None)


def test_few_flips_allow_for_those_that_went_unseen():
    results = [result(arm, seed, [1.0] * 16, key="followed") for arm in study.TUNED for seed in (0, 1)]
    low, high = study.compare(results, FOLLOWED, *study.TUNED).over_items
    assert low < -0.15
    assert high > 0.15


@pytest.mark.parametrize(
    ("by_seed", "over_seeds", "over_items", "said"),
    [
        ((0.2, 0.3), (0.1, 0.4), (0.05, 0.5), "+0.250; higher: both intervals exclude zero."),
        ((-0.2, -0.3), (-0.4, -0.1), (-0.5, -0.05), "-0.250; lower: both intervals exclude zero."),
        ((0.2, 0.3), (-0.1, 0.4), (0.1, 0.5), "not shown: the interval over seeds includes zero."),
        ((0.2, 0.3), (0.1, 0.4), (-0.1, 0.5), "not shown: the interval over items includes zero."),
        ((0.2, 0.3), (-0.1, 0.4), (-0.1, 0.5), "the interval over seeds and the one over items include zero."),
        ((0.2, 0.2), None, (0.1, 0.3), "on every seed; the interval over items excludes zero"),
        ((0.2, 0.2), None, (-0.1, 0.3), "not shown: the interval over items includes zero."),
        ((0.2,), None, (0.1, 0.3), "one seed or one item tells nothing of the spread"),
        ((0.2, 0.3), (0.1, 0.4), (-0.3, -0.1), "the two intervals lie on different sides of zero."),
    ],
)
def test_readings_follow_from_the_numbers(by_seed, over_seeds, over_items, said):
    difference = study.Difference(FOLLOWED, "response_only", "base", by_seed, over_seeds, over_items)
    assert said in study.reading(difference)


def test_the_page_tells_the_numbers_and_what_they_cannot_say():
    results = [result("base", 0, [1.0, 2.0])]
    results += [result(arm, seed, [1.5 + seed / 4, 2.5]) for seed in (0, 1, 2) for arm in study.TUNED]
    differences = [study.compare(results, measure, *arms) for measure in study.MEASURES for arms in study.PAIRS]
    facts = {
        "machine": {"cpu": "one"},
        "options": {"seeds": (0, 1, 2), "epochs": 3.0, "model": ModelConfig()},
        "data": {"num_conversations": 40, "num_dropped": 2},
    }
    text = study.page(results, differences, facts)
    assert study.START in text
    assert "| base | 1.500 | 1.500 | 1.500 | 1.500 | 10.000 | 0.000 |" in text
    assert "| assistant | 2.125 ± 0.125 |" in text
    assert "| held-out loss | response_only − assistant | +0.000 | no spread |" in text
    assert "| held-out loss | assistant − base | +0.625 | +0.314 to +0.936 |" in text
    assert "12 comparisons; the intervals are not widened" in text
    assert "- cpu: one" in text


def test_smoke_is_next_to_nothing_and_goes_elsewhere():
    options = study.parse(["--smoke"])
    assert (options.conversations, options.seeds, options.epochs) == (8, [0], 1.0)
    assert options.out != study.parse([]).out
