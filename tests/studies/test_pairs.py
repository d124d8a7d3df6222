"""Pairs that studies train on and judge by."""

import json
import sys
from pathlib import Path

import pytest

from tunesmith.errors import DataError

FOLDER = Path(__file__).resolve().parents[2] / "studies"
if str(FOLDER) not in sys.path:
    sys.path.insert(0, str(FOLDER))

import pairs  # noqa: E402


def pair(number, response="Yes."):
    return {"id": f"task{number}", "prompt": f"Question {number}?", "response": response}


def test_user_text():
    assert pairs.user_text("Add. ", "1 and 2\n") == "Add.\n\n1 and 2"
    assert pairs.user_text("Sing.", "") == "Sing."


def test_pairs_are_read_from_both_files(tmp_path):
    (tmp_path / "self_instruct").mkdir()
    for name in pairs.SELF_INSTRUCT:
        raw = {"id": name, "instruction": "Add.", "instances": [{"input": "1 and 2", "output": "3 "}]}
        (tmp_path / "self_instruct" / name).write_text(json.dumps(raw) + "\n")
    found = pairs.read_self_instruct(tmp_path)
    assert [each["id"] for each in found] == list(pairs.SELF_INSTRUCT)
    assert found[0]["prompt"] == "Add.\n\n1 and 2"
    assert found[0]["response"] == "3"


def test_data_that_are_not_there_are_named(tmp_path):
    with pytest.raises(DataError, match=r"self_instruct: no seed_tasks\.jsonl and no user.*--data"):
        pairs.read_self_instruct(tmp_path)


def test_the_shared_data_are_whole(shared_data):
    found = pairs.read_self_instruct(shared_data)
    assert len(found) == len({each["id"] for each in found}) == 427
    assert all(each["response"] for each in found)


def test_drawing_is_seeded_and_keeps_the_order():
    many = [pair(number) for number in range(50)]
    drawn = pairs.draw(many, 20)
    assert drawn == pairs.draw(many, 20) != pairs.draw(many, 20, seed=1)
    assert [int(each["id"][4:]) for each in drawn] == sorted(int(each["id"][4:]) for each in drawn)
    assert pairs.draw(many, 99) == many


def test_what_cannot_be_used_is_dropped_with_its_reason():
    many = [pair(0), pair(1, ""), pair(2, "long " * 9)]
    kept, dropped = pairs.sort_out(many, lambda each: len(each["response"]), 20)
    assert kept == many[:1]
    assert [(each.id, each.reason) for each in dropped] == [("task1", "no response"), ("task2", "too long")]


def test_questions_of_gsm8k_have_ids_of_their_part(tmp_path):
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.jsonl").write_text(json.dumps({"question": "1 + 1? ", "answer": "#### 2\n"}) + "\n")
    assert pairs.read_gsm8k(tmp_path, "test") == [{"id": "gsm8k-test-1", "prompt": "1 + 1?", "response": "#### 2"}]
    with pytest.raises(DataError, match=r"train\.jsonl: no such file.*--data"):
        pairs.read_gsm8k(tmp_path, "train")
