"""A second evaluation of the same model is a read: it does not even load torch."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from tunesmith.cli import app
from tunesmith.files import read_json

PROGRAM = """
import sys
for name in ("torch", "transformers", "peft", "safetensors"):
    sys.modules[name] = None  # any import of it raises ImportError
from tunesmith.cli import main
main()
"""


@pytest.mark.parametrize("scorer", ["exact", "likelihood"])
def test_a_second_evaluation_needs_no_torch(in_tmp, tiny_model_folder, scorer):
    item = {"id": "a", "messages": [{"role": "user", "content": "hi"}], "answer": {"type": "text", "value": "four"}}
    (in_tmp / "golden.jsonl").write_text(json.dumps(item) + "\n")
    command = ["evaluate", "golden.jsonl", "--model", str(tiny_model_folder), "--max-tokens", "4", "--scorer", scorer]
    assert CliRunner().invoke(app, [*command, "--out", "first"]).exit_code == 0

    def again(*more):
        arguments = [sys.executable, "-c", PROGRAM, *command, *more]
        return subprocess.run(arguments, capture_output=True, text=True, timeout=100, check=False)

    done = again("--out", "second")
    assert done.returncode == 0, done.stderr
    first, second = (read_json(in_tmp / out / "report.json") for out in ("first", "second"))
    assert first == second and first["engine"].startswith("local ")
    if scorer == "exact":
        assert again("--out", "third", "--set", "evaluate.ledger=off").returncode == 1
