"""Validation, early stopping, best states and samples through a recipe; a killed command goes on to the same bytes."""

import json
import signal
import subprocess
import sys
import time

import pytest

from tunesmith.errors import ConfigError
from tunesmith.files import read_json
from tunesmith.pipeline import run
from tunesmith.recipe import build_recipe, load_recipe


def quiet(line):
    pass


@pytest.fixture
def values(tmp_path, tiny_model_folder):
    rows = [{"prompt": f"what is {n} plus two?", "completion": str(n + 2)} for n in range(24)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "name": "run",
        "model": {"name": str(tiny_model_folder), "dtype": "float32"},
        "data": {"paths": [str(tmp_path / "train.jsonl")], "holdout": 4},
        "pack": {"batch_conversations": 4},
        "train": {
            "epochs": 4.0,
            "checkpoint_steps": 2,
            "keep_best": 2,
            "final": "best",
            "adapter": {"rank": 2},
            "validation": {"size": 0.2, "every_steps": 3},
            "samples": {"prompts": ["what is two plus two?"], "every_steps": 6, "max_tokens": 4},
        },
        "pool": {"path": str(tmp_path / "pool")},
    }


def test_a_recipe_validates_on_what_it_does_not_train_on(values, tmp_path):
    result = run(build_recipe(values), tmp_path / "runs", quiet)
    train, pack = result.folder / "train", read_json(result.folder / "pack" / "manifest.json")
    rendered = read_json(result.folder / "render" / "manifest.json")
    assert (pack["num_main"], pack["num_set_apart"]) == (16, 4)
    assert rendered["num_out"] == pack["num_main"] + pack["num_set_apart"]
    heldout = {json.loads(line)["id"] for line in (result.folder / "data" / "heldout.jsonl").open()}
    seen = {json.loads(line)["id"] for line in (train / "conversation_losses.jsonl").open()}
    assert len(seen) == 16
    assert not seen & heldout
    lines = [json.loads(line) for line in (train / "metrics.jsonl").open()]
    measured = {line["step"]: line["validation_loss"] for line in lines if "validation_loss" in line}
    assert list(measured) == [0, 3, 6, 9, 12, 15, 16]
    best = min((step for step in measured if step), key=lambda step: (measured[step], step))
    assert read_json(train / "manifest.json")["step"] == best
    assert len(list((train / "best").iterdir())) == 2
    assert (train / "samples.md").read_text().count("\n| ") == 1 + 4  # the head, and steps 0, 6, 12 and 16


def test_another_choice_of_validation_trains_anew_and_an_equal_one_does_nothing(values, tmp_path):
    first = run(build_recipe(values), tmp_path / "runs", quiet)
    assert not run(build_recipe(values), tmp_path / "runs", quiet).did_work
    second = run(build_recipe(values, ["train.validation.seed=1"]), tmp_path / "runs", quiet)
    assert second.entry.digest != first.entry.digest


def test_another_tracker_does_not_train_anew(values, tmp_path):
    run(build_recipe(values), tmp_path / "runs", quiet)
    again = run(build_recipe(values, ["train.trackers=['tensorboard']"]), tmp_path / "runs", quiet)
    assert not again.did_work


def test_in_a_mix_the_main_data_are_validated_and_never_trained_on(values, tmp_path):
    rows = [{"prompt": f"every day at {n}", "completion": f"0 {n} * * *"} for n in range(9)]
    (tmp_path / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"name": "more", "epochs": 1.0, "data": {"paths": [str(tmp_path / "more.jsonl")]}}
    result = run(build_recipe({**values, "mix": {"sources": [source]}}), tmp_path / "runs", quiet)
    train = result.folder / "train"
    seen = {json.loads(line)["id"] for line in (train / "conversation_losses.jsonl").open()}
    assert len({each for each in seen if each.startswith("train:")}) == 16
    assert len({each for each in seen if each.startswith("more/")}) == 9
    assert any("validation_loss" in line for line in (train / "metrics.jsonl").open())


def test_what_goes_by_a_loss_that_nothing_measures_shows_before_anything_runs(values):
    with pytest.raises(ConfigError, match=r"set train\.validation\.size"):
        build_recipe(values, ["train.validation.size=0"])
    with pytest.raises(ConfigError, match=r"train\.score = 'accuracy': a recipe measures validation_loss"):
        build_recipe(values, ["train.score=accuracy"])


def test_the_file_of_prompts_is_found_beside_the_recipe(values, tmp_path):
    (tmp_path / "recipe.toml").write_text('[data]\npaths = ["train.jsonl"]\n[train.samples]\npath = "prompts.txt"\n')
    assert load_recipe(tmp_path / "recipe.toml").train.samples.path == str(tmp_path / "prompts.txt")


def command(*arguments):
    return [sys.executable, "-m", "tunesmith", *map(str, arguments)]


def kill_at(process, checkpoints, after):
    deadline = time.monotonic() + 120
    while not any(path.name >= after for path in checkpoints.glob("step-*")) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["train", "run"])
def test_a_killed_command_goes_on_to_the_same_bytes(values, tmp_path, kind):
    """`tunesmith train --resume`, and `tunesmith run` again, after a SIGKILL between checkpoints."""
    from tunesmith.recipe import to_toml

    recipe = tmp_path / "recipe.toml"
    recipe.write_text(to_toml(build_recipe(values, ["pack.batch_conversations=1"])))

    def words(place, *more):
        if kind == "train":
            return command("train", recipe, "--out", tmp_path / place / "run", *more)
        return command("run", recipe, "--runs", tmp_path / place)

    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    subprocess.run(words("whole"), check=True, **silent)
    process = subprocess.Popen(words("killed"), **silent)
    kill_at(process, tmp_path / "killed" / "run" / "train" / "checkpoints", "step-000010")
    subprocess.run(words("killed", "--resume"), check=True, **silent)
    for name in ("final/adapter_model.safetensors", "samples.jsonl"):
        files = [tmp_path / place / "run" / "train" / name for place in ("whole", "killed")]
        assert files[0].read_bytes() == files[1].read_bytes(), name
