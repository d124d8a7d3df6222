"""Formats, priorities and continuations: every checker can be met and missed, conflicts have controls, taxes tell."""

import json
from collections import Counter
from importlib.resources import files

import pytest
from fakes import Fake, task
from taxing import answer

from tunesmith.errors import EvaluateError, TemplateRefusal
from tunesmith.evaluate import evaluate
from tunesmith.evaluate.taxes.locking import CONTINUATION, STYLE_LOCKING
from tunesmith.evaluate.taxes.obedience import FORMAT_CHATTER, FORMAT_OBEDIENCE, RULES_FOLLOWED, RULES_KEPT
from tunesmith.verify import BUILT_IN, read_items
from tunesmith.verify.continuing import CHAT, OTHER, continues

SCORERS = {"format": "ifeval_strict", "priorities": "ifeval_strict", "continuations": "continues"}


def items_of(name):
    return read_items(files("tunesmith") / "verify" / "sets" / f"{name}.jsonl")


ITEMS = [(name, item) for name in SCORERS for item in items_of(name)]
IDS = [item.id for _, item in ITEMS]


@pytest.mark.parametrize(("name", "item"), ITEMS, ids=IDS)
def test_every_checker_is_met_by_its_good_example_and_missed_by_its_bad_one(name, item):
    score, _ = BUILT_IN[SCORERS[name]]
    good, bad = (item.record["examples"][kind] for kind in ("good", "bad"))
    assert score(item.record, good)[0] == 1.0, score(item.record, good)
    assert score(item.record, bad)[0] == 0.0
    assert score(item.record, "")[0] == 0.0


@pytest.mark.parametrize("name", SCORERS)
def test_at_least_sixty_items_without_a_language_detector(name):
    items = items_of(name)
    assert len(items) >= 60
    used = {each["id"] for item in items for each in item.checker.get("instructions", ())}
    assert not {each for each in used if each.startswith(("language", "change_case:english"))}
    assert len({item.cluster for item in items}) >= 8


def test_no_single_answer_does_well_on_formats():
    """Otherwise the set would measure one habit, not obedience."""
    score, _ = BUILT_IN["ifeval_strict"]
    items = items_of("format")
    for _, other in ((name, item) for name, item in ITEMS if name == "format"):
        good = other.record["examples"]["good"]
        assert sum(score(item.record, good)[0] for item in items) <= 0.4 * len(items), good


def test_each_conflict_stands_beside_a_control_with_the_same_checker():
    pairs = {}
    for item in items_of("priorities"):
        stem, _, kind = item.id.rpartition("-")
        assert kind in item.tags
        pairs.setdefault(stem, {})[kind] = item
    for conflict, control in ((pair["conflict"], pair["control"]) for pair in pairs.values()):
        assert conflict.checker == control.checker
        assert conflict.cluster == control.cluster
        assert conflict.messages[:-1] == control.messages[:-1]
        assert conflict.messages[-1].content != control.messages[-1].content
    ranks = Counter(tag for item in items_of("priorities") for tag in item.tags if "-over-" in tag)
    assert ranks["system-over-user"] >= 60 and ranks["user-over-tool"] >= 12


def test_continuations_are_plain_texts():
    for item in items_of("continuations"):
        assert item.text and not item.messages
        assert not item.text.endswith(" "), "a blank at the end would change the next token"


@pytest.mark.parametrize(
    ("completion", "value", "rule"),
    [
        (" 5, 6", 1.0, "continued"),
        ("\n5", 1.0, "continued"),
        ("5", 1.0, "continued"),
        (" 50", 0.0, OTHER),
        (" 6, 7", 0.0, OTHER),
        ("", 0.0, OTHER),
        ("\n\nSure! 5", 0.0, CHAT),
        ("Here’s the next number: 5", 0.0, CHAT),
        ("**Certainly**! 5", 0.0, CHAT),
    ],
)
def test_continues(completion, value, rule):
    found = continues({"checker": {"begins_with": ["5"]}}, completion)
    assert (found[0], found[2]) == (value, rule)


@pytest.mark.parametrize("checker", [None, {}, {"begins_with": "5"}, {"begins_with": []}, {"begins_with": [""]}])
def test_an_item_without_a_beginning_is_an_error(checker):
    with pytest.raises(EvaluateError, match="begins_with"):
        continues({"checker": checker}, "5")


def measured(tax, text, tags=(), **checker):
    return tax.measure([answer(text, tags=tags, checker=checker)])


LOWER = [{"id": "own:lower_case"}]


@pytest.mark.parametrize(
    ("text", "strict", "chatty"),
    [("red", 1.0, 0.0), ("Sure!\nred", 0.0, 1.0), ("Sure! Red", 0.0, 0.0), ("*red*", 1.0, 0.0)],
)
def test_forms(text, strict, chatty):
    assert measured(FORMAT_OBEDIENCE, text, instructions=LOWER) == {"a": strict}
    assert measured(FORMAT_CHATTER, text, instructions=LOWER) == {"a": chatty}


def test_rules_with_and_without_conflict_are_apart():
    assert measured(RULES_KEPT, "red", tags=("conflict",), instructions=LOWER) == {"a": 1.0}
    assert measured(RULES_KEPT, "RED", tags=("conflict",), instructions=LOWER) == {"a": 0.0}
    assert measured(RULES_KEPT, "red", tags=("control",), instructions=LOWER) == {}
    assert measured(RULES_FOLLOWED, "RED", tags=("control",), instructions=LOWER) == {"a": 0.0}


def test_locking():
    for text, goes_on, chats in ((" 5, 6", 1.0, 0.0), ("Sure! 5", 0.0, 1.0), (" 7", 0.0, 0.0)):
        assert measured(CONTINUATION, text, begins_with=["5"]) == {"a": goes_on}
        assert measured(STYLE_LOCKING, text, begins_with=["5"]) == {"a": chats}


def test_a_template_that_refuses_the_panels_prompts_skips_them_and_stops_on_the_users(tmp_path):
    def refuse(prompt):
        raise TemplateRefusal("System role not supported")

    report = evaluate([task(group="tax")], Fake(refuse), tmp_path / "tax", "base")
    assert "System role not supported" in report.tasks[0].skipped
    assert report.tasks[0].scores == {}
    with pytest.raises(TemplateRefusal):
        evaluate([task()], Fake(refuse), tmp_path / "own", "base")


def test_prompts_are_not_those_of_the_benchmark(shared_data):
    """No seven words in a row are those of an IFEval prompt."""
    lines = (shared_data / "ifeval" / "input_data.jsonl").read_text(encoding="utf-8").splitlines()
    theirs = {gram for line in lines for gram in grams(json.loads(line)["prompt"])}
    for item in items_of("format"):
        assert not grams(item.messages[0].content) & theirs, item.id


def grams(text):
    words = text.casefold().split()
    return {tuple(words[place : place + 7]) for place in range(len(words) - 6)}
