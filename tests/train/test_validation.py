"""Conversations set apart, the loss on them, and what follows from it: early stopping, best states, the schedule."""

import json

import numpy as np
import pytest
import torch
from helpers import batches, death, model, plan, rendered, trees
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.errors import ConfigError, TrainError
from tunesmith.files import folder_digest
from tunesmith.train import EarlyStopConfig, FunctionProbe, TrainConfig, ValidationConfig, train
from tunesmith.train.adapter import prepare
from tunesmith.train.apart import set_apart
from tunesmith.train.judge import Judge, set_aside
from tunesmith.train.validation import ValidationLoss
from tunesmith.types import Rendered


def validation(examples, every_steps=1, row_tokens=200):
    packed = batches(examples, batch=3, row_tokens=row_tokens)
    return ValidationLoss(lambda: (packed[index] for index in range(len(packed))), every_steps)


def metrics_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").open()]


# What is set apart


@given(count=st.integers(2, 60), size=st.one_of(st.floats(0.01, 0.99), st.integers(1, 70)), seed=st.integers(0, 3))
def test_every_conversation_is_trained_on_or_set_apart_and_none_both(count, size, seed):
    examples = rendered(count)
    config = ValidationConfig(size=size, seed=seed)
    wanted = max(1, round(count * size)) if size < 1 else size
    if wanted >= count:
        with pytest.raises(ConfigError, match=r"train\.validation\.size"):
            set_apart(examples, config)
        return
    rest, apart = set_apart(examples, config)
    assert (len(apart), len(rest)) == (wanted, count - wanted)
    named = [each.conversation_id for each in (*rest, *apart)]
    assert sorted(named) == sorted(each.conversation_id for each in examples)
    again = set_apart(examples, config)[1]
    assert [each.conversation_id for each in again] == [each.conversation_id for each in apart]


def test_another_seed_sets_others_apart_and_nothing_is_set_apart_unless_asked():
    examples = rendered(40)
    first, second = (set_apart(examples, ValidationConfig(size=5, seed=seed))[1] for seed in (0, 1))
    assert {each.conversation_id for each in first} != {each.conversation_id for each in second}
    assert set_apart(examples, ValidationConfig()) == (examples, [])


def test_a_part_knows_the_sizes_that_the_whole_knows(tmp_path):
    class Sized(list):
        @property
        def lengths(self):
            return np.array([each.num_tokens for each in self])

        @property
        def supervised(self):
            return np.array([each.num_supervised for each in self])

    examples = Sized(rendered(20))
    for part in set_apart(examples, ValidationConfig(size=0.3)):
        assert part.lengths.tolist() == [each.num_tokens for each in part]
        assert part.supervised.tolist() == [each.num_supervised for each in part]
        assert [each.conversation_id for each in part[1:4]] == [part[n].conversation_id for n in (1, 2, 3)]
        assert part.num_pairs == 0
    assert not hasattr(set_apart(list(examples), ValidationConfig(size=3))[0], "lengths")


@given(sizes=st.lists(st.integers(1, 4), min_size=2, max_size=20), seed=st.integers(0, 3))
def test_the_pieces_of_a_conversation_stay_together(sizes, seed):
    """Rendering may cut a conversation into id, id#2, id#3; half of it must not be validated on the other half."""
    (shape,) = rendered(1)
    names = [
        f"c#{n}" if piece == 1 else f"c#{n}#{piece}" for n, size in enumerate(sizes) for piece in range(1, size + 1)
    ]
    pieces = [Rendered(name, shape.tokens, shape.loss_weights) for name in names]
    parts = set_apart(pieces, ValidationConfig(size=1, seed=seed))
    owners = [{each.conversation_id.split("#")[1] for each in part} for part in parts]
    assert not owners[0] & owners[1]
    assert len(owners[1]) == 1


def test_a_size_that_is_neither_a_fraction_nor_a_count_is_refused():
    with pytest.raises(ConfigError, match="fraction below 1 or a whole count"):
        ValidationConfig.parse({"size": 2.5})


# The loss


@settings(max_examples=8, deadline=None)
@given(row_tokens=st.integers(20, 300), seed=st.integers(0, 3))
def test_the_validation_loss_is_the_mean_over_tokens_whatever_the_layout(tiny_model_folder, row_tokens, seed):
    """Oracle: transformers' own loss, one conversation at a time."""
    from transformers import AutoModelForCausalLM

    examples = rendered(7, seed)
    plain = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    total = count = 0
    for each in examples:
        tokens = torch.from_numpy(each.tokens).long()[None]
        labels = torch.where(torch.from_numpy(each.loss_weights != 0)[None], tokens, -100)
        total += float(plain(input_ids=tokens, labels=labels).loss.detach()) * each.num_supervised
        count += each.num_supervised
    found = validation(examples, row_tokens=row_tokens)(0, model(tiny_model_folder))
    assert found == pytest.approx(total / count, rel=1e-5)


def test_it_is_measured_without_dropout_before_at_and_after_and_leaves_no_trace(tiny_model_folder, tmp_path):
    """The weights of a training with dropout are the same, to the last bit, with and without validation."""
    options = {"adapter": {"dropout": 0.3}}
    apart = trees(3)
    digests = [
        train(
            plan(7, **options), model(tiny_model_folder), batches(rendered(8), 2, epochs=2), tmp_path / name, probes
        ).digest
        for name, probes in (("with", [validation(apart, every_steps=3)]), ("without", []))
    ]
    assert digests[0] == digests[1]
    lines = metrics_of(tmp_path / "with")
    assert [line["step"] for line in lines if "validation_loss" in line] == [0, 3, 6, 7]
    assert "loss" not in lines[0]
    # Before the first step LoRA changes nothing, so the loss is that of the base model.
    assert lines[0]["validation_loss"] == pytest.approx(validation(apart)(0, model(tiny_model_folder)), rel=1e-6)


def test_setting_a_model_aside_keeps_the_mode_of_each_module_and_the_random_state(tiny_model_folder):
    network = prepare(model(tiny_model_folder), TrainConfig(method="full"))
    network.model.layers[0].eval()
    before = [module.training for module in network.modules()]
    state = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt), set_aside(network):
        assert not any(module.training for module in network.modules())
        torch.rand(3)
        raise KeyboardInterrupt
    assert [module.training for module in network.modules()] == before
    assert torch.equal(torch.get_rng_state(), state)


def test_a_validation_loss_that_is_no_number_names_the_conversations(tiny_model_folder):
    network = model(tiny_model_folder)
    network.lm_head.weight = torch.nn.Parameter(network.lm_head.weight.detach().clone())
    with torch.no_grad():
        network.model.embed_tokens.weight[319] = float("nan")
    bad = Rendered("bad", np.array([5, 319, 7], np.int32), np.array([0, 0, 1], np.float32))
    with pytest.raises(
        TrainError, match=r"(?s)after step 4, the loss is nan on conversations set apart.*\n  bad: '"
    ) as e:
        validation([*rendered(3), bad])(4, network)
    assert "\n  c" not in str(e.value)


def test_nothing_supervised_to_validate_on_is_refused(tiny_model_folder):
    silent = Rendered("silent", np.array([5, 6], np.int32), np.zeros(2, np.float32))
    with pytest.raises(TrainError, match="have no supervised token"):
        validation([silent])(0, model(tiny_model_folder))


def test_validation_measures_the_objective_of_the_training(tiny_model_folder, tmp_path):
    """A pair is no supervised conversation: only the objective that learns from it can price it."""
    from test_preferences import made

    config = {"objective": {"kind": "dpo"}, "method": "lora"}
    probe = validation(made(3), every_steps=2)
    train(plan(2, **config), model(tiny_model_folder), batches(made(4), 2, 200), tmp_path, [probe])
    first = metrics_of(tmp_path)[0]
    assert first["validation_loss"] == pytest.approx(np.log(2), rel=1e-4)  # the policy is still its own reference


def test_what_smooths_or_weighs_the_loss_in_training_is_not_validated(tiny_model_folder, tmp_path):
    apart = trees(3)
    options = {"loss": {"label_smoothing": 0.2, "z_loss": 0.1, "kind": "cross_entropy"}}
    train(plan(1, **options), model(tiny_model_folder), batches(rendered(4)), tmp_path, [validation(apart)])
    assert metrics_of(tmp_path)[0]["validation_loss"] == pytest.approx(
        validation(apart)(0, model(tiny_model_folder)), rel=1e-6
    )


# The judge


def judge(tmp_path, higher=False, **options):
    probe = FunctionProbe("p", lambda step, network: None, higher_is_better=higher)
    return Judge(TrainConfig(score="p", **options), [probe], tmp_path)


def keep(path):
    path.mkdir(parents=True)


values = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=12)


@given(scores=values, higher=st.booleans(), num_kept=st.integers(1, 4), cut=st.integers(0, 12))
def test_the_best_states_are_kept_and_resuming_changes_nothing(tmp_path_factory, scores, higher, num_kept, cut):
    folder = tmp_path_factory.mktemp("best")
    ours = judge(folder, higher, keep_best=num_kept)
    for step, value in enumerate(scores, 1):
        if step == cut:
            state = json.loads(json.dumps(ours.state()))
            ours = judge(folder, higher, keep_best=num_kept)
            ours.restore(state)
        ours.observe(step, {"p": value}, keep)
    ours.prune()
    ranked = sorted(enumerate(scores, 1), key=lambda pair: (-pair[1] if higher else pair[1], pair[0]))[:num_kept]
    assert ours.kept == ranked
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"step-{step:06d}" for step, _ in ranked)
    assert ours.best() == (ranked[0][0], folder / f"step-{ranked[0][0]:06d}")


@given(scores=values, patience=st.integers(1, 3), min_gain=st.sampled_from([0.0, 1.5]))
def test_patience_runs_out_after_so_many_measurements_without_a_gain(tmp_path_factory, scores, patience, min_gain):
    ours = judge(tmp_path_factory.getbasetemp(), early_stop={"patience": patience, "min_gain": min_gain})
    best, waited = np.inf, 0
    for step, value in enumerate(scores, 1):
        ours.observe(step, {"p": value}, keep)
        best, waited = (value, 0) if best - value > min_gain else (best, waited + 1)
        assert ours.is_over == (waited >= patience)
        if ours.is_over:
            break


def test_what_is_no_number_is_never_the_best(tmp_path):
    ours = judge(tmp_path, keep_best=2, early_stop={"patience": 2})
    ours.observe(1, {"p": float("nan")}, keep)
    ours.observe(2, {"p": 3.0}, keep)
    ours.observe(3, {"q": 1.0}, keep)
    ours.observe(4, {"p": float("nan")}, keep)
    assert ours.kept == [(2, 3.0)]
    assert not ours.is_over
    ours.observe(5, {"p": 3.0}, keep)
    assert ours.is_over
    assert ours.kept == [(2, 3.0), (5, 3.0)]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"final": "best"}, r"set train\.validation\.size"),
        ({"keep_best": 1}, r"set train\.validation\.size"),
        ({"early_stop": {"patience": 1}, "score": "accurcy"}, r"'accurcy' is no probe .*there are: accuracy"),
        ({"schedule": {"kind": "plateau"}}, r"set train\.validation\.size"),
    ],
)
def test_a_score_that_nothing_measures_shows_before_training(tmp_path, options, complaint):
    probe = FunctionProbe("accuracy", lambda step, network: 1.0)
    with pytest.raises(ConfigError, match=complaint):
        Judge(TrainConfig(**options), [probe], tmp_path)


def test_two_probes_of_one_name_are_refused(tmp_path):
    probe = FunctionProbe("accuracy", lambda step, network: 1.0)
    with pytest.raises(ConfigError, match="two probes are called 'accuracy'"):
        Judge(TrainConfig(), [probe, probe], tmp_path)


# In a training


def falling_then_rising(step, network):
    return abs(step - 4.0)


def staged(folder, model_folder, die_at=None, num_steps=12, **options):
    probe = FunctionProbe("p", falling_then_rising, every_steps=2, higher_is_better=False)
    constant = {"kind": "constant"}
    config = plan(num_steps, score="p", checkpoint_steps=3, adapter={"dropout": 0.1}, schedule=constant, **options)
    stream = batches(rendered(10), 2, epochs=3)
    return train(config, model(model_folder), stream, folder, [probe, death(die_at)])


def test_training_stops_early_says_why_and_takes_the_best(tiny_model_folder, tmp_path, capsys):
    options = {"early_stop": EarlyStopConfig(patience=2), "keep_best": 2, "final": "best"}
    checkpoint = staged(tmp_path, tiny_model_folder, **options)
    assert checkpoint.step == 4
    assert [line["step"] for line in metrics_of(tmp_path)] == list(range(9))
    assert [line.get("p") for line in metrics_of(tmp_path)][::2] == [4, 2, 0, 2, 4]
    assert "stopped early: p has not gained on 0.0 in 2 measurements" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "best").iterdir()} >= {"step-000004", "step-000002"}
    assert checkpoint.digest == folder_digest(tmp_path / "best" / "step-000004")
    straight = staged(tmp_path / "four", tiny_model_folder, num_steps=4)
    same = [folder / "final" / "adapter_model.safetensors" for folder in (tmp_path, tmp_path / "four")]
    assert straight.step == 4
    assert same[0].read_bytes() == same[1].read_bytes(), "the best state is the one that training had at that step"


@pytest.mark.parametrize("deaths", [(1, 7), (4, 5)])
def test_a_killed_training_stops_at_the_same_step_with_the_same_best(tiny_model_folder, tmp_path, deaths):
    options = {"early_stop": EarlyStopConfig(patience=2), "keep_best": 2, "final": "best"}
    whole = staged(tmp_path / "whole", tiny_model_folder, **options)
    for die_at in deaths:
        with pytest.raises(KeyboardInterrupt):
            staged(tmp_path / "killed", tiny_model_folder, die_at, **options)
    again = staged(tmp_path / "killed", tiny_model_folder, **options)
    assert (again.step, again.digest) == (whole.step, whole.digest)
    assert [line["step"] for line in metrics_of(tmp_path / "killed")] == list(range(9))


def test_the_best_is_never_missing_because_a_later_one_came_before_the_death(tiny_model_folder, tmp_path):
    """The state at step 2 is the best until step 4; a training resumed from step 3 still finds it."""
    options = {"keep_best": 1, "final": "best"}
    with pytest.raises(KeyboardInterrupt):
        staged(tmp_path, tiny_model_folder, 5, **options)
    assert {path.name for path in (tmp_path / "best").iterdir()} == {"step-000002", "step-000004"}
    assert staged(tmp_path, tiny_model_folder, **options).step == 4
    assert {path.name for path in (tmp_path / "best").iterdir()} == {"step-000004"}


def test_the_best_of_a_score_that_was_never_measured_is_an_error(tiny_model_folder, tmp_path):
    probe = FunctionProbe("p", lambda step, network: None)
    with pytest.raises(TrainError, match="p was never measured"):
        train(plan(2, score="p", final="best"), model(tiny_model_folder), batches(rendered(4), 2), tmp_path, [probe])


def test_a_plateau_of_the_validation_loss_lowers_the_rate(tiny_model_folder, tmp_path):
    options = {"schedule": {"kind": "plateau", "plateau_patience": 0, "warmup": 0}}
    probe = FunctionProbe("validation_loss", lambda step, network: 1.0, every_steps=2, higher_is_better=False)
    train(plan(8, **options), model(tiny_model_folder), batches(rendered(8), 1), tmp_path, [probe])
    rates = [line["learning_rate"] for line in metrics_of(tmp_path) if line["step"]]
    assert rates == pytest.approx([1e-2] * 4 + [5e-3] * 2 + [2.5e-3] * 2)
