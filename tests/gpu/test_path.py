"""The same path on a CUDA device: it trains in bfloat16, keeps conversations and branches apart, and evaluates."""

import json

import numpy as np
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
        "evaluate": {
            "tasks": [{"name": "heldout", "path": "heldout", "scorer": "likelihood"}],
            "panel": "off",
        },
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


@pytest.fixture
def load(values):
    """Load the tiny model with a number format and an attention."""
    from tunesmith.model import ModelConfig
    from tunesmith.model.load import load_model

    return lambda dtype, attention: load_model(ModelConfig(**values["model"], dtype=dtype), attention=attention)


both = pytest.mark.parametrize("attention", ["tunesmith_grouped", "tunesmith_flex"])


@both
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_conversations_and_branches_of_a_row_stay_apart_on_the_device(load, dtype, attention):
    from tunesmith.train.proof import prove_attention

    model = load(dtype, attention)
    assert next(model.parameters()).device.type == "cuda"
    prove_attention(model)


def example_row(num_tokens):
    """A tree beside a plain conversation: a trunk, a branch on its end, one on its middle, and a branch of a branch."""
    from tunesmith.pack import pack_rows
    from tunesmith.types import Rendered

    generator = np.random.default_rng(0)
    quarter = num_tokens // 4
    branches = np.array(
        [[0, -1], [quarter, quarter - 1], [2 * quarter, quarter // 2], [3 * quarter, 2 * quarter + 3]], np.int32
    )
    tokens = generator.integers(3, 300, (2, num_tokens)).astype(np.int32)
    weights = (np.arange(num_tokens) % 3 == 1).astype(np.float32)
    made = [Rendered("tree", tokens[0], weights, branches), Rendered("plain", tokens[1], weights)]
    return pack_rows(made, 2 * num_tokens)[0]


def gradients(model, row):
    from tunesmith.train.objectives.supervised import Supervised

    loss = Supervised().row_loss(model.requires_grad_(), row).total
    loss.backward()
    return loss.detach().cpu(), [each.grad.cpu() for each in model.parameters()]


@both
@pytest.mark.parametrize("num_tokens", [40, 300, 1000])
def test_trees_teach_the_same_on_the_device_as_on_the_cpu(load, attention, num_tokens):
    """Rows shorter and longer than a block of the compiled kernel, one shape after another."""
    model = load("float32", attention)
    row = example_row(num_tokens)
    found = gradients(model, row)
    model.zero_grad()
    model.set_attn_implementation("tunesmith_grouped")
    expected = gradients(model.cpu(), row)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=0)
    for mine, exact in zip(found[1], expected[1], strict=True):
        assert (mine - exact).abs().max() <= 1e-3 * exact.abs().max()


def test_heads_that_share_keys_in_threes_train_on_short_rows(tmp_path):
    """9 heads over 3, as in SmolLM2-135M, in a row shorter than 128 tokens: the decoding kernel would refuse it."""
    from tunesmith.model import ModelConfig
    from tunesmith.model.load import load_model

    build_model(tmp_path, hidden_size=144, num_attention_heads=9, num_key_value_heads=3)
    model = load_model(ModelConfig(name=str(tmp_path)), attention="tunesmith_flex")
    loss, grads = gradients(model, example_row(40))
    assert loss.isfinite()
    assert all(each.isfinite().all() for each in grads)
