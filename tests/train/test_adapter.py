"""Adapters of every kind: they load in plain peft, and the merged model is the base with the adapter, to rounding."""

import json

import pytest
import torch
from helpers import batches, death, model, plan, rendered
from safetensors.torch import load_file

from builders import build_model, build_tokenizer
from model_families import TRAINED
from tunesmith.errors import MissingExtra, ModelError, TrainError
from tunesmith.model import ModelConfig
from tunesmith.model.load import load_model, quantized
from tunesmith.train import TrainConfig, train
from tunesmith.train.adapter import prepare
from tunesmith.train.targets import is_named

pytestmark = pytest.mark.filterwarnings("ignore")
EXPERTS = {"targets": ["experts", "q_proj"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = {}

    def of(name):
        if name not in made:
            (family,) = [family for family in TRAINED if family.name == name]
            made[name] = family.build(tmp_path_factory.mktemp(family.classes))
        return made[name]

    return of


def tuned(folder, tmp_path, steps=3, **options):
    network = model(folder)
    return train(plan(steps, **options), network, batches(rendered(6), 2, epochs=2), tmp_path)


def logits(network):
    with torch.no_grad():
        return network.eval()(input_ids=torch.arange(3, 33)[None]).logits


def in_plain_peft(base_folder, adapter):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base_folder), str(adapter))


def assert_merged_is_base_and_adapter(base_folder, adapter):
    merged = logits(load_model(ModelConfig(name=str(base_folder), dtype="float32"), adapter=adapter))
    torch.testing.assert_close(merged, logits(in_plain_peft(base_folder, adapter)), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(merged, logits(model(base_folder, attention=None)), atol=1e-3)


@pytest.mark.parametrize("name", ["Llama", "Llama, tied head", "GPT-2", "Gemma 2"])
@pytest.mark.parametrize("kind", ["lora", "rslora", "dora"])
def test_every_kind_loads_in_peft_and_merges(folder, tmp_path, name, kind):
    checkpoint = tuned(folder(name), tmp_path, adapter={"kind": kind, "rank": 4})
    written = json.loads((checkpoint.path / "adapter_config.json").read_text())
    assert (written["use_dora"], written["use_rslora"]) == (kind == "dora", kind == "rslora")
    has_norms = any("magnitude" in key for key in load_file(checkpoint.path / "adapter_model.safetensors"))
    assert has_norms == (kind == "dora")
    assert_merged_is_base_and_adapter(folder(name), checkpoint.path)


@pytest.mark.parametrize("name", ["Mixtral", "Qwen 3 MoE", "OLMoE", "gpt-oss"])
def test_experts_take_part_where_a_pattern_names_them(folder, tmp_path, name):
    checkpoint = tuned(folder(name), tmp_path, adapter=EXPERTS)
    assert any("experts" in key for key in load_file(checkpoint.path / "adapter_model.safetensors"))
    assert_merged_is_base_and_adapter(folder(name), checkpoint.path)


def test_experts_stay_without_an_adapter_otherwise(folder):
    network = prepare(model(folder("Mixtral")), TrainConfig())
    trained = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    assert trained
    assert not any("experts" in name for name in trained)


@pytest.mark.parametrize("changes", [{"kind": "dora"}, {"dropout": 0.1}])
def test_what_peft_cannot_do_to_experts_is_refused(folder, changes):
    with pytest.raises(TrainError, match=r"names experts .*peft puts neither dora nor dropout"):
        prepare(model(folder("Mixtral")), TrainConfig(adapter={**EXPERTS, **changes}))


def test_the_layers_are_written_in_one_order(folder, tmp_path):
    """A set has another order in every process; the digest of the same training must not."""
    checkpoint = tuned(folder("Llama"), tmp_path, steps=1)
    written = json.loads((checkpoint.path / "adapter_config.json").read_text())
    assert written["target_modules"] == sorted(written["target_modules"])


# Targets


def adapted(network):
    return {
        name.split(".lora_")[0].removeprefix("base_model.model.")
        for name, _ in network.named_parameters()
        if ".lora_A" in name
    }


def test_patterns_choose_layers(folder):
    network = prepare(model(folder("Llama")), TrainConfig(adapter={"targets": ["q_proj", "layers.1.mlp"]}))
    attention = {f"model.layers.{layer}.self_attn.q_proj" for layer in (0, 1)}
    mlp = {f"model.layers.1.mlp.{name}_proj" for name in ("gate", "up", "down")}
    assert adapted(network) == attention | mlp


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("model.layers.3.mlp.up_proj.weight", "up_proj", True),
        ("model.layers.3.mlp.up_proj.weight", "layers.3", True),
        ("model.layers.3.mlp.up_proj.weight", "layers.[0-3].mlp", True),
        ("model.layers.3.mlp.up_proj.weight", "model.layers.3.mlp.up_proj.weight", True),
        ("model.layers.3.mlp.up_proj.weight", "*.weight", True),
        ("model.layers.13.mlp.up_proj.weight", "layers.3", False),
        ("model.layers.3.mlp.up_proj.weight", "proj", False),
        ("model.layers.3.mlp.up_proj.weight", "ayers.3", False),
    ],
)
def test_a_pattern_names_a_weight_or_a_part(name, pattern, expected):
    assert is_named(name, [pattern]) is expected


def test_a_pattern_that_names_nothing_is_refused_with_the_nearest_names(folder):
    with pytest.raises(TrainError, match=r"train\.adapter\.targets: 'q_prj' names no weight.*near it are.*q_proj"):
        prepare(model(folder("Llama")), TrainConfig(adapter={"targets": ["q_prj"]}))
    with pytest.raises(TrainError, match=r"train\.freeze: 'embed_token' names no weight.*embed_tokens"):
        prepare(model(folder("Llama")), TrainConfig(method="full", freeze=["embed_token"]))


# Freezing


def test_frozen_weights_stay_and_the_others_move(folder, tmp_path):
    freeze = ["embed_tokens", "layers.0", "*.input_layernorm"]
    checkpoint = tuned(folder("Llama"), tmp_path, method="full", freeze=freeze)
    before = load_file(folder("Llama") / "model.safetensors")
    after = load_file(checkpoint.path / "model.safetensors")
    unchanged = {name for name in before if torch.equal(before[name], after[name])}
    assert unchanged == {name for name in before if is_named(name, freeze)}
    assert 10 < len(unchanged) < len(before)


def test_a_tied_head_is_frozen_by_either_name(folder):
    for name in ("embed_tokens", "lm_head"):
        network = prepare(model(folder("Llama, tied head")), TrainConfig(method="full", freeze=[name]))
        assert not network.get_input_embeddings().weight.requires_grad


def test_no_adapter_goes_where_weights_are_frozen(folder):
    network = prepare(model(folder("Llama")), TrainConfig(freeze=["layers.0", "mlp"]))
    assert adapted(network) == {f"model.layers.1.self_attn.{name}_proj" for name in "qkvo"}


@pytest.mark.parametrize("method", ["lora", "full"])
def test_freezing_everything_is_refused(folder, method):
    with pytest.raises(TrainError, match=r"train\.freeze: '\*' leave no"):
        prepare(model(folder("Llama")), TrainConfig(method=method, freeze=["*"]))


# Tokens


@pytest.mark.parametrize("name", ["Llama", "Llama, tied head", "Gemma 2", "Cohere"])
@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_rows_of_new_tokens_are_trained_saved_and_merged(folder, tmp_path, name, kind):
    row = int(rendered(6)[0].tokens[0])  # one that the data hold
    vocabulary = json.loads((folder(name) / "tokenizer.json").read_text())["model"]["vocab"]
    (token,) = [text for text, index in vocabulary.items() if index == row]
    checkpoint = tuned(folder(name), tmp_path, adapter={"new_tokens": [token], "kind": kind, "rank": 2})
    assert (checkpoint.path / "adapter_model.safetensors").stat().st_size < 100_000
    assert_merged_is_base_and_adapter(folder(name), checkpoint.path)
    base = model(folder(name))
    merged = load_model(ModelConfig(name=str(folder(name)), dtype="float32"), adapter=checkpoint.path)
    for table in ("get_input_embeddings", "get_output_embeddings"):
        before, after = (getattr(network, table)().weight for network in (base, merged))
        assert (before != after).any(-1).nonzero().flatten().tolist() == [row]
    is_tied = base.get_output_embeddings().weight is base.get_input_embeddings().weight
    assert (merged.get_output_embeddings().weight is merged.get_input_embeddings().weight) == is_tied


def test_a_token_outside_the_vocabulary_is_refused(folder):
    with pytest.raises(TrainError, match=r"new_tokens: '<\|pause\|>' are not in the vocabulary"):
        prepare(model(folder("Llama")), TrainConfig(adapter={"new_tokens": ["<|pause|>"]}))


def test_tokens_resume_to_the_same_bytes(tiny_model_folder, tmp_path):
    options = {"adapter": {"new_tokens": ["<|im_start|>"], "kind": "dora"}, "checkpoint_steps": 2}

    def run(folder, die_at=None):
        stream = batches(rendered(6), 2, epochs=2)
        return train(plan(4, **options), model(tiny_model_folder), stream, folder, [death(die_at)])

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", die_at=3)
    assert run(tmp_path / "killed").digest == whole.digest


# Quantized bases


def test_quantizing_without_a_gpu_is_refused_and_names_the_extra(tiny_model_folder):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ModelError, match=r"quantize = 'nf4' needs a CUDA device and the extra 'qlora'"):
        load_model(ModelConfig(name=str(tiny_model_folder)), quantize="nf4")


def test_quantizing_without_bitsandbytes_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"tunesmith\[qlora\]"):
        quantized("nf4", torch.bfloat16, torch.device("cuda"))


def test_full_training_of_a_quantized_base_is_refused():
    with pytest.raises(ValueError, match=r"quantize.*belongs to method = \"lora\""):
        TrainConfig(method="full", adapter={"quantize": "nf4"})


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_an_adapter_on_a_quantized_base_trains_and_merges_into_the_full_one(tmp_path, monkeypatch, kind):
    """bitsandbytes computes on the CPU too, slowly; the refusal of the CPU is put aside to see the path work."""
    pytest.importorskip("bitsandbytes")
    monkeypatch.setattr("tunesmith.model.load._QUANTIZING_DEVICES", ("cuda", "cpu"))
    build_model(tmp_path / "base", hidden_size=128, intermediate_size=256)
    build_tokenizer(tmp_path / "base")
    name = str(tmp_path / "base")
    network = load_model(ModelConfig(name=name, dtype="float32"), quantize=kind)
    whole = logits(model(tmp_path / "base", attention=None))
    assert 0 < float((logits(network) - whole).abs().max()) < 0.2 * float(whole.abs().max())
    network.set_attn_implementation("tunesmith_grouped")
    options = {"adapter": {"quantize": kind, "rank": 4}, "learning_rate": 1e-2}
    checkpoint = train(plan(3, **options), network, batches(rendered(6), 2, epochs=2), tmp_path / "out")
    assert_merged_is_base_and_adapter(tmp_path / "base", checkpoint.path)
