"""The plan: exact steps, every number with its reason, sizes that peft and the model agree with."""

import pytest
import torch
from helpers import batches, model, rendered

from tunesmith.errors import ModelError
from tunesmith.model import ModelConfig
from tunesmith.train import TrainConfig
from tunesmith.train.adapter import prepare
from tunesmith.train.optim import make_optimizer
from tunesmith.train.plan import make_plan, optimizer_bytes, read_shapes
from tunesmith.train.sizes import sizes

ADAPTERS = [
    {"adapter": {"rank": 4}},
    {"adapter": {"kind": "dora"}},
    {"adapter": {"targets": ["q_proj", "layers.1.mlp"], "new_tokens": ["<|im_start|>"]}, "freeze": ["layers.0"]},
    {"method": "full"},
    {"method": "full", "freeze": ["embed_tokens", "layers.*.mlp"]},
]


def plan_of(folder, **options):
    return make_plan(TrainConfig(**options), ModelConfig(name=str(folder)), folder, batches(rendered(10), 4, epochs=2))


def test_steps_warmup_and_rate(tiny_model_folder):
    plan = plan_of(tiny_model_folder, schedule={"warmup": 0.4})
    assert (plan.num_steps, plan.num_warmup, plan.learning_rate) == (5, 2, 2e-4)
    assert plan_of(tiny_model_folder, max_steps=3, method="full").num_steps == 3
    assert plan_of(tiny_model_folder, method="full").learning_rate == 2e-5


def test_every_number_has_a_reason(tiny_model_folder):
    lines = {line.name: line for line in plan_of(tiny_model_folder).lines}
    assert {"steps", "tokens a step", "memory", "number format", "trained weights"} <= set(lines)
    assert all(line.value and line.reason for line in lines.values())


def trained_by(folder, config):
    network = prepare(model(folder), config)
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("options", ADAPTERS, ids=str)
def test_sizes_agree_with_the_model(tiny_model_folder, options):
    config = TrainConfig(**options)
    assert sizes(config, tiny_model_folder).trained == trained_by(tiny_model_folder, config)
    (line,) = [line for line in plan_of(tiny_model_folder, **options).lines if line.name == "trained weights"]
    assert line.value == f"{trained_by(tiny_model_folder, config):,}"


def test_counting_draws_no_random_numbers(tiny_model_folder):
    state = torch.get_rng_state()
    sizes(TrainConfig(), tiny_model_folder)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["adamw", "muon", "schedule_free"])
@pytest.mark.parametrize("precision", ["masters", "stochastic_rounding"])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_optimizer_memory_is_what_the_optimizer_holds(tiny_model_folder, dtype, kind, precision, method):
    """But for step counts, and for weights that are the model's own."""
    if kind == "schedule_free" and precision == "stochastic_rounding":
        return
    schedule = {"kind": "constant"}
    config = TrainConfig(method=method, optimizer={"kind": kind, "precision": precision}, schedule=schedule)
    network = prepare(model(tiny_model_folder, dtype), config)
    optimizer = make_optimizer(network, config.optimizer)
    own = {parameter.data_ptr() for parameter in network.parameters()}
    gradients = 0
    for parameter in optimizer.parameters:
        parameter.grad = torch.ones_like(parameter)
        gradients += parameter.numel() * (4 + (parameter.dtype.itemsize if parameter.dtype.itemsize < 4 else 0))
    optimizer.step(1e-3)
    held = [tensor for tensor in optimizer.tensors().values() if tensor.ndim and tensor.data_ptr() not in own]
    expected = optimizer_bytes(config, sizes(config, tiny_model_folder), {"float32": 4, "bfloat16": 2}[dtype])
    assert gradients + sum(tensor.nbytes for tensor in held) == expected


@pytest.mark.parametrize(("warmup", "expected"), [("3 steps", 3), ("100 tokens", 2), (0.4, 2)])
def test_warmup_in_every_unit(tiny_model_folder, warmup, expected):
    plan = plan_of(tiny_model_folder, schedule={"warmup": warmup})
    assert plan.num_warmup == expected
    (line,) = [line for line in plan.lines if line.name == "warmup"]
    assert str(expected) in line.value


def test_a_truncated_weights_file_is_named(tmp_path):
    (tmp_path / "model.safetensors").write_bytes((100).to_bytes(8, "little") + b'{"a": ')
    with pytest.raises(ModelError, match="truncated"):
        read_shapes(tmp_path)
