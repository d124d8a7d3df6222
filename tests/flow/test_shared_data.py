"""The same path on data that nobody on the project wrote, without a line of code."""

import json
import shlex

import pytest
from typer.testing import CliRunner

from tunesmith.cli import app

pytestmark = pytest.mark.slow

RECIPE = """name = "sums"
[data]
paths = ["{data}/train.jsonl"]
prompt_field = "question"
response_field = "answer"
max_conversations = 40
[evaluate]
panel = "off"
certificate_items = 0
[[evaluate.tasks]]
name = "gsm8k"
path = "{data}/test.jsonl"
scorer = "number"
max_items = 12
max_tokens = 4
[gate.improve]
gsm8k = 0.0
"""


def tunesmith(line):
    result = CliRunner().invoke(app, shlex.split(line), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def report(folder):
    tasks = json.loads((folder / "evaluate" / "tuned" / "report.json").read_text())["tasks"]
    return {task["task"]: task["scores"] for task in tasks}


def test_gsm8k_by_a_recipe(shared_data, in_tmp, tiny_model_folder):
    (in_tmp / "recipe.toml").write_text(RECIPE.format(data=shared_data / "gsm8k"))
    tunesmith(f"run recipe.toml --set model.name={tiny_model_folder} --set train.max_steps=2")
    assert len(report(in_tmp / "runs" / "sums")["gsm8k"]) == 12


def test_gsm8k_by_two_sets(shared_data, in_tmp, tiny_model_folder):
    tunesmith(
        f"tune {shared_data}/gsm8k/train.jsonl --model {tiny_model_folder} --name sums "
        "--set data.prompt_field=question --set data.response_field=answer "
        "--set data.max_conversations=60 --set train.max_steps=2"
    )
    found = report(in_tmp / "runs" / "sums")
    assert len(found["heldout"]) == 20
    assert len(found["general"]) > 400


def test_tool_calls_in_sharegpt(shared_data, in_tmp, tiny_model_folder):
    output = tunesmith(
        f"tune {shared_data}/tool_calls/glaive_toolcall_en_demo.json --model {tiny_model_folder} --name tools "
        "--set data.max_conversations=60 --set train.max_steps=2 "
        "--set render.max_tokens=16384 --set pack.row_tokens=16384"
    )
    assert "sharegpt" in output
    scores = report(in_tmp / "runs" / "tools")["heldout"]
    assert len(scores) == 20
    assert all(value < 0 for value in scores.values())


def test_tool_calls_are_scored_as_calls(shared_data, in_tmp, tiny_model_folder):
    """Conversations cut after their first call: each last message is a call, so `tune` compares calls by value."""
    rows = json.loads((shared_data / "tool_calls" / "glaive_toolcall_en_demo.json").read_text())
    cut = []
    for row in rows:
        turns = row["conversations"]
        place = next((index for index, turn in enumerate(turns) if turn["from"] == "function_call"), None)
        if place is not None:
            cut.append({"conversations": turns[: place + 1], "tools": row["tools"]})
    (in_tmp / "calls.json").write_text(json.dumps(cut[:60]))
    tunesmith(
        f"tune calls.json --model {tiny_model_folder} --set train.max_steps=2 "
        "--set render.max_tokens=16384 --set pack.row_tokens=16384"
    )
    recipe = (in_tmp / "runs" / "calls" / "recipe.toml").read_text()
    assert 'scorer = "tool_call"' in recipe
    assert set(report(in_tmp / "runs" / "calls")["heldout"].values()) <= {0.0, 1.0}
