"""The count of operations agrees with the one that torch takes while it computes."""

import pytest
import torch
from helpers import model
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

from builders import build_model
from tunesmith.train import TrainConfig
from tunesmith.train.adapter import prepare
from tunesmith.train.flops import training_flops

NUM_TOKENS, NUM_SUPERVISED = 24, 5


def counted(network) -> int:
    """What torch counts of one forward and backward pass, with eager attention: every token meets every other."""
    places = torch.arange(NUM_SUPERVISED)
    with FlopCounterMode(display=False) as counter:
        output = network(input_ids=torch.arange(NUM_TOKENS)[None], logits_to_keep=places, use_cache=False)
        output.logits.sum().backward()
    return counter.get_total_flops()


def expected(network) -> float:
    return training_flops(network).of(NUM_TOKENS, NUM_SUPERVISED, NUM_TOKENS * NUM_TOKENS)


@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": False}, {"num_key_value_heads": 4, "head_dim": 16}])
def test_full_training_counts_what_torch_counts(tmp_path, changes):
    build_model(tmp_path, **changes)
    network = prepare(model(tmp_path, attention="eager"), TrainConfig(method="full"))
    assert counted(network) == expected(network)


def test_lora_counts_what_torch_counts(tmp_path):
    build_model(tmp_path)
    network = prepare(model(tmp_path, attention="eager"), TrainConfig(adapter={"rank": 3}))
    network.enable_input_require_grads()  # or torch spares the gradients to the first layer's inputs
    assert counted(network) == expected(network)


def test_the_count_is_six_operations_a_weight_and_token(tmp_path):
    network = LlamaForCausalLM(LlamaConfig(vocab_size=50, hidden_size=8, intermediate_size=16, num_hidden_layers=2,
                                           num_attention_heads=2, num_key_value_heads=2))  # fmt: skip
    matrices = 2 * (4 * 8 * 8 + 3 * 8 * 16)
    found = training_flops(network)
    assert found.a_token == 6 * matrices
    assert found.a_supervised == 6 * 50 * 8
    assert found.a_seen == 12 * 8 * 2
    for weight in network.parameters():
        weight.requires_grad_(False)
    frozen = training_flops(network)
    assert (frozen.a_token, frozen.a_supervised) == (4 * matrices, 4 * 50 * 8)


def test_a_mixture_counts_the_experts_that_a_token_meets():
    sizes = {"vocab_size": 50, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2}
    network = MixtralForCausalLM(MixtralConfig(**sizes, **heads))
    assert training_flops(network).a_token == 6 * (4 * 8 * 8 + 4 * 8 + 2 * 3 * 8 * 16)
