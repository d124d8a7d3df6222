"""Phases: one after the other, each from the weights of the one before; reruns, deaths, lineage."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tunesmith import pipeline
from tunesmith.errors import ConfigError, TunesmithError
from tunesmith.files import folder_digest, read_json, read_jsonl
from tunesmith.phases import phases_of
from tunesmith.pipeline import run
from tunesmith.recipe import build_recipe, load_recipe, to_toml

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
STILL = 1e-30
"""A learning rate at which float32 weights stay what they are, to the last bit."""


def quiet(line):
    pass


@pytest.fixture
def values(tmp_path, tiny_model_folder):
    """Two phases on different data."""
    first = [{"prompt": f"what is {n} plus two?", "completion": str(n + 2)} for n in range(12)]
    second = [{"prompt": f"every day at {n}?", "completion": f"0 {n} * * *"} for n in range(12)]
    for name, rows in (("first", first), ("second", second)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "name": "phased",
        "model": {"name": str(tiny_model_folder), "dtype": "float32"},
        "data": {"paths": [str(tmp_path / "second.jsonl")]},
        "pack": {"batch_conversations": 4},
        "train": {"method": "full", "learning_rate": 1e-3},
        "phases": [{"name": "one", "data": {"paths": [str(tmp_path / "first.jsonl")]}}, {"name": "two"}],
        "pool": {"path": str(tmp_path / "pool"), "alias": "phased"},
    }


def do(values, tmp_path, *sets, root="runs"):
    return run(build_recipe(values, sets), tmp_path / root, quiet)


def weights(folder):
    (path,) = Path(folder).glob("*.safetensors")
    return load_file(path)


def assert_same(one, other, **tolerance):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance)


EXACTLY = {"rtol": 0, "atol": 0}


def train_folder(result, number=None):
    return result.folder / "train" / ("01-one", "02-two")[number]


# The chain


def test_two_phases_are_two_trainings_one_after_the_other(values, tmp_path):
    """The oracle: a plain recipe for each, the second on the model that the first left."""
    both = do(values, tmp_path)
    first = do({**values, "name": "first", "phases": [], "data": values["phases"][0]["data"]}, tmp_path)
    model = {"name": str(first.weights), "dtype": "float32"}
    second = do({**values, "name": "second", "phases": [], "model": model}, tmp_path)
    assert_same(weights(train_folder(both, 0) / "final"), weights(first.weights), **EXACTLY)
    assert_same(weights(both.weights), weights(second.weights), **EXACTLY)
    assert both.weights == train_folder(both, 1) / "final"


@pytest.mark.parametrize(
    ("method", "adapter"),
    [("full", {}), ("lora", {"rank": 2}), ("lora", {"rank": 2, "kind": "dora", "new_tokens": ["<|endoftext|>"]})],
    ids=["full", "lora", "dora and tokens"],
)
def test_weights_are_not_rounded_between_phases(values, tmp_path, method, adapter):
    """Phases compute in bfloat16, which the weights of the first are not representable in."""
    values["model"]["dtype"] = "bfloat16"
    values["train"]["adapter"] = adapter
    sets = (f"train.method={method}", f"phases.two.train.learning_rate={STILL}")
    result = do(values, tmp_path, *sets)
    left = weights(train_folder(result, 0) / "final")
    assert any((tensor != tensor.bfloat16().float()).any() for tensor in left.values())
    assert_same(left, weights(result.weights), **EXACTLY)


def test_an_adapter_is_continued(values, tmp_path):
    result = do(values, tmp_path, "train.method=lora", "train.adapter.rank=2")
    before, after = (weights(train_folder(result, number) / "final") for number in (0, 1))
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert result.entry.manifest["method"] == "lora"


def test_a_merged_adapter_is_base_plus_adapter_and_the_result_stands_alone(values, tmp_path, tiny_model_folder):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    sets = ("train.method=lora", "train.adapter.rank=2", "phases.two.adapter=merge")
    result = do(values, tmp_path, *sets, f"phases.two.train.learning_rate={STILL}")
    base = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32)
    wanted = PeftModel.from_pretrained(base, str(train_folder(result, 0) / "final")).merge_and_unload().state_dict()
    merged = weights(train_folder(result, 0) / "merged")
    assert_same(merged, {name: wanted[name] for name in merged}, rtol=1e-5, atol=1e-7)
    # The second adapter did not move, so that merging it changes nothing.
    assert result.weights == train_folder(result, 1) / "merged"
    assert_same(weights(result.weights), merged, rtol=0, atol=1e-9)
    assert result.entry.manifest["method"] == "full"
    assert (result.entry.path / "weights" / "tokenizer.json").is_file()


def test_an_adapter_after_full_training_is_merged_for_the_pool(values, tmp_path):
    result = do(values, tmp_path, "phases.two.train.method=lora", "phases.two.train.adapter.rank=2")
    assert (train_folder(result, 1) / "final" / "adapter_config.json").is_file()
    assert result.weights == train_folder(result, 1) / "merged"
    assert not do(values, tmp_path, "phases.two.train.method=lora", "phases.two.train.adapter.rank=2").did_work


def test_full_training_after_a_merged_adapter_begins_with_the_merged_weights(values, tmp_path):
    sets = ("phases.one.train.method=lora", "phases.one.train.adapter.rank=2", "phases.two.adapter=merge")
    result = do(values, tmp_path, *sets, f"phases.two.train.learning_rate={STILL}")
    assert_same(weights(train_folder(result, 0) / "merged"), weights(result.weights), **EXACTLY)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_kept_optimizer_goes_on_as_in_one_training(values, tmp_path, method):
    """One step over all conversations in each phase, against one training of two such steps."""
    paths = values["data"]["paths"]
    values["phases"][0]["data"] = {"paths": paths}
    values["train"] |= {"method": method, "adapter": {"rank": 2}, "schedule": {"kind": "constant", "warmup": 0.0}}
    values["pack"]["batch_conversations"] = 12
    whole = weights(do({**values, "name": "whole", "phases": []}, tmp_path, "train.epochs=2.0").weights)
    kept = weights(do({**values, "name": "kept"}, tmp_path, "phases.two.optimizer=keep").weights)
    forgot = weights(do({**values, "name": "reset"}, tmp_path).weights)
    assert_same(whole, kept, rtol=1e-4, atol=1e-6)
    assert any((whole[name] - forgot[name]).abs().max() > 1e-5 for name in whole)


def test_preferences_after_an_adapter_are_measured_against_what_it_had_learned(values, tmp_path):
    """Before the first step the model is its own reference, so the loss of DPO is log 2."""
    pairs = [{"prompt": f"every day at {n}?", "chosen": f"0 {n} * * *", "rejected": "what is that?"} for n in range(8)]
    (tmp_path / "second.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    values["phases"][1]["train"] = {"objective": {"kind": "dpo"}, "learning_rate": 1e-4}
    sets = ("train.method=lora", "train.adapter.rank=2", "phases.one.train.learning_rate=1e-2")
    result = do(values, tmp_path, *sets)
    first = next(value for _, value in read_jsonl(train_folder(result, 1) / "metrics.jsonl"))
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)


# Folders, lineage, reruns, deaths


def marks(result):
    stages = ("data/01-one", "data/02-two", "render/01-one", "pack/01-one", "train/01-one", "train/02-two", "pool")
    return {stage: (result.folder / stage / "manifest.json").stat().st_mtime_ns for stage in stages}


def test_each_manifest_names_its_parent_and_the_pool_the_chain(values, tmp_path):
    result = do(values, tmp_path)
    one, two = (read_json(train_folder(result, number) / "manifest.json") for number in (0, 1))
    base = result.entry.manifest["parent"]["digest"]
    assert one["parent"] == base
    assert two["parent"] == f"{base}+{folder_digest(train_folder(result, 0) / 'final')}"
    lineage = result.entry.manifest["lineage"]
    assert [(each["phase"], each["parent"], each["digest"]) for each in lineage] == [
        ("one", base, one["digest"]),
        ("two", two["parent"], two["digest"]),
    ]


def test_a_second_run_does_nothing_and_a_changed_phase_is_done_again(values, tmp_path):
    before = marks(do(values, tmp_path))
    again = do(values, tmp_path)
    assert not again.did_work and marks(again) == before
    changed = marks(do(values, tmp_path, "phases.two.train.learning_rate=1e-4"))
    assert {stage for stage in before if before[stage] != changed[stage]} == {"train/02-two", "pool"}
    sets = ("phases.one.train.learning_rate=2e-3", "phases.two.train.learning_rate=1e-4")
    earlier = marks(do(values, tmp_path, *sets))
    redone = {stage for stage in before if changed[stage] != earlier[stage]}
    assert redone == {"train/01-one", "train/02-two", "pool"}


def test_a_run_that_died_goes_on_in_the_right_phase(values, tmp_path, monkeypatch):
    from tunesmith.train import loop

    sets = ("train.checkpoint_steps=1", "phases.two.train.epochs=2.0")
    whole = do({**values, "name": "whole"}, tmp_path, *sets)
    real, calls = loop.train_step, []

    def die_in_the_second_phase(engine, batch, step):
        calls.append(step)
        if len(calls) == 3 + 4:
            raise KeyboardInterrupt
        return real(engine, batch, step)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "train_step", die_in_the_second_phase)
        with pytest.raises(KeyboardInterrupt):
            do(values, tmp_path, *sets)
    assert (tmp_path / "runs/phased/train/01-one/manifest.json").is_file()
    assert not (tmp_path / "runs/phased/train/02-two/manifest.json").exists()
    calls.clear()

    def count(engine, batch, step):
        calls.append(step)
        return real(engine, batch, step)

    monkeypatch.setattr(loop, "train_step", count)
    result = do(values, tmp_path, *sets)
    assert calls == [3, 4, 5]
    assert result.entry.digest == whole.entry.digest


def test_data_of_a_later_phase_are_read_before_the_first_is_trained(values, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "train", lambda *arguments: pytest.fail("it trained"))
    (tmp_path / "second.jsonl").write_text('{"prompt": 3}\n')
    with pytest.raises(TunesmithError, match=r"second\.jsonl:1"):
        do(values, tmp_path)


# What a recipe may say


def test_tables_of_a_phase_are_laid_upon_the_recipe(values):
    recipe = build_recipe(
        values,
        [
            "train.adapter.rank=4",
            "phases.one.train.adapter.alpha=8",
            "phases.one.render.train_on=all",
            "train.epochs=3",
        ],
    )
    one, two = phases_of(recipe)
    assert (one.train.adapter.rank, one.train.adapter.alpha, one.train.epochs) == (4, 8, 3)
    assert (two.train.adapter.alpha, two.train) == (32, recipe.train)
    assert (one.main.render.train_on, two.main.render.train_on) == ("all", "assistant")
    # Set to the default on purpose: it stands in place of the recipe's value.
    assert phases_of(build_recipe(values, ["train.epochs=3", "phases.one.train.epochs=1.0"]))[0].train.epochs == 1


def test_toml_reproduces_phases(values, tmp_path):
    recipe = build_recipe(values, ["train.epochs=3", "phases.one.train.epochs=1.0", "phases.two.optimizer=keep"])
    (tmp_path / "again.toml").write_text(to_toml(recipe))
    again = load_recipe(tmp_path / "again.toml")
    assert phases_of(again) == phases_of(recipe)
    assert again == recipe


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["phases.two.name=one"], "two phases are named 'one'"),
        (["phases.one.optimizer=keep"], "no phase before it"),
        (["phases.two.optimizer=keep", "phases.two.train.optimizer.weight_decay=0.1"], "same optimizer"),
        (["phases.one.train.method=lora"], "set phases.two.adapter = merge"),
        (["train.method=lora", "phases.two.train.adapter.rank=3"], "the same adapter cannot go on"),
        (["train.method=lora", "phases.two.adapter=merge", "phases.two.optimizer=keep"], "no merged adapter"),
        (["phases.one.train.learning_rat=1"], r"phases.one.train: .*\n.*did you mean 'learning_rate'"),
        (["phases.one.pack.row_tokens=100"], r"phases.one: render.max_tokens = 2048 exceeds"),
        (["phases.three.train.epochs=1"], "there are one, two"),
    ],
)
def test_phases_that_do_not_fit_are_named(values, sets, words):
    with pytest.raises(ConfigError, match=words):
        build_recipe(values, sets)


# The shipped recipes


@pytest.mark.slow
@pytest.mark.parametrize(("name", "phases"), [("cpt-sft", ["cpt", "sft"]), ("dmt", ["special", "general"])])
def test_shipped_recipes_run_on_their_own_data(name, phases, tmp_path, tiny_model_folder):
    sets = [f"model.name={tiny_model_folder}", "model.dtype=float32", f"pool.path={tmp_path / 'pool'}"]
    recipe = load_recipe(RECIPES / f"{name}.toml", sets)
    lines = []
    result = run(recipe, tmp_path / "runs", lines.append)
    assert [each["phase"] for each in result.entry.manifest["lineage"]] == phases
    assert len(result.tuned.task("heldout").scores) > 0
    folder = result.folder / "mix" / ("01-cpt" if name == "cpt-sft" else "02-general")
    branch = read_json(folder / "mix.json")["branches"][1]
    if name == "cpt-sft":
        assert branch["share"] == pytest.approx(0.05, abs=0.005)
    else:
        assert (branch["num_visits"], branch["num_conversations"]) == (6, 48)
    assert not run(recipe, tmp_path / "runs", quiet).did_work
    assert any(line.startswith(f"train     01-{phases[0]}: done") for line in lines)
