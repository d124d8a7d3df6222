"""Learning from pairs: formulas by hand, log-probabilities by transformers, and layout never matters."""

import json
import math

import numpy as np
import pytest
import torch
from helpers import batches, death, model, plan, rendered
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.branches import sequences, split
from tunesmith.errors import ConfigError, TrainError
from tunesmith.model import ModelConfig
from tunesmith.pack import pack_rows
from tunesmith.train import ObjectiveConfig, TrainConfig, train
from tunesmith.train.adapter import prepare
from tunesmith.train.head import find_head
from tunesmith.train.metrics import visits
from tunesmith.train.objectives.make import check_data, make_objective
from tunesmith.train.objectives.pair_losses import Pairs, pair_losses, rewards
from tunesmith.train.plan import make_plan
from tunesmith.types import Batch, Rendered

KINDS = ("dpo", "ipo", "simpo", "orpo")


def objective(kind, **preference):
    return ObjectiveConfig(kind=kind, preference=preference)


def pairs_of(*columns):
    return Pairs(*(torch.tensor(column, dtype=torch.float64) for column in columns))


# One pair: log p of the chosen answer -6 over 3 tokens, of the rejected -10 over 4; reference -7 and -9.
ONE = pairs_of([-6.0], [-10.0], [3.0], [4.0], [-7.0], [-9.0])
H = (-6 - -10) - (-7 - -9)  # 2: how much more than the reference the model prefers the chosen answer


def log_sigmoid(value):
    return -math.log1p(math.exp(-value))


def log_odds(log_p):
    return log_p - math.log(1 - math.exp(log_p))


BY_HAND = [
    (objective("dpo"), -log_sigmoid(0.1 * H)),
    (objective("dpo", beta=0.5), 0.31326168751822286),  # log(1 + e^-1)
    (
        objective("dpo", beta=0.5, label_smoothing=0.2),
        0.8 * 0.31326168751822286 + 0.2 * 1.3132616875182228,
    ),
    (objective("dpo", chosen_weight=2.0), -log_sigmoid(0.1 * H) + 2 * 6 / 3),
    (objective("ipo", beta=0.25), ((-6 + 7) / 3 - (-10 + 9) / 4 - 2) ** 2),
    (objective("simpo"), -log_sigmoid(2.0 * (-2 + 2.5) - 1.0)),
    (objective("simpo", beta=2.5, margin=0.5), -log_sigmoid(2.5 * 0.5 - 0.5)),
    (objective("orpo"), -0.1 * log_sigmoid(log_odds(-2.0) - log_odds(-2.5)) + 2.0),
    (objective("orpo", beta=1.0, chosen_weight=0.0), -log_sigmoid(log_odds(-2.0) - log_odds(-2.5))),
]


@pytest.mark.parametrize(("config", "expected"), BY_HAND)
def test_losses_by_hand(config, expected):
    assert pair_losses(ONE, config).tolist() == pytest.approx([expected], rel=1e-12)


def test_rewards_by_hand():
    assert [float(each) for each in rewards(ONE, objective("dpo"))] == pytest.approx([0.1, -0.1])
    assert [float(each) for each in rewards(ONE, objective("simpo"))] == pytest.approx([2 * 1 / 3, 2 * -1 / 4])


@pytest.mark.parametrize("kind", KINDS)
def test_an_indifferent_model_is_pushed_apart_and_a_certain_one_stays_finite(kind):
    even = pairs_of([-5.0], [-5.0], [5.0], [5.0], [-5.0], [-5.0])
    even = even._replace(chosen_P=even.chosen_P.requires_grad_(), rejected_P=even.rejected_P.requires_grad_())
    loss = pair_losses(even, objective(kind, chosen_weight=0.0)).sum()
    up, down = torch.autograd.grad(loss, [even.chosen_P, even.rejected_P])
    assert up < 0 < down
    certain = even._replace(chosen_P=torch.zeros(1, dtype=torch.float64, requires_grad=True))
    torch.autograd.backward(pair_losses(certain, objective(kind)).sum())
    assert torch.isfinite(certain.chosen_P.grad).all()


# The model


def pair(generator, identifier="p", longest=12):
    """A random pair as one tree: a prompt, and two answers of different lengths that begin with the same token."""
    prompt, chosen, rejected = (int(generator.integers(2, longest)) for _ in range(3))
    tokens = generator.integers(3, 300, prompt + chosen + rejected).astype(np.int32)
    tokens[prompt + chosen] = tokens[prompt]
    weights = np.repeat(np.array([0, 1, -1], np.float32), [prompt, chosen, rejected])
    branches = np.array([[0, -1], [prompt + chosen, prompt - 1]], np.int32)
    return Rendered(identifier, tokens, weights, branches)


def made(count=4, seed=0):
    generator = np.random.default_rng(seed)
    return [pair(generator, f"p{index}") for index in range(count)]


def apart(example):
    """The same pair as two sequences side by side."""
    first, second = split(example)
    weights = np.concatenate([first.loss_weights, second.loss_weights])
    branches = np.array([[0, -1], [first.num_tokens, -1]], np.int32)
    return Rendered(example.conversation_id, np.concatenate([first.tokens, second.tokens]), weights, branches)


def moved(network, seed=0, scale=0.05):
    """The trained weights a little off, so that model and reference differ."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter += scale * torch.randn_like(parameter)
    return network


def loss_and_gradient(network, learned, rows):
    network.zero_grad()
    batch = learned.prepare(network, Batch(tuple(rows), 0), 0)
    found = [learned.row_loss(network, row) for row in batch.rows]
    total = sum(each.total for each in found) / learned.normalizer(batch)
    total.backward()
    return float(total.detach()), torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def prepared(folder, kind, method="full", **preference):
    config = TrainConfig(method=method, objective=objective(kind, **preference))
    network = prepare(model(folder), config)
    return network, make_objective(config, network, find_head(network, 5))


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_each_answer_alone(tiny_model_folder, kind):
    """Oracle: transformers' own model, one sequence at a time, and the pair losses in float64."""
    from transformers import AutoModelForCausalLM

    network, learned = prepared(tiny_model_folder, kind)
    before = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    after = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    after.load_state_dict(moved(network).state_dict())
    examples = made(3)

    def sums(plain, example):
        found = []
        for places in sequences(example.branches, example.num_tokens):
            tokens = torch.from_numpy(example.tokens[places]).long()
            with torch.no_grad():
                log_p = plain(input_ids=tokens[None]).logits[0, :-1].double().log_softmax(-1)
            picked = log_p.gather(1, tokens[1:, None])[:, 0].numpy()
            found.append(float(picked[example.loss_weights[places][1:] != 0].sum()))
        return found

    policy, reference = ([sums(plain, each) for each in examples] for plain in (after, before))
    columns = list(zip(*policy, strict=True))
    lengths = [[int((sign * each.loss_weights > 0).sum()) for each in examples] for sign in (1, -1)]
    expected = pair_losses(pairs_of(*columns, *lengths, *zip(*reference, strict=True)), learned.config)
    ours, _ = loss_and_gradient(network, learned, pack_rows(examples, 1000))
    assert ours == pytest.approx(float(expected.mean()), rel=1e-4)


@settings(max_examples=6, deadline=None)
@given(row_tokens=st.integers(40, 120), seed=st.integers(0, 5), kind=st.sampled_from(KINDS))
def test_layout_never_changes_the_gradient(tiny_model_folder, row_tokens, seed, kind):
    """One row, several rows, each pair alone, and the prompt shared or repeated."""
    network, learned = prepared(tiny_model_folder, kind, chosen_weight=0.5)
    moved(network)
    examples = made(5, seed)
    loss, gradient = loss_and_gradient(network, learned, pack_rows(examples, 1000))
    layouts = [
        pack_rows(examples, row_tokens),
        [row for each in examples for row in pack_rows([each], 1000)],
        pack_rows([apart(each) for each in reversed(examples)], 1000),
    ]
    for rows in layouts:
        other_loss, other = loss_and_gradient(network, learned, rows)
        assert other_loss == pytest.approx(loss, rel=1e-4)
        torch.testing.assert_close(other, gradient, atol=2e-6, rtol=1e-3)


def test_the_reference_is_the_model_before_training(tiny_model_folder):
    """An adapter switched off, dropout and all, gives what a frozen copy gives, and draws no random number."""
    rows = pack_rows(made(3), 1000)
    frozen, by_copy = prepared(tiny_model_folder, "dpo")
    config = TrainConfig(objective=objective("dpo"), adapter={"dropout": 0.5})
    adapted = prepare(model(tiny_model_folder), config)
    switched = make_objective(config, adapted, find_head(adapted, 5))
    from tunesmith.train.forward import row_tensors

    tensors = row_tensors(rows[0], adapted)
    moved(frozen), moved(adapted)
    state = torch.get_rng_state()
    one, other = by_copy.reference.log_probs(frozen, tensors), switched.reference.log_probs(adapted, tensors)
    torch.testing.assert_close(one, other)
    assert torch.equal(torch.get_rng_state(), state) and adapted.training
    untouched = model(tiny_model_folder)
    torch.testing.assert_close(one, by_copy.reference.log_probs(untouched, tensors))


def test_the_loss_of_a_conversation_is_that_of_its_chosen_answer(tiny_model_folder):
    """Closer figures are -log p of what is to be said; the rejected answer has no part in them."""
    network, learned = prepared(tiny_model_folder, "simpo")
    (row,) = pack_rows(made(3), 1000)
    found = learned.row_loss(network, row)
    chosen_S = row.loss_weights[found.targets_S] > 0
    for visit in visits([(row, found)]):
        own_S = row.segments[found.targets_S] == row.conversation_ids.index(visit.conversation_id)
        assert visit.loss == pytest.approx(float(found.losses_S.numpy()[own_S & chosen_S].mean()))


def test_before_the_first_step_dpo_is_log_two(tiny_model_folder):
    network, learned = prepared(tiny_model_folder, "dpo", method="lora")
    loss, gradient = loss_and_gradient(network, learned, pack_rows(made(4), 1000))
    assert loss == pytest.approx(math.log(2), rel=1e-6)
    assert gradient.abs().max() > 0


@pytest.mark.parametrize(("kind", "method"), [("dpo", "lora"), ("ipo", "full"), ("simpo", "lora"), ("orpo", "full")])
def test_training_prefers_what_was_chosen(tiny_model_folder, tmp_path, kind, method):
    config = {"method": method, "objective": objective(kind)}
    train(plan(25, **config), model(tiny_model_folder), batches(made(4), epochs=25, row_tokens=200), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert lines[-1]["reward_accuracy"] == 1.0
    assert lines[-1]["reward_margin"] > lines[0]["reward_margin"] + 0.05
    margin = lines[-1]["chosen_reward"] - lines[-1]["rejected_reward"]
    assert lines[-1]["reward_margin"] == pytest.approx(margin, abs=1e-4)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_killed_run_resumes_to_the_same_bytes(tiny_model_folder, tmp_path, method):
    """The reference of a resumed run is the model before training, not the one of the checkpoint."""
    config = {"method": method, "objective": objective("dpo"), "checkpoint_steps": 2}

    def run(folder, die_at):
        stream = batches(made(6), 2, 200, 2.0)
        return train(plan(6, **config), model(tiny_model_folder), stream, folder, [death(die_at)])

    whole = run(tmp_path / "whole", None)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", 5)
    assert run(tmp_path / "killed", None).digest == whole.digest


# What does not fit is refused


def test_what_is_no_pair_stops_the_step(tiny_model_folder):
    network, learned = prepared(tiny_model_folder, "simpo")
    half = split(made(1)[0])[0]
    with pytest.raises(TrainError, match=r"conversation p0 is no pair: it has trained tokens of chosen answer"):
        loss_and_gradient(network, learned, pack_rows([half], 1000))


@pytest.mark.parametrize(
    ("kind", "examples", "complaint"),
    [
        ("dpo", rendered(3), "3 of 3 conversations have no rejected answer"),
        ("orpo", [*made(2), *rendered(1)], "1 of 3 conversations have no rejected answer"),
        ("supervised", [*made(2), *rendered(1)], "2 of 3 conversations are pairs"),
    ],
)
def test_the_data_must_be_what_the_objective_learns_from(tiny_model_folder, kind, examples, complaint):
    config = TrainConfig(objective=objective(kind))
    with pytest.raises(ConfigError, match=complaint):
        make_plan(config, ModelConfig(name=str(tiny_model_folder)), tiny_model_folder, batches(examples, row_tokens=99))


def test_the_plan_says_what_the_model_is_compared_with(tiny_model_folder):
    def lines(method, kind):
        config = TrainConfig(method=method, objective=objective(kind))
        found = make_plan(config, ModelConfig(), tiny_model_folder, batches(made(4), row_tokens=99)).lines
        return {line.name: f"{line.value}: {line.reason}" for line in found}

    assert "the adapter switched off" in lines("lora", "dpo")["reference"]
    assert "a frozen copy" in lines("full", "ipo")["reference"]
    assert "reference" not in lines("full", "simpo")
    assert lines("full", "simpo")["objective"].startswith("simpo: beta 2")
    assert lines("full", "dpo")["learning rate"].startswith("1.0e-06: the default for method = full, learning from")
    assert check_data(ObjectiveConfig(), 0, 5) is None


@pytest.mark.parametrize(
    ("kind", "preference"), [("ipo", {"label_smoothing": 0.1}), ("dpo", {"margin": 1.0}), ("supervised", {"margin": 1})]
)
def test_a_field_that_nothing_would_read_is_refused(kind, preference):
    with pytest.raises(ConfigError, match="it does not go with kind"):
        ObjectiveConfig.parse({"kind": kind, "preference": preference}, "train.objective")
