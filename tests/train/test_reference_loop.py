"""The engine against a loop that anybody can read: the same losses, and in the end the same weights."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from helpers import model, plan, rendered, trees
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from tunesmith.cli import app
from tunesmith.pack import PackConfig, pack
from tunesmith.train import train

LOOP = Path(__file__).resolve().parents[2] / "examples" / "loop.py"


def reference():
    found = importlib.util.spec_from_file_location("reference_loop", LOOP)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_reference_is_short():
    assert len(LOOP.read_text(encoding="utf-8").splitlines()) < 80


@pytest.mark.parametrize("layout", ["best_fit", "padding"])
@pytest.mark.parametrize("recompute", [False, True])
def test_the_engine_matches_the_reference_loop(tiny_model_folder, tmp_path, layout, recompute):
    """Ten steps on conversations and trees: packed, with shared prefixes and chunked logits, and without all that."""
    loop, examples = reference(), [*rendered(8), *trees(2)]
    rate = 1e-3
    plain = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32)
    losses = loop.train(plain, loop.steps_of(examples, 4, 4, 0), rate)
    assert len(losses) == 10
    config = PackConfig(batch_conversations=4, row_tokens=80, layout=layout, seed=0)
    asked = plan(
        10,
        learning_rate=rate,
        method="full",
        schedule={"kind": "constant"},
        loss={"chunk_tokens": 16},
        gradient_checkpointing=recompute,
    )
    train(asked, model(tiny_model_folder), pack(config, examples, 4.0, "data"), tmp_path)
    ours = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").open()]
    assert ours == pytest.approx(losses, rel=1e-5)
    assert losses[-1] < losses[0] - 0.05
    saved, before = (
        load_file(tmp_path / "final" / "model.safetensors"),
        load_file(tiny_model_folder / "model.safetensors"),
    )
    for name, weight in plain.state_dict().items():
        if name not in saved:
            assert name == "lm_head.weight"
            continue
        moved = (weight - before[name]).norm()
        assert (saved[name] - weight).norm() < 1e-3 * moved, name


def test_it_runs_as_its_page_says(tiny_model_folder, in_tmp):
    """From a data file through `tunesmith render` to a model folder."""
    record = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}
    Path("data.jsonl").write_text(json.dumps(record) + "\n")
    asked = ["render", "data.jsonl", "--model", str(tiny_model_folder), "--out", "rendered"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    reference().main(str(tiny_model_folder), "rendered", "out")
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_model_folder, Path("out")))
    assert any(not torch.equal(before[name], after[name]) for name in after)
