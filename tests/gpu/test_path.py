"""The same path on a CUDA device: it trains in bfloat16, keeps conversations apart, and evaluates."""

import json

import pytest
import torch

from builders import build_model, build_tokenizer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture
def values(tmp_path):
    build_model(tmp_path / "model", hidden_size=64, num_attention_heads=4)
    build_tokenizer(tmp_path / "model")
    rows = [
        {"messages": [{"role": "user", "content": f"what is {n} plus two?"}, {"role": "assistant", "content": f"{n}!"}]}
        for n in range(40)
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "name": "gpu",
        "model": {"name": str(tmp_path / "model")},
        "data": {"paths": [str(tmp_path / "train.jsonl")], "holdout": 8},
        "train": {"epochs": 3.0, "learning_rate": 1e-2},
        "pack": {"batch_conversations": 8},
        "evaluate": {"tasks": [{"name": "heldout", "path": "heldout", "scorer": "likelihood"}]},
        "gate": {"improve": {"heldout": 0.0}},
        "pool": {"path": str(tmp_path / "pool")},
    }


def test_the_whole_path(values, tmp_path):
    from tunesmith.pipeline import run
    from tunesmith.recipe import build_recipe

    result = run(build_recipe(values), tmp_path / "runs", lambda line: None)
    assert result.tuned.task("heldout").mean > result.base.task("heldout").mean
    plan = json.loads((result.folder / "train" / "plan.json").read_text())
    assert plan["dtype"] == "bfloat16"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_conversations_of_a_row_stay_apart_on_the_device(values, dtype):
    from tunesmith.model import ModelConfig
    from tunesmith.model.load import load_model
    from tunesmith.train.attention import NAME
    from tunesmith.train.loop import check_no_leak

    model = load_model(ModelConfig(**values["model"], dtype=dtype), attention=NAME)
    assert next(model.parameters()).device.type == "cuda"
    check_no_leak(model)
