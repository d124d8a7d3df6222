"""The sets of the panel: large enough, distinct, of two levels, readable; and the table of taxes is sound."""

import csv
import inspect
import math
import re
from importlib.resources import files
from pathlib import Path

import pytest

from tunesmith.evaluate import EvaluateConfig
from tunesmith.evaluate.taxes import TAXES
from tunesmith.verify import BUILT_IN, read_items
from tunesmith.verify.abstention import abstention
from tunesmith.verify.equivalence import equal

SETS = sorted({tax.panel_set.name for tax in TAXES})


def items_of(name):
    return read_items(files("tunesmith") / "verify" / "sets" / f"{name}.jsonl")


def asked(item):
    return (item.text or " ".join(message.content for message in item.messages)).casefold()


@pytest.mark.parametrize("name", SETS)
def test_a_set_has_sixty_different_items_of_two_levels(name):
    items = items_of(name)
    assert len({asked(item) for item in items}) == len(items) >= 60
    levels = [tag for item in items for tag in item.tags if tag.startswith("level:")]
    assert len(levels) == len(items)
    assert set(levels) == {"level:1", "level:2"}
    assert min(levels.count("level:1"), levels.count("level:2")) >= len(items) / 5
    assert {item.split for item in items} == {"gate"}


def test_names_are_distinct_and_scorers_known():
    assert len({tax.name for tax in TAXES}) == len(TAXES)
    for tax in TAXES:
        assert tax.panel_set.scorer in BUILT_IN
        assert tax.about.endswith(".")
        assert tax.better in ("higher", "lower")


def test_a_set_is_asked_in_one_way():
    assert len({tax.panel_set for tax in TAXES}) == len(SETS)


def test_what_the_panel_costs_is_told_truly():
    asked = {tax.panel_set for tax in TAXES}
    answers = {each: len(items_of(each.name)) * each.num_samples for each in asked}
    tokens = sum(number * each.sampling.max_tokens for each, number in answers.items())
    told = f"{sum(answers.values())} answers, {math.ceil(tokens / 1000)},000 tokens at most"
    assert told in inspect.getsource(EvaluateConfig)
    page = (Path(__file__).parents[2] / "docs" / "taxes.md").read_text()
    assert f"{sum(answers.values())} answers a model, at most {math.ceil(tokens / 1000)},000 tokens" in page
    for each, number in answers.items():
        assert f"{number} of {each.sampling.max_tokens}" in page


def test_refusals_are_a_two_by_two_table():
    items = items_of("refusals")
    wanted = {"safe": "comply", "unsafe": "refuse"}
    for item in items:
        [side] = set(wanted) & set(item.tags)
        assert item.answer["value"] == wanted[side]
    safe, unsafe = ({item.cluster for item in items if side in item.tags} for side in wanted)
    assert len([item for item in items if "safe" in item.tags]) >= 60
    assert len([item for item in items if "unsafe" in item.tags]) >= 40
    assert len(safe & unsafe) >= 30  # contrast pairs: the same words with another meaning


def test_questions_are_traps_beside_controls_of_the_same_form():
    items = items_of("questions")
    traps = [item for item in items if "trap" in item.tags]
    controls = [item for item in items if "control" in item.tags]
    assert len(traps) >= 60
    assert len(controls) >= 40
    assert len(traps) + len(controls) == len(items)
    assert {item.answer["type"] for item in traps} == {"none"}
    assert "none" not in {item.answer["type"] for item in controls}
    assert {item.cluster for item in controls} <= {item.cluster for item in traps}
    for item in traps:
        assert ("false-premise" in item.tags) == bool(item.answer.get("aliases"))


def test_what_corrects_a_premise_does_not_stand_in_the_question():
    for item in items_of("questions"):
        if "trap" in item.tags:
            for word in item.answer.get("aliases", ()):
                assert not re.search(rf"(?<!\w){re.escape(word)}(?!\w)", asked(item)), item.id


def test_what_a_good_answer_says_is_read_as_one():
    for item in items_of("questions"):
        score, why, _ = abstention(item.record, item.answer["value"])
        assert score == 1.0, (item.id, why)


def test_open_questions_say_what_a_good_answer_holds():
    for item in items_of("writing"):
        assert item.rubric.endswith(".")
        assert not item.answer


def test_paraphrases_are_three_wordings_of_one_answer():
    parts = {}
    for item in items_of("paraphrases"):
        assert equal(item.record, f"{item.answer['value']}.")[0] == 1.0
        parts.setdefault(item.cluster, []).append(item)
    assert len(parts) >= 20
    for part in parts.values():
        assert len(part) == 3
        assert len({str(item.answer) for item in part}) == 1


@pytest.mark.parametrize("name", SETS)
def test_prompts_are_not_those_of_the_benchmark(name, shared_data):
    """No six words in a row of XSTest's prompts stand in ours."""

    def grams(text):
        words = re.findall(r"\w+", text.casefold())
        return {tuple(words[n : n + 6]) for n in range(len(words) - 5)}

    with (shared_data / "xstest" / "xstest_prompts.csv").open(encoding="utf-8") as file:
        theirs = set().union(*(grams(row["prompt"]) for row in csv.DictReader(file)))
    assert theirs
    for item in items_of(name):
        assert not grams(asked(item)) & theirs, item.id
