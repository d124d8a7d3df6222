"""What moves the weights: small updates arrive, every kind is its library's, and all of it survives resuming."""

import json
import math
import sys
from types import SimpleNamespace

import pytest
import torch
from helpers import batches, death, fresh_model, model, plan, rendered, row_loss
from safetensors.torch import load_file, save_file

from tunesmith.errors import ConfigError, MissingExtra, TrainError
from tunesmith.pack import pack_rows
from tunesmith.train import OptimizerConfig, TrainConfig, train
from tunesmith.train.adapter import prepare
from tunesmith.train.optim import make_optimizer
from tunesmith.train.optim.places import trained_weights
from tunesmith.train.optim.precision import round_stochastically
from tunesmith.types import Batch

CHOICES = [
    {"kind": "adamw"},
    {"kind": "adamw", "precision": "stochastic_rounding"},
    {"kind": "muon"},
    {"kind": "muon", "precision": "stochastic_rounding"},
    {"kind": "schedule_free"},
]


def names(choices):
    return "-".join(choices.values())


class Stack(torch.nn.Module):
    """The bones of a model: embeddings, layers, head."""

    def __init__(self, dtype=torch.float32, num_layers=2, width=16, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.embed = torch.nn.Embedding(8, width)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(width, width) for _ in range(num_layers))
        self.head = torch.nn.Linear(width, 8, bias=False)
        for parameter in self.parameters():
            parameter.data = torch.empty_like(parameter).normal_(0, 0.1, generator=generator).to(dtype)


def give_gradients(network, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        gradient = torch.empty(parameter.shape).normal_(generator=generator).to(parameter.dtype)
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def steps(network, optimizer, first, last, rate=1e-3):
    for number in range(first, last):
        give_gradients(network, number)
        optimizer.collect_gradients()
        optimizer.step(rate)


def weights(network):
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


# Small updates


@pytest.mark.parametrize("choices", CHOICES, ids=names)
def test_a_millionth_moves_bfloat16_weights(choices):
    """At a rate of 1e-6 AdamW moves a weight by 1e-6 a step; after 200 steps of the same gradient by 2e-4."""
    network = Stack(torch.bfloat16, width=64)
    before = weights(network)
    optimizer = make_optimizer(network, OptimizerConfig(**choices))
    for _ in range(200):
        for parameter in network.parameters():
            parameter.grad = torch.full_like(parameter, 0.01)
        optimizer.collect_gradients()
        optimizer.step(1e-6)
    moved = optimizer.final_weights()["embed.weight"] - before["embed.weight"].float()
    expected = -1e-4 if choices["kind"] == "schedule_free" else -2e-4  # the average lies half way
    assert float(moved.mean()) == pytest.approx(expected, rel=0.15)
    hidden = optimizer.final_weights()["layers.0.weight"] - before["layers.0.weight"].float()
    assert float(hidden.mean()) < -1e-6


def test_plain_bfloat16_would_not_move():
    """Why masters or stochastic rounding are there."""
    network = Stack(torch.bfloat16, width=64)
    before = network.embed.weight.detach().clone()
    plain = torch.optim.AdamW(network.parameters(), lr=1e-6, weight_decay=0.0, fused=True)
    for _ in range(200):
        for parameter in network.parameters():
            parameter.grad = torch.full_like(parameter, 0.01)
        plain.step()
    large = before.abs() > 0.01
    assert large.float().mean() > 0.8
    assert torch.equal(network.embed.weight[large], before[large])


def test_stochastic_rounding_keeps_the_mean_and_what_is_exact():
    wide = torch.tensor([1.0 + 2**-10, -0.3, 3e-5, 1e30]).repeat(40_000, 1)
    coarse = round_stochastically(wide, torch.Generator().manual_seed(0)).float()
    below, above = coarse.amin(0), coarse.amax(0)
    assert torch.all(above - below <= wide[0].abs() * 2**-7)
    spread = (above - below) / math.sqrt(wide.shape[0])
    assert torch.all((coarse.double().mean(0) - wide[0].double()).abs() <= 3 * spread)
    exact = torch.tensor([0.0, -0.0, 1.0, -2.5, float("inf"), 2.0**-130])
    assert torch.equal(round_stochastically(exact, torch.Generator().manual_seed(1)).float(), exact)
    nan = round_stochastically(torch.full((1000,), float("nan")), torch.Generator().manual_seed(2))
    assert nan.isnan().all()


def test_stochastic_rounding_keeps_no_float32_copy():
    """What is remembered between steps: two float32 moments and a step count a weight, and nothing of four bytes
    for the weight itself."""
    network = Stack(torch.bfloat16)
    optimizer = make_optimizer(network, OptimizerConfig(precision="stochastic_rounding"))
    steps(network, optimizer, 0, 2)
    kept = {id(tensor): tensor for tensor in optimizer.tensors().values()}.values()
    size = sum(parameter.numel() for parameter in network.parameters())
    assert sum(tensor.nbytes for tensor in kept) - size * (2 + 8) < 100
    assert all(wide.numel() == 0 for wide in optimizer._keeper._wide)


def test_stochastic_rounding_refuses_float16():
    with pytest.raises(TrainError, match=r"embed.weight is float16.*masters"):
        make_optimizer(Stack(torch.float16), OptimizerConfig(precision="stochastic_rounding"))


def test_a_small_learning_rate_moves_a_bfloat16_model(tiny_model_folder, tmp_path):
    network, before = model(tiny_model_folder, "bfloat16"), load_file(tiny_model_folder / "model.safetensors")
    checkpoint = train(plan(20, learning_rate=1e-6, method="full"), network, batches(rendered(4), epochs=20), tmp_path)
    saved = load_file(checkpoint.path / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    moved = (saved[name] - before[name]).abs()
    assert float((moved > 0).float().mean()) > 0.99
    assert float(moved.max()) < 1e-4


# Gradients


def test_gradients_of_micro_batches_are_summed_in_float32():
    network = Stack(torch.bfloat16)
    optimizer = make_optimizer(network, OptimizerConfig(clip_norm=1e9))
    for value in (1.0, 2**-9, 2**-9):  # in bfloat16 the small ones would vanish beside the large one
        for parameter in network.parameters():
            parameter.grad = torch.full_like(parameter, value)
        optimizer.collect_gradients()
        assert all(parameter.grad is None for parameter in network.parameters())
    size = sum(parameter.numel() for parameter in network.parameters())
    assert optimizer.step(0.0) == pytest.approx((1 + 2**-8) * math.sqrt(size), rel=1e-6)


def test_float32_weights_have_no_copies():
    """The optimizer moves the model's own weights by the gradients that autograd has made."""
    network = Stack()
    optimizer = make_optimizer(network, OptimizerConfig())
    own = {parameter.data_ptr() for parameter in network.parameters()}
    assert {tensor.data_ptr() for name, tensor in optimizer.tensors().items() if name.startswith("weight/")} == own
    give_gradients(network, 0)
    optimizer.collect_gradients()
    assert all(gradient is None for gradient in optimizer._gradients)
    optimizer.step(1e-3)
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_clipped_as_torch_clips(dtype):
    ours, theirs = Stack(dtype), Stack()
    for one, other in zip(theirs.parameters(), ours.parameters(), strict=True):
        one.data = other.data.float().clone()
    give_gradients(ours, 3)
    for one, other in zip(theirs.parameters(), ours.parameters(), strict=True):
        one.grad = other.grad.float().clone()
    plain = torch.optim.AdamW(theirs.parameters(), lr=1e-2, weight_decay=0.0)
    norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
    plain.step()
    optimizer = make_optimizer(ours, OptimizerConfig(clip_norm=0.5))
    assert optimizer.step(1e-2) == pytest.approx(float(norm))
    for name, weight in optimizer.final_weights().items():
        torch.testing.assert_close(weight, theirs.get_parameter(name).detach(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("choices", CHOICES, ids=names)
def test_a_gradient_that_is_no_number_moves_nothing(choices):
    network = Stack(torch.bfloat16)
    optimizer = make_optimizer(network, OptimizerConfig(**choices))
    before = weights(network)
    give_gradients(network, 0)
    network.head.weight.grad[0, 0] = float("nan")
    assert math.isnan(optimizer.step(1e-3))
    assert_same(weights(network), before)
    assert all(parameter.grad is None for parameter in network.parameters())


# Each kind is its library's


def library(kind, network):
    if kind == "adamw":
        return [torch.optim.AdamW(network.parameters(), lr=1e-2, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.0)]
    if kind == "schedule_free":
        from schedulefree import AdamWScheduleFree

        rule = AdamWScheduleFree(network.parameters(), lr=1e-2, betas=(0.8, 0.95), eps=1e-6)
        rule.train()
        return [rule]
    matrices = [layer.weight for layer in network.layers]
    others = [network.embed.weight, network.head.weight, *(layer.bias for layer in network.layers)]
    return [
        torch.optim.Muon(matrices, lr=1e-2, momentum=0.9, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=1e-2, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.0),
    ]


@pytest.mark.parametrize("kind", ["adamw", "muon", "schedule_free"])
@pytest.mark.parametrize("precision", ["masters", "stochastic_rounding"])
def test_each_kind_moves_as_its_library_does(kind, precision):
    if kind == "schedule_free" and precision != "masters":
        return
    ours, theirs = Stack(), Stack()
    choices = {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-6, "clip_norm": 1e9}
    if kind == "muon":
        choices["momentum"] = 0.9
    optimizer = make_optimizer(ours, OptimizerConfig(kind=kind, precision=precision, **choices))
    rules = library(kind, theirs)
    steps(ours, optimizer, 0, 5, rate=1e-2)
    for number in range(5):
        theirs.zero_grad()
        give_gradients(theirs, number)
        for rule in rules:
            rule.step()
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(ours.get_parameter(name), parameter, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", ["adamw", "muon", "schedule_free"])
def test_weight_decay_is_on_matrices_only(kind):
    network = Stack()
    optimizer = make_optimizer(network, OptimizerConfig(kind=kind, weight_decay=0.5))
    before = weights(network)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(1e-2)
    for name, parameter in network.named_parameters():
        expected = before[name] * (1 - 1e-2 * 0.5) if parameter.ndim > 1 else before[name]
        torch.testing.assert_close(optimizer.final_weights()[name], expected, atol=1e-7, rtol=1e-5)


def test_the_judged_weights_of_schedule_free_are_its_average():
    from schedulefree import AdamWScheduleFree

    ours, theirs = Stack(), Stack()
    optimizer = make_optimizer(ours, OptimizerConfig(kind="schedule_free", clip_norm=1e9))
    steps(ours, optimizer, 0, 5, rate=1e-2)
    rule = AdamWScheduleFree(theirs.parameters(), lr=1e-2)
    rule.train()
    for number in range(5):
        theirs.zero_grad()
        give_gradients(theirs, number)
        rule.step()
    rule.eval()
    learning = weights(ours)
    with optimizer.judged():
        judged = weights(ours)
    assert_same(weights(ours), learning)
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(judged[name], parameter.detach(), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(optimizer.final_weights()[name], judged[name])
        assert not torch.allclose(judged[name], learning[name], atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_judging_changes_nothing(dtype):
    for choices in CHOICES:
        one, other = Stack(dtype), Stack(dtype)
        first, second = (make_optimizer(network, OptimizerConfig(**choices)) for network in (one, other))
        for number in range(4):
            steps(one, first, number, number + 1)
            steps(other, second, number, number + 1)
            with second.judged():
                pass
        assert_same(weights(one), weights(other))


def test_adamw_8bit_needs_cuda_and_names_its_extra():
    with pytest.raises(TrainError, match=r"CUDA only.*adamw-8bit.*runs on cpu"):
        make_optimizer(Stack(), OptimizerConfig(kind="adamw_8bit"))


def test_adamw_8bit_without_bitsandbytes_says_what_to_install(monkeypatch):
    from tunesmith.train.optim import kinds

    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    on_cuda = SimpleNamespace(device=torch.device("cuda"))
    with pytest.raises(MissingExtra, match=r"bitsandbytes.*tunesmith\[adamw-8bit\]"):
        kinds.make_rules(OptimizerConfig(kind="adamw_8bit"), [(on_cuda, None)])


def test_schedule_free_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "schedulefree", None)
    with pytest.raises(MissingExtra, match=r"schedulefree.*tunesmith\[schedule-free\]"):
        make_optimizer(Stack(), OptimizerConfig(kind="schedule_free"))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"optimizer": {"kind": "schedule_free"}}, "schedule.kind = 'cosine' would decay twice"),
        ({"optimizer": {"kind": "schedule_free", "precision": "stochastic_rounding"}}, 'set precision = "masters"'),
        ({"optimizer": {"kind": "schedule_free", "beta1": 0.0}}, "beta1 = 0"),
        ({"optimizer": {"momentum": 0.9}}, "momentum is for muon"),
    ],
)
def test_choices_that_contradict_each_other_are_refused(options, match):
    with pytest.raises(ConfigError, match=match):
        TrainConfig.parse(options)


# Resuming


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("choices", CHOICES, ids=names)
def test_every_kind_resumes_to_the_last_bit(choices, dtype, tmp_path):
    config = OptimizerConfig(weight_decay=0.1, layer_decay=0.8, **choices)
    whole = Stack(dtype)
    first = make_optimizer(whole, config, seed=5)
    steps(whole, first, 0, 3)
    save_file({name: tensor.clone() for name, tensor in first.tensors().items()}, tmp_path / "state.safetensors")
    steps(whole, first, 3, 6)
    resumed = Stack(dtype, seed=9)
    second = make_optimizer(resumed, config, seed=5)
    second.restore(load_file(tmp_path / "state.safetensors"))
    steps(resumed, second, 3, 6)
    assert_same(weights(whole), weights(resumed))
    assert_same(first.tensors(), second.tensors())
    assert_same(first.final_weights(), second.final_weights())


@pytest.mark.parametrize("choices", CHOICES, ids=names)
def test_a_killed_run_of_every_kind_resumes_to_the_same_bytes(choices, tiny_model_folder, tmp_path):
    options = {"checkpoint_steps": 2, "method": "full", "optimizer": choices, "schedule": {"kind": "constant"}}

    def trained(folder, die_at):
        network = model(tiny_model_folder, "bfloat16")
        return train(
            plan(5, learning_rate=1e-3, **options), network, batches(rendered(4), 2, epochs=3), folder, [death(die_at)]
        )

    whole = trained(tmp_path / "whole", None)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed", 3)
    assert trained(tmp_path / "killed", None).digest == whole.digest


def test_the_state_of_another_kind_is_refused():
    left = make_optimizer(Stack(), OptimizerConfig()).tensors()
    with pytest.raises(TrainError, match=r"that of optimizer.kind = 'adamw', and this training has 'muon'"):
        make_optimizer(Stack(), OptimizerConfig(kind="muon")).restore(left)


# Layers


def rates_of(network, **options):
    return {each.name: each.scale for each in trained_weights(network, OptimizerConfig(**options))}


def test_layers_learn_more_slowly_the_deeper_they_lie():
    found = rates_of(Stack(num_layers=3), layer_decay=0.5)
    assert found["head.weight"] == 1
    assert [found[f"layers.{layer}.weight"] for layer in range(3)] == [0.125, 0.25, 0.5]
    assert found["embed.weight"] == 0.0625
    assert set(rates_of(Stack()).values()) == {1.0}


@pytest.mark.parametrize("precision", ["masters", "stochastic_rounding"])
def test_the_rate_of_a_layer_is_what_moves_it(precision):
    """AdamW's first step moves each weight by its rate."""
    network = Stack(num_layers=3)
    before = weights(network)
    optimizer = make_optimizer(network, OptimizerConfig(layer_decay=0.5, precision=precision))
    steps(network, optimizer, 0, 1, rate=1e-2)
    moved = {name: float((weight - before[name]).abs().median()) for name, weight in weights(network).items()}
    for name, share in rates_of(network, layer_decay=0.5).items():
        assert moved[name] == pytest.approx(1e-2 * share, rel=1e-3), name


@pytest.mark.parametrize("method", ["lora", "full"])
def test_layers_of_a_real_model_are_found(tiny_model_folder, method):
    network = prepare(model(tiny_model_folder), TrainConfig(method=method))
    found = rates_of(network, layer_decay=0.5)
    for name, share in found.items():
        expected = 0.25 if ".layers.0." in name else 0.5 if ".layers.1." in name else 0.125 if "embed" in name else 1
        assert share == expected, name
    assert len(set(found.values())) == (2 if method == "lora" else 4)


def test_layers_of_gpt2_are_found(tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    network = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_embd=8, n_layer=2, n_head=2, n_positions=16))
    found = rates_of(network, layer_decay=0.5)
    assert (found["transformer.wte.weight"], found["transformer.wpe.weight"]) == (0.125, 0.125)
    assert (found["transformer.h.0.ln_1.weight"], found["transformer.h.1.mlp.c_fc.weight"]) == (0.25, 0.5)
    assert found["transformer.ln_f.weight"] == 1


@pytest.mark.parametrize("options", [{"layer_decay": 0.9}, {"kind": "muon"}])
def test_a_model_without_layers_is_refused_by_name(options):
    with pytest.raises(TrainError, match=r"optimizer\.(layer_decay|kind).* must know the layers.*Linear"):
        make_optimizer(torch.nn.Linear(4, 4), OptimizerConfig(**options))
    make_optimizer(torch.nn.Linear(4, 4), OptimizerConfig())


def test_muon_takes_the_matrices_of_layers_only(tmp_path):
    network = fresh_model(tmp_path, tie_word_embeddings=False).requires_grad_()
    hidden = {each.name for each in trained_weights(network, OptimizerConfig(kind="muon")) if each.is_hidden_matrix}
    assert hidden == {name for name, each in network.named_parameters() if ".layers." in name and each.ndim == 2}
    assert not any("embed" in name or "lm_head" in name or "norm" in name for name in hidden)


@pytest.mark.parametrize("choices", CHOICES, ids=names)
def test_every_kind_learns(choices, tiny_model_folder, tmp_path):
    options = {"method": "full", "optimizer": choices, "schedule": {"kind": "constant", "warmup": 0}}
    train(plan(20, **options), model(tiny_model_folder, "bfloat16"), batches(rendered(4), epochs=20), tmp_path)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").open()]
    assert losses[-1] < losses[0] - 0.3


def test_one_row_and_many_give_the_same_step(tiny_model_folder):
    """Layout never changes the step either: gradients of a float32 model add up in place."""
    examples = rendered(6)
    moved = []
    for rows in (pack_rows(examples, 1000), pack_rows(examples, 30)):
        network = prepare(model(tiny_model_folder), TrainConfig(method="full"))
        optimizer = make_optimizer(network, OptimizerConfig(clip_norm=1e9))
        total = Batch(tuple(rows), 0).total_weight
        for row in rows:
            (row_loss(network, row) / total).backward()
            optimizer.collect_gradients()
        moved.append(optimizer.step(0.0))
    assert len(pack_rows(examples, 30)) > 1
    assert moved[0] == pytest.approx(moved[1], rel=1e-5)
