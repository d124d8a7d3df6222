"""From a file of pairs to a trained adapter, and the refusal of data that the objective cannot learn from."""

import json

import pytest

from tunesmith.errors import ConfigError
from tunesmith.pipeline import run
from tunesmith.recipe import build_recipe


@pytest.fixture
def values(tiny_model_folder, tmp_path):
    path = tmp_path / "pairs.jsonl"
    lines = [{"prompt": f"what is {n}?", "chosen": "every day at noon", "rejected": f"four {n}"} for n in range(6)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {
        "name": "pairs",
        "data": {"paths": [str(path)]},
        "model": {"name": str(tiny_model_folder), "dtype": "float32"},
        "pack": {"batch_conversations": 3},
        "train": {"objective": {"kind": "dpo"}, "epochs": 4, "learning_rate": 0.01},
        "pool": {"path": str(tmp_path / "pool")},
    }


def test_pairs_go_through_all_stages_and_a_second_run_does_nothing(values, tmp_path):
    said = []
    recipe = build_recipe(values)
    assert run(recipe, tmp_path / "runs", said.append).did_work
    assert any("(preference)" in line for line in said)
    lines = [json.loads(line) for line in (tmp_path / "runs/pairs/train/metrics.jsonl").open()]
    assert len(lines) == 8
    assert lines[-1]["reward_margin"] > 0 == lines[0]["reward_margin"]
    assert not run(recipe, tmp_path / "runs", said.append).did_work


def test_the_wrong_objective_stops_before_anything_is_rendered(values, tmp_path):
    values["train"]["objective"]["kind"] = "supervised"
    with pytest.raises(ConfigError, match="6 of 6 conversations are pairs"):
        run(build_recipe(values), tmp_path / "runs", print)
    assert not (tmp_path / "runs/pairs/render").exists()
