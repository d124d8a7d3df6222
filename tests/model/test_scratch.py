"""Models from scratch: folders like any other, a function of the seed."""

import json

import pytest
import torch

from tunesmith.errors import ModelError
from tunesmith.model import ModelConfig, embedded, model_digest, model_folder, tokenizer_folder
from tunesmith.model.load import load_model
from tunesmith.model.scratch import ARCHITECTURES
from tunesmith.recipe import build_recipe, load_recipe


@pytest.fixture
def new(tiny_tokenizer_folder):
    return lambda name="llama-1m", **options: ModelConfig(name=f"new:{name}@{tiny_tokenizer_folder}", **options)


def test_equal_seeds_give_equal_digests_and_others_do_not(new, monkeypatch, tmp_path):
    torch.manual_seed(7)
    drawn = torch.rand(1)
    torch.manual_seed(7)
    first = model_digest(model_folder(new(seed=3)))
    assert torch.rand(1) == drawn, "making a model disturbs no one else's random numbers"
    other = model_digest(model_folder(new(seed=4)))
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path))
    assert model_digest(model_folder(new(seed=3))) == first != other


def test_a_new_model_is_made_once_and_loads_like_any_other(new, tiny_tokenizer_folder):
    folder = model_folder(new())
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert model_folder(new()) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    assert (folder / "tokenizer.json").read_bytes() == (tiny_tokenizer_folder / "tokenizer.json").read_bytes()
    model = load_model(new(dtype="float32"))
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    assert model.config.vocab_size == max(vocabulary.values()) + 1
    assert model.config.eos_token_id == vocabulary["<|im_end|>"]
    assert model.get_input_embeddings().weight.abs().sum(-1).min() > 0, "every token has a random embedding"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_page_tells_the_sizes(name):
    """Attention and MLP matrices and two norms a layer, and the last norm, as the table of docs/model.md says."""
    from pathlib import Path

    shape = ARCHITECTURES[name]
    layer = 4 * shape.width**2 + 3 * shape.width * shape.mlp_width + 2 * shape.width
    size = shape.num_layers * layer + shape.width
    page = (Path(__file__).parents[2] / "docs" / "model.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"| `{name}`"))
    cells = [cell.strip() for cell in row.split("|")[2:-1]]
    assert cells == [str(shape.width), str(shape.num_layers), str(shape.num_heads), f"{size / 1e6:.1f} M"]


def test_the_size_is_that_of_the_shape(new):
    shape = ARCHITECTURES["llama-1m"]
    layer = 4 * shape.width**2 + 3 * shape.width * shape.mlp_width + 2 * shape.width
    wanted = shape.num_layers * layer + shape.width * (1 + load_model(new()).config.vocab_size)
    assert sum(each.numel() for each in load_model(new()).parameters()) == wanted


def test_without_an_at_the_default_tokenizer_is_taken(tiny_tokenizer_folder, monkeypatch):
    monkeypatch.setattr(embedded, "embedded_tokenizer", lambda name: tiny_tokenizer_folder / name)
    assert tokenizer_folder(ModelConfig(name="new:llama-15m")) == tiny_tokenizer_folder / "smollm2-135m"


@pytest.mark.parametrize("find", [model_folder, tokenizer_folder])
def test_an_unknown_architecture_is_named(find):
    with pytest.raises(ModelError, match=r"no architecture 'gpt-5'; there are llama-1m, llama-15m, llama-60m"):
        find(ModelConfig(name="new:gpt-5"))


def test_the_tokenizer_of_a_recipe_follows_its_folder(tmp_path):
    (tmp_path / "r.toml").write_text('[data]\npaths = ["a"]\n[model]\nname = "new:llama-1m@./base"\nseed = 5\n')
    model = load_recipe(tmp_path / "r.toml").model
    assert (model.name, model.seed) == (f"new:llama-1m@{tmp_path / 'base'}", 5)


def test_a_model_from_scratch_runs_through_a_recipe(new, tmp_path):
    from tunesmith.pipeline import run

    rows = [{"prompt": f"what is {n} plus two?", "completion": str(n + 2)} for n in range(8)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {
        "name": "scratch",
        "model": {"name": new().name, "dtype": "float32"},
        "data": {"paths": [str(tmp_path / "train.jsonl")]},
        "train": {"method": "full", "learning_rate": 1e-3},
        "pool": {"path": str(tmp_path / "pool")},
    }
    result = run(build_recipe(values), tmp_path / "runs", lambda line: None)
    assert result.entry.manifest["parent"]["digest"] == model_digest(model_folder(new()))
