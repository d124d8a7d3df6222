"""The arithmetic of docs/scale.md, against real models without memory for their weights."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from tunesmith.train.flops import training_flops
from tunesmith.train.parallel.sizing import MODELS, Cluster, Shape, Work, memory, operations, pace, tables

SCALE = Path(__file__).resolve().parents[2] / "docs" / "scale.md"


def llama(shape):
    """The model of a shape, with heads of 128."""
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.width // 128,
        num_key_value_heads=shape.key_width // 128,
        tie_word_embeddings=False,
    )
    with torch.device("meta"):
        return LlamaForCausalLM(config)


@pytest.mark.parametrize(("name", "weights"), [("8B", 8.03e9), ("70B", 70.55e9)])
def test_shapes_are_those_of_the_models(name, weights):
    shape = MODELS[name]
    counted = sum(parameter.numel() for parameter in llama(shape).parameters())
    assert shape.total == pytest.approx(counted, rel=1e-4)
    assert counted == pytest.approx(weights, rel=1e-3)


SMALL = Shape(num_layers=2, width=256, inner=512, key_width=128, vocabulary=1000)


def test_adapters_are_counted_as_peft_makes_them():
    model = get_peft_model(llama(SMALL), LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert SMALL.adapter(8) == trained


@pytest.mark.parametrize("name", ["8B", "70B"])
def test_operations_are_those_counted_on_the_model_and_the_recomputation(name):
    """Oracle: the count behind `matmul_share`, which gives recomputation no credit."""
    shape, work = MODELS[name], Work("full")
    counted = training_flops(llama(shape))
    earned = counted.a_token + work.supervised_share * counted.a_supervised
    earned += counted.a_seen * work.conversation_tokens / 2
    again = 2 * shape.num_layers * shape.layer + 4 * work.conversation_tokens / 2 * shape.width * shape.num_layers
    assert operations(shape, work) == pytest.approx(earned + again, rel=1e-3)


def test_state_is_divided_by_the_ranks_and_what_is_gathered_is_not():
    one, eight = (memory(MODELS["8B"], Work(), Cluster(1, devices)) for devices in (1, 8))
    assert (one.weights, one.gradients, one.moments) == (8 * eight.weights, 8 * eight.gradients, 8 * eight.moments)
    assert one[3:] == eight[3:]
    assert one.weights + one.gradients + one.moments == 16 * MODELS["8B"].total


def test_one_device_moves_nothing_and_longer_rows_hide_moving():
    shape = MODELS["8B"]
    assert pace(shape, Work(), Cluster(1, 1)).moving == 0
    short = pace(shape, Work(row_tokens=2048), Cluster(2))
    assert short.moving > short.computing
    just = pace(shape, Work(row_tokens=round(short.tokens_to_hide) + 1), Cluster(2))
    assert just.computing == pytest.approx(just.moving, rel=1e-3)


def test_the_page_has_the_tables_of_the_code():
    assert tables() in SCALE.read_text(encoding="utf-8")
