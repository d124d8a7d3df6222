"""The everyday questions that ship with the package: reproducible, distinct, and fair."""

import json
import re
from pathlib import Path

from tunesmith.verify import read_items
from tunesmith.verify.sets import general

PATH = Path(general.__file__).with_name("general.jsonl")


def rows():
    return [json.loads(line) for line in PATH.open(encoding="utf-8")]


def test_rebuilt_byte_for_byte():
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in general.items())
    assert PATH.read_bytes() == text.encode()


def test_read_as_golden_items():
    assert len(read_items(PATH, "gate")) == len(rows()) >= 420


def test_answers_do_not_stand_in_their_questions():
    for row in rows():
        question = row["messages"][0]["content"]
        for answer in (row["answer"]["value"], *row["answer"]["aliases"]):
            assert answer.strip() == answer != ""
            assert not re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", question, re.IGNORECASE), question
        assert row["messages"][0]["role"] == "user"
        assert len(row["messages"]) == 1


def test_items_spread_over_clusters():
    assert len({row["cluster"] for row in rows()}) >= 8
