"""A run killed with SIGKILL, as by a full machine or a pulled plug, goes on to the same weights."""

import json
import signal
import subprocess
import sys
import time

import pytest

from tunesmith.pipeline import run
from tunesmith.recipe import build_recipe

CODE = (
    "import json, sys; from pathlib import Path; from tunesmith.pipeline import run; "
    "from tunesmith.recipe import build_recipe; run(build_recipe(json.loads(sys.argv[1])), Path(sys.argv[2]))"
)


@pytest.mark.slow
def test_sigkill_during_training_loses_nothing(tmp_path, tiny_model_folder):
    rows = [{"prompt": f"what is {n} plus two?", "completion": str(n + 2)} for n in range(40)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {
        "name": "run",
        "model": {"name": str(tiny_model_folder), "dtype": "float32"},
        "data": {"paths": [str(tmp_path / "train.jsonl")]},
        "pack": {"batch_conversations": 1},
        "train": {"epochs": 4.0, "checkpoint_steps": 5, "adapter": {"rank": 2}},
        "pool": {"path": str(tmp_path / "pool")},
    }
    whole = run(build_recipe(values), tmp_path / "whole", lambda line: None)
    checkpoints = tmp_path / "killed" / "run" / "train" / "checkpoints"
    for after in ("step-000005", "step-000030"):
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, json.dumps(values), str(tmp_path / "killed")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while not any(path.name >= after for path in checkpoints.glob("step-*")) and time.monotonic() < deadline:
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    assert not (tmp_path / "killed" / "run" / "train" / "manifest.json").exists()
    resumed = run(build_recipe(values), tmp_path / "killed", lambda line: None)
    assert resumed.entry.digest == whole.entry.digest
