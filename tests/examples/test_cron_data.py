"""The data of the cron example: reproducible, canonical, and split as its README says."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from croniter import croniter

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "cron"
GENERAL = FOLDER.parents[1] / "src" / "tunesmith" / "verify" / "sets" / "general.jsonl"
if str(FOLDER) not in sys.path:
    sys.path.insert(0, str(FOLDER))

import build  # noqa: E402
import corrections  # noqa: E402
import everyday  # noqa: E402
import refusals  # noqa: E402
import schedules  # noqa: E402
import scorer  # noqa: E402
import skeletons  # noqa: E402
import unfamiliar  # noqa: E402

CLUSTERS = ("familiar", "unfamiliar")
SPLITS = ("gate", "dev")


@cache
def rows(name: str) -> tuple[dict, ...]:
    path = GENERAL if name == GENERAL.name else FOLDER / name
    text = path.read_text(encoding="utf-8")
    return tuple(json.loads(line) for line in text.splitlines())


@cache
def rebuilt() -> tuple[str, str]:
    train, golden = build.build()
    return build.lines(train), build.lines(golden)


def golden(split: str | None = None, cluster: str | None = None) -> list[dict]:
    return [row for row in rows("golden.jsonl") if split in (None, row["split"]) and cluster in (None, row["cluster"])]


def prompt(messages: list[dict]) -> str:
    return "\n".join(message["content"] for message in messages if message["role"] != "system")


def scheduling() -> list[dict]:
    return [row for row in rows("train.jsonl") if not row["id"].startswith("train-general-")]


def train_answers() -> list[str]:
    return [m["content"] for row in scheduling() for m in row["messages"] if m["role"] == "assistant"]


def crons(answers: list[str]) -> list[str]:
    return [answer for answer in answers if not answer.startswith(refusals.PREFIX)]


def test_train_is_rebuilt_byte_for_byte():
    assert (FOLDER / "train.jsonl").read_bytes() == rebuilt()[0].encode()


def test_golden_is_rebuilt_byte_for_byte():
    assert (FOLDER / "golden.jsonl").read_bytes() == rebuilt()[1].encode()


def test_counts():
    assert len(rows("train.jsonl")) >= 1500
    assert len(golden("gate")) >= 400
    assert len(golden("dev")) >= 160
    for split in SPLITS:
        assert len(golden(split, "familiar")) == len(golden(split, "unfamiliar"))


def test_ids_are_unique():
    ids = [row["id"] for name in ("train.jsonl", "golden.jsonl", "general.jsonl") for row in rows(name)]
    assert len(ids) == len(set(ids))


def test_turns_alternate_and_end_where_they_should():
    for row in scheduling():
        roles = [message["role"] for message in row["messages"]]
        assert roles == ["system"] + ["user", "assistant"] * (len(roles) // 2)
        assert row["messages"][0]["content"] == build.SYSTEM
    for row in golden():
        roles = [message["role"] for message in row["messages"]]
        assert roles == ["system", "user"] + ["assistant", "user"] * (len(roles) // 2 - 1)


@pytest.mark.parametrize("name", ["train", "golden"])
def test_answers_are_canonical(name):
    found = crons(train_answers())
    if name == "golden":
        found = [row["answer"]["value"] for row in golden() if row["answer"]["type"] == "cron"]
    pattern = re.compile(r"(\*|\*/\d+|[\d,]+) (\*|\*/\d+|\d+-\d+|[\d,]+) (\*|[\d,]+) (\*|[\d,]+) (\*|\d-\d|[\d,]+)")
    for expression in set(found):
        assert croniter.is_valid(expression), expression
        assert pattern.fullmatch(expression), expression
        minute, hour, *rest = expression.split()
        for field, size in ((minute, 60), (hour, 24)):
            if field.startswith("*/"):
                assert size % int(field[2:]) == 0, expression
        for field in (minute, hour, *rest):
            if "*" not in field:
                assert canonical_field(field) == field, expression


def canonical_field(field: str) -> str:
    """The field as the schedules module writes it; a window of hours is always a range."""
    if "-" in field:
        first, last = (int(end) for end in field.split("-"))
        assert first < last - 1
        return f"{first}-{last}"
    return schedules.values(tuple(int(value) for value in field.split(",")))


def test_refusals_have_the_fixed_forms():
    forms = {refusals.PREFIX + texts[0] for texts in refusals.REASONS.values()}
    found = [answer for answer in train_answers() if answer.startswith(refusals.PREFIX)]
    assert set(found) <= forms
    assert 0.08 <= len(found) / len(scheduling()) <= 0.15


def test_share_of_corrections_and_of_everyday_questions():
    corrected = sum(len(row["messages"]) > 3 for row in scheduling())
    assert 0.07 <= corrected / len(scheduling()) <= 0.12
    assert any(len(row["messages"]) > 5 for row in scheduling())
    assert len(rows("train.jsonl")) - len(scheduling()) <= 0.12 * len(rows("train.jsonl"))


def test_prompts_are_distinct():
    train = [prompt(row["messages"][:-1]) for row in rows("train.jsonl")]
    test = [prompt(row["messages"]) for row in (*golden(), *rows("general.jsonl"))]
    assert len(set(train + test)) == len(train) + len(test)


def test_no_golden_prompt_is_a_near_duplicate_of_a_training_prompt():
    near = skeletons.NearDuplicates(0.85)
    for row in rows("train.jsonl"):
        near.add(prompt(row["messages"][:-1]))
    assert [row["id"] for row in golden() if near.close(prompt(row["messages"]))] == []


def test_no_everyday_question_is_a_near_duplicate_of_a_general_item():
    near = skeletons.NearDuplicates(0.85)
    for row in rows("general.jsonl"):
        near.add(prompt(row["messages"]))
    assert [question for question, _ in everyday.EVERYDAY if near.close(question)] == []


def test_near_duplicates_match_the_plain_definition():
    texts = [
        "every day at 7:30 am",
        "every day at 7:35 am",
        "Every  day at 7:30 AM",
        "on Sundays at noon",
        "a",
    ]
    for left in texts:
        near = skeletons.NearDuplicates(0.6)
        near.add(left)
        for right in texts:
            similarity = skeletons.jaccard(skeletons.shingles(left), skeletons.shingles(right))
            assert near.close(right) == (similarity >= 0.6)


def test_train_has_many_skeletons():
    assert len(skeletons.skeletons(scheduling())) >= 600


@pytest.mark.parametrize("split", SPLITS)
def test_unfamiliar_items_share_no_skeleton_with_training(split):
    train = skeletons.skeletons(scheduling())
    assert skeletons.skeletons(golden(split, "unfamiliar")) & train == set()


def test_unfamiliar_groups_share_no_skeleton():
    assert not skeletons.skeletons(golden("gate", "unfamiliar")) & skeletons.skeletons(golden("dev", "unfamiliar"))


def test_unfamiliar_families_cover_all_kinds():
    assert sum(map(len, unfamiliar.GATE_FAMILIES.values())) >= 40
    assert sum(map(len, unfamiliar.DEV_FAMILIES.values())) >= 20
    assert set(unfamiliar.GATE_FAMILIES) == set(unfamiliar.DEV_FAMILIES) == set(schedules.KINDS)
    assert set(unfamiliar.GATE_REFUSALS) == set(unfamiliar.DEV_REFUSALS) == set(refusals.REASONS)
    assert set(unfamiliar.GATE_CORRECTIONS) == set(corrections.APPLIES)


def test_familiar_answers_never_occur_in_training():
    answers = set(train_answers())
    for row in golden(cluster="familiar"):
        if row["answer"]["type"] == "cron":
            assert row["answer"]["value"] not in answers


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("split", SPLITS)
def test_every_cluster_has_every_kind(split, cluster):
    found = golden(split, cluster)
    assert {row["tags"][1] for row in found if row["tags"][0] == "schedule"} == set(schedules.KINDS)
    assert {row["tags"][1] for row in found if row["tags"][0] == "refusal"} == set(refusals.REASONS)
    shares = Counter(row["tags"][0] for row in found)
    assert 0.75 <= shares["schedule"] / len(found) <= 0.87
    assert 0.08 <= shares["correction"] / len(found) <= 0.15
    assert 0.06 <= shares["refusal"] / len(found) <= 0.12


def test_every_golden_answer_scores_full_marks():
    for row in golden():
        answer = row["answer"]["value"]
        text = answer if row["answer"]["type"] == "cron" else refusals.PREFIX + answer
        assert scorer.score(row, text)[0] == 1.0, row["id"]


def test_corrections_change_the_answer():
    for row in golden():
        if row["tags"][0] == "correction":
            assert row["messages"][-2]["content"] != row["answer"]["value"]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Every Monday at 7:30 am", "every Thu at half past nine in the evening!"),
        ("on May 3rd at noon", "on September 21st at 19:45"),
        ("every twenty-five minutes", "every 5 minutes"),
        ("the first of April, 7 p.m.", "the 12th of June, quarter to six in the morning"),
        ("six oh five pm", "7 o'clock in the morning"),
    ],
)
def test_mask_slots_hides_the_values(left, right):
    assert skeletons.mask_slots(left) == skeletons.mask_slots(right)


def test_mask_slots_keeps_the_words():
    assert skeletons.mask_slots("every Monday at 7 am") != skeletons.mask_slots("each Monday at 7 am")
    assert skeletons.mask_slots("run it on Sundays, 07:30") == "run it on <day> <time>"
