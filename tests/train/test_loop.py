"""The loop: one normalizer whatever the layout, exact resumption, real learning, clear failures."""

import json
import signal

import numpy as np
import pytest
import torch
from helpers import batches, death, model, plan, rendered, row_loss, trees
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from tunesmith.branches import split
from tunesmith.errors import Interrupted
from tunesmith.pack import pack_rows
from tunesmith.train import TrainConfig, train
from tunesmith.train.adapter import prepare
from tunesmith.types import Batch, Rendered


def gradient(folder, rows):
    """The gradient of an optimizer step over `rows`, as one vector."""
    network = prepare(model(folder), TrainConfig(method="full"))
    batch = Batch(tuple(rows), 0)
    for row in rows:
        (row_loss(network, row) / batch.total_weight).backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@settings(max_examples=10, deadline=None)
@given(row_tokens=st.integers(20, 200), seed=st.integers(0, 5))
def test_layout_never_changes_the_gradient(tiny_model_folder, row_tokens, seed):
    examples = rendered(8, seed)
    one_row = gradient(tiny_model_folder, pack_rows(examples, 1000))
    many_rows = gradient(tiny_model_folder, pack_rows(examples, row_tokens))
    each_alone = gradient(tiny_model_folder, [row for each in examples for row in pack_rows([each], 1000)])
    torch.testing.assert_close(one_row, many_rows, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(one_row, each_alone, atol=1e-6, rtol=1e-4)


def loss_and_gradients(network, rows):
    """The summed loss of `rows` and the gradient of each weight, from zero."""
    network.zero_grad()
    losses = [row_loss(network, row) for row in rows]
    torch.autograd.backward(losses)
    return torch.stack(losses).sum().detach(), {name: p.grad.clone() for name, p in network.named_parameters()}


def assert_equal_learning(one, other, tolerance):
    """Losses and gradients that differ by less than `tolerance` of the largest value of each weight."""
    torch.testing.assert_close(one[0], other[0], rtol=tolerance, atol=0)
    for name, gradient in one[1].items():
        difference = (gradient - other[1][name]).abs().max()
        assert difference <= tolerance * gradient.abs().max(), name


@pytest.mark.parametrize("seed", range(5))
def test_a_tree_teaches_what_its_sequences_teach(tiny_model_folder, seed):
    """The shared prefix in one row, against each turn with its own context; the optimizer sees no difference."""
    network = prepare(model(tiny_model_folder), TrainConfig(method="full"))
    examples = [*trees(3, seed, num_branches=7, longest=20), *rendered(2, seed)]
    shared = pack_rows(examples, 1000)
    apart = [piece for each in examples for piece in split(each)]
    assert sum(piece.num_tokens for piece in apart) > shared[0].num_tokens
    assert_equal_learning(
        loss_and_gradients(network, shared), loss_and_gradients(network, pack_rows(apart, 10_000)), 1e-5
    )
    one_by_one = [row for piece in apart for row in pack_rows([piece], 1000)]
    assert_equal_learning(loss_and_gradients(network, shared), loss_and_gradients(network, one_by_one), 1e-5)


def test_a_tree_teaches_what_its_sequences_teach_to_the_last_digit_of_float64(tmp_path):
    """GPT-2, which computes in its weights' format throughout, against transformers' own attention."""
    from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    GPT2LMHeadModel(
        GPT2Config(vocab_size=320, n_embd=32, n_layer=2, n_head=4, n_positions=512, resid_pdrop=0, embd_pdrop=0)
    ).save_pretrained(tmp_path)
    network = model(tmp_path).double().requires_grad_()
    examples = trees(3, num_branches=7, longest=20)
    ours = loss_and_gradients(network, pack_rows(examples, 1000))
    plain = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager", dtype=torch.float64).eval()
    total = torch.zeros((), dtype=torch.float64)
    for piece in (piece for each in examples for piece in split(each)):
        tokens = torch.from_numpy(piece.tokens).long()
        logits = plain(input_ids=tokens[None]).logits[0, :-1]
        losses = torch.nn.functional.cross_entropy(logits, tokens[1:], reduction="none")
        total = total + (losses * torch.from_numpy(piece.loss_weights)[1:]).sum()
    total.backward()
    assert_equal_learning(ours, (total.detach(), {name: p.grad for name, p in plain.named_parameters()}), 1e-10)


def test_a_fork_predicts_each_of_its_branches(tiny_model_folder):
    """One position, three next tokens: the loss is that of three conversations."""
    network = prepare(model(tiny_model_folder), TrainConfig(method="full"))
    branches = np.array([[0, -1], [4, 2], [5, 2]], np.int32)
    fork = Rendered("fork", np.array([5, 6, 7, 8, 9, 10], np.int32), np.array([0, 0, 0, 1, 2, 3], np.float32), branches)
    three = [
        Rendered(f"c{last}", np.array([5, 6, 7, last], np.int32), np.array([0, 0, 0, weight], np.float32))
        for last, weight in ((8, 1), (9, 2), (10, 3))
    ]
    assert_equal_learning(
        loss_and_gradients(network, pack_rows([fork], 64)), loss_and_gradients(network, pack_rows(three, 64)), 1e-5
    )


def test_trees_train_with_lora_and_recomputed_activations(tiny_model_folder, tmp_path):
    """The whole loop on trees, where peft and recomputation stand between the loop and the attention."""
    options = {"gradient_checkpointing": True}
    train(plan(30, **options), model(tiny_model_folder), batches(trees(4), epochs=30, row_tokens=200), tmp_path)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").open()]
    assert losses[-1] < losses[0] - 0.3


def test_loss_is_the_mean_over_supervised_tokens(tiny_model_folder):
    """Oracle: transformers' own loss with labels, one conversation at a time."""
    from transformers import AutoModelForCausalLM

    examples = rendered(3)
    plain = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    total, count = 0.0, 0
    for each in examples:
        labels = np.where(each.loss_weights != 0, each.tokens, -100)
        loss = plain(
            input_ids=torch.from_numpy(each.tokens).long()[None], labels=torch.from_numpy(labels).long()[None]
        ).loss
        total += float(loss.detach()) * each.num_supervised
        count += each.num_supervised
    (row,) = pack_rows(examples, 1000)
    ours = float(row_loss(model(tiny_model_folder), row).detach()) / Batch((row,), 0).total_weight
    assert ours == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_it_learns_and_saves_what_it_learned(tiny_model_folder, tmp_path, method):
    examples = rendered(4)
    checkpoint = train(plan(30, method=method), model(tiny_model_folder), batches(examples, epochs=30), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert [line["step"] for line in lines] == list(range(1, 31))
    assert lines[-1]["loss"] < lines[0]["loss"] - 0.3
    saved = "adapter_model.safetensors" if method == "lora" else "model.safetensors"
    assert all(tensor.dtype == torch.float32 for tensor in load_file(checkpoint.path / saved).values())
    assert (checkpoint.step, checkpoint.method) == (30, method)


def test_saved_adapter_loads_in_peft_and_merges_to_the_same_answers(tiny_model_folder, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from tunesmith.model import ModelConfig
    from tunesmith.model.load import load_model

    checkpoint = train(plan(5), model(tiny_model_folder), batches(rendered(4), epochs=5), tmp_path)
    base = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    tokens = torch.arange(3, 23)[None]
    with torch.no_grad():
        untuned = base(input_ids=tokens).logits
        adapted = PeftModel.from_pretrained(base, str(checkpoint.path))(input_ids=tokens).logits
        merged = load_model(ModelConfig(name=str(tiny_model_folder), dtype="float32"), adapter=checkpoint.path)
        torch.testing.assert_close(merged(input_ids=tokens).logits, adapted, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(untuned, adapted, atol=1e-4)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_killed_run_resumes_to_the_same_bytes(tiny_model_folder, tmp_path, dropout):
    examples = rendered(10)
    options = {"checkpoint_steps": 2, "adapter": {"dropout": dropout}}

    def straight_or_killed(folder, die_at):
        stream = batches(examples, 3, epochs=3)
        return train(plan(9, **options), model(tiny_model_folder), stream, folder, [death(die_at)])

    whole = straight_or_killed(tmp_path / "whole", die_at=None)
    for die_at in (3, 5, 7):
        with pytest.raises(KeyboardInterrupt):
            straight_or_killed(tmp_path / "killed", die_at)
    resumed = straight_or_killed(tmp_path / "killed", die_at=None)
    assert resumed.digest == whole.digest
    kept = [json.loads(line) for line in (tmp_path / "killed" / "metrics.jsonl").open()]
    assert [line["step"] for line in kept] == list(range(1, 10))


def test_masters_begin_with_the_weights_of_the_file(tiny_model_folder, tmp_path):
    """Not with their bfloat16 rounding: steps of nothing give the file back, while the model computes in bfloat16."""
    network = model(tiny_model_folder, "bfloat16")
    options = {"learning_rate": 1e-30, "method": "full"}
    checkpoint = train(plan(2, **options), network, batches(rendered(8), 4), tmp_path)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.bfloat16}
    before, after = load_file(tiny_model_folder / "model.safetensors"), load_file(checkpoint.path / "model.safetensors")
    for name in before:
        torch.testing.assert_close(after[name], before[name], atol=0, rtol=0)
    name = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(before[name], before[name].bfloat16().float()), "nothing could be lost"


def test_control_c_saves_and_says_how_to_go_on(tiny_model_folder, tmp_path, monkeypatch):
    import tunesmith.train.loop as loop

    real_step = loop.train_step

    def step_then_interrupt(*arguments):
        metrics = real_step(*arguments)
        if arguments[2] == 2:
            signal.raise_signal(signal.SIGINT)
        return metrics

    monkeypatch.setattr(loop, "train_step", step_then_interrupt)
    with pytest.raises(Interrupted, match="stopped at step 3 of 8"):
        train(plan(8), model(tiny_model_folder), batches(rendered(8), 2, epochs=2), tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000003"]
    monkeypatch.setattr(loop, "train_step", real_step)
    resumed = train(plan(8), model(tiny_model_folder), batches(rendered(8), 2, epochs=2), tmp_path)
    assert resumed.step == 8


def test_gradient_checkpointing_leaves_the_result_equal(tiny_model_folder, tmp_path):
    digests = [
        train(
            plan(3, gradient_checkpointing=recompute),
            model(tiny_model_folder),
            batches(rendered(6)),
            tmp_path / str(recompute),
        ).digest
        for recompute in (False, True)
    ]
    first, second = (load_file(tmp_path / str(flag) / "final" / "adapter_model.safetensors") for flag in (False, True))
    for name in first:
        torch.testing.assert_close(first[name], second[name], atol=1e-5, rtol=1e-4)
    assert len(digests) == 2


def test_the_models_own_dropout_is_in_force_and_resumes_exactly(tmp_path):
    """GPT-2 drops hidden states and attention; the random state travels with the checkpoint."""
    from transformers import GPT2Config, GPT2LMHeadModel

    def folder(rate):
        torch.manual_seed(0)
        options = {"resid_pdrop": rate, "embd_pdrop": 0.0, "attn_pdrop": rate}
        shape = {"vocab_size": 320, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
        GPT2LMHeadModel(GPT2Config(**shape, **options)).save_pretrained(tmp_path / f"gpt2-{rate}")
        return tmp_path / f"gpt2-{rate}"

    def run(rate, name, probes=()):
        asked = plan(4, method="full", checkpoint_steps=2)
        return train(asked, model(folder(rate)), batches(rendered(8), 2), tmp_path / name, probes)

    whole = run(0.2, "whole")
    with pytest.raises(KeyboardInterrupt):
        run(0.2, "killed", [death(3)])
    assert run(0.2, "killed").digest == whole.digest
    first = [json.loads((tmp_path / name / "metrics.jsonl").open().readline())["loss"] for name in ("whole", "killed")]
    run(0.0, "without")
    plain = json.loads((tmp_path / "without" / "metrics.jsonl").open().readline())["loss"]
    assert first[0] == first[1] != pytest.approx(plain, rel=1e-6)
