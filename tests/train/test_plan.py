"""The plan: exact steps, every number with its reason, sizes that peft and the model agree with."""

import pytest
from helpers import batches, model, rendered

from tunesmith.errors import ModelError
from tunesmith.model import ModelConfig
from tunesmith.train import TrainConfig
from tunesmith.train.adapter import prepare
from tunesmith.train.plan import lora_size, make_plan, read_shapes


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


def test_sizes_agree_with_the_model(tiny_model_folder):
    network = prepare(model(tiny_model_folder), TrainConfig(adapter={"rank": 4}))
    trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    assert lora_size(read_shapes(tiny_model_folder), 4) == trained


def test_a_truncated_weights_file_is_named(tmp_path):
    (tmp_path / "model.safetensors").write_bytes((100).to_bytes(8, "little") + b'{"a": ')
    with pytest.raises(ModelError, match="truncated"):
        read_shapes(tmp_path)
