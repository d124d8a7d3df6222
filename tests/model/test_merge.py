"""The linear merge back to the base: exact at both ends, on the line between, and a working model."""

import json
import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from builders import build_model, build_tokenizer
from tunesmith.errors import ModelError
from tunesmith.model import ModelConfig
from tunesmith.model.load import load_model
from tunesmith.model.merge import merge_back, merge_facts

TOKENS = torch.tensor([[5, 9, 200, 31]])


def whole(folder, seed, **changes):
    build_tokenizer(folder)
    build_model(folder, seed, **changes)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return whole(root / "base", 0), whole(root / "tuned", 1)


def adapter(base, folder, **changes):
    """A LoRA with B matrices away from zero."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(2)
    options = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"], "task_type": "CAUSAL_LM", **changes}
    tuned = get_peft_model(model, LoraConfig(**options))
    with torch.no_grad():
        for name, each in tuned.named_parameters():
            if each.requires_grad and "lora_A" not in name:
                each.add_(torch.randn_like(each) * 0.1)
    tuned.save_pretrained(folder)
    return folder


def logits(config, adapter=None):
    with torch.no_grad():
        return load_model(config, adapter=adapter)(TOKENS).logits


def weights(folder):
    found = {}
    for path in folder.glob("*.safetensors"):
        found |= load_file(path)
    return found


def config(folder):
    return ModelConfig(name=str(folder), dtype="float32")


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_weights_lie_on_the_line_and_meet_both_ends_to_the_bit(models, tmp_path, alpha):
    base, tuned = models
    assert merge_back(config(base), tuned, alpha, tmp_path / "out") == "full"
    before, after, merged = weights(base), weights(tuned), weights(tmp_path / "out")
    assert set(merged) == set(after)
    for name, each in merged.items():
        exact = before[name].double() + alpha * (after[name].double() - before[name].double())
        torch.testing.assert_close(each.double(), exact, rtol=0, atol=1e-7)
        if alpha in (0.0, 1.0):
            assert torch.equal(each, (before, after)[int(alpha)][name])


def test_the_merged_folder_is_a_model_with_the_tuned_tokenizer(models, tmp_path):
    base, tuned = models
    special = shutil.copytree(tuned, tmp_path / "special")
    (special / "chat_template.jinja").write_text("{{ 'another' }}")
    (special / "manifest.json").write_text("{}")
    merge_back(config(base), special, 0.5, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"} <= names
    assert "manifest.json" not in names
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == "{{ 'another' }}"
    assert logits(config(tmp_path / "out")).isfinite().all()


def test_bfloat16_is_merged_in_float32_and_rounded_once(models, tmp_path):
    base, tuned = models
    small = shutil.copytree(tuned, tmp_path / "small")
    rounded = {name: each.bfloat16() for name, each in weights(tuned).items()}
    save_file(rounded, small / "model.safetensors", metadata={"format": "pt"})
    merge_back(config(base), small, 0.25, tmp_path / "out")
    before, merged = weights(base), weights(tmp_path / "out")
    for name, each in merged.items():
        assert each.dtype == torch.bfloat16
        exact = before[name] + 0.25 * (rounded[name].float() - before[name])
        assert torch.equal(each, exact.bfloat16()) or (each.float() - exact).abs().max() < 1e-3


def test_shards_of_either_model_may_differ(models, tmp_path):
    base, tuned = models
    sharded = tmp_path / "sharded"
    AutoModelForCausalLM.from_pretrained(tuned).save_pretrained(sharded, max_shard_size="40KB")
    assert len(list(sharded.glob("*.safetensors"))) > 1
    for one, other in ((base, sharded), (sharded, base)):
        folder = tmp_path / f"from-{one.name}"
        merge_back(config(one), other, 0.5, folder)
        half = weights(folder)
        assert {path.name for path in folder.glob("*.safetensors")} == {
            path.name for path in other.glob("*.safetensors")
        }
        for name, each in weights(base).items():
            torch.testing.assert_close(half[name], (each + weights(tuned)[name]) / 2)


@pytest.mark.parametrize("stored", ["base", "tuned"])
def test_a_tied_head_may_be_stored_or_not(models, tmp_path, stored):
    base, tuned = models
    folders = {"base": base, "tuned": tuned}
    spelled = shutil.copytree(folders[stored], tmp_path / "spelled")
    found = weights(spelled)
    embedding = found["model.embed_tokens.weight"]
    save_file({**found, "lm_head.weight": embedding.clone()}, spelled / "model.safetensors", metadata={"format": "pt"})
    folders[stored] = spelled
    merge_back(config(folders["base"]), folders["tuned"], 0.5, tmp_path / "out")
    merged = weights(tmp_path / "out")
    half = (weights(base)["model.embed_tokens.weight"] + weights(tuned)["model.embed_tokens.weight"]) / 2
    torch.testing.assert_close(merged["model.embed_tokens.weight"], half)
    if stored == "tuned":
        assert torch.equal(merged["lm_head.weight"], merged["model.embed_tokens.weight"])
    assert logits(config(tmp_path / "out")).isfinite().all()


def test_a_family_that_ties_by_default_need_not_say_so(models, tmp_path):
    base, spelled = (shutil.copytree(each, tmp_path / each.name) for each in models)
    told = json.loads((base / "config.json").read_text())
    del told["tie_word_embeddings"]  # as in Gemma's configuration
    (base / "config.json").write_text(json.dumps(told))
    found = weights(spelled)
    found["lm_head.weight"] = found["model.embed_tokens.weight"].clone()
    save_file(found, spelled / "model.safetensors", metadata={"format": "pt"})
    merge_back(config(base), spelled, 0.5, tmp_path / "out")
    merged = weights(tmp_path / "out")
    assert torch.equal(merged["lm_head.weight"], merged["model.embed_tokens.weight"])


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_a_scaled_adapter_is_the_merge_of_the_whole_models(models, tmp_path, alpha):
    base, _ = models
    lora = adapter(base, tmp_path / "lora")
    assert merge_back(config(base), lora, alpha, tmp_path / "out") == "lora"
    plain, tuned = weights_of(base, None), weights_of(base, lora)
    for name, each in weights_of(base, tmp_path / "out").items():
        torch.testing.assert_close(each, plain[name] + alpha * (tuned[name] - plain[name]), rtol=0, atol=2e-6)
    if alpha == 1.0:
        assert all(torch.equal(each, weights(lora)[name]) for name, each in weights(tmp_path / "out").items())
    if alpha == 0.0:
        assert torch.equal(logits(config(base)), logits(config(base), tmp_path / "out"))


def weights_of(base, lora):
    return dict(load_model(config(base), adapter=lora).named_parameters())


@pytest.mark.parametrize("changes", [{"use_dora": True}, {"modules_to_save": ["lm_head"]}])
def test_adapters_that_are_not_linear_become_whole_models(tmp_path, changes):
    base = whole(tmp_path / "base", 0, tie_word_embeddings=False)
    lora = adapter(base, tmp_path / "lora", **changes)
    assert merge_back(config(base), lora, 0.5, tmp_path / "out") == "full"
    plain, tuned, half = weights_of(base, None), weights_of(base, lora), weights(tmp_path / "out")
    assert any(not torch.equal(tuned[name], plain[name]) for name in plain)
    for name, each in plain.items():
        torch.testing.assert_close(half[name], (each + tuned[name]).detach() / 2, rtol=0, atol=2e-6)
    assert {path.name for path in tmp_path.iterdir()} == {"base", "lora", "out"}, "nothing half-made stays"


@pytest.mark.parametrize("alpha", [-0.1, 1.5])
def test_a_way_beyond_the_ends_is_refused(models, tmp_path, alpha):
    with pytest.raises(ModelError, match=r"from 0 \(the base\) to 1"):
        merge_back(config(models[0]), models[1], alpha, tmp_path / "out")


def test_models_that_do_not_belong_together_are_refused_and_leave_nothing(models, tmp_path):
    wide = whole(tmp_path / "wide", 0, vocab_size=400)
    with pytest.raises(ModelError, match="with the same vocabulary"):
        merge_back(config(models[0]), wide, 0.5, tmp_path / "out")
    deep = whole(tmp_path / "deep", 0, num_hidden_layers=3)
    with pytest.raises(ModelError, match="was not tuned from"):
        merge_back(config(models[0]), deep, 0.5, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"neither an adapter nor"):
        merge_back(config(models[0]), tmp_path / "empty", 0.5, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_quantized_weights_are_refused(models, tmp_path):
    base, tuned = models
    small = shutil.copytree(tuned, tmp_path / "int8")
    changed = {name: each.to(torch.int8) for name, each in weights(tuned).items()}
    save_file(changed, small / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="before quantization"):
        merge_back(config(base), small, 0.5, tmp_path / "out")


def test_a_pool_remembers_both_ends_and_the_way_between():
    facts = merge_facts(0.5, "b", "t", "lora", [{"phase": "", "digest": "t"}])
    assert [step.get("alpha") for step in facts["lineage"]] == [None, 0.5]
    assert (facts["lineage"][-1]["parent"], facts["lineage"][-1]["tuned"], facts["method"]) == ("b", "t", "lora")
    json.dumps(facts)
