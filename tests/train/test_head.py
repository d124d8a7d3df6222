"""The chunked head gives what the model's own head gives: logits, losses and gradients, in many families."""

import functools
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import batches, model, plan, rendered, trees
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM

from tunesmith.pack import pack_rows
from tunesmith.train import LossConfig, train
from tunesmith.train.attention import NAME
from tunesmith.train.forward import forward, row_tensors
from tunesmith.train.head import find_head
from tunesmith.train.objectives.supervised import Supervised

SMALL = {
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
}
FAMILIES = {
    "llama tied": ("llama", {"tie_word_embeddings": True}),
    "llama untied": ("llama", {"tie_word_embeddings": False}),
    "qwen3": ("qwen3", {}),
    "gpt2 tied": ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}),
    "phi, whose head has a bias": ("phi", {}),
    "gemma2, soft-capped": ("gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": 30.0}),
    "gemma3, soft-capped low": ("gemma3_text", {"final_logit_softcapping": 5.0}),
    "granite, divided": ("granite", {"logits_scaling": 6.0}),
    "hyperclovax, multiplied by the same field": ("hyperclovax", {"logits_scaling": 6.0}),
    "cohere, multiplied": ("cohere", {"logit_scale": 0.0625}),
    "minicpm3, divided before the head": (
        "minicpm3",
        {"q_lora_rank": 16, "kv_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8},
    ),
}


def build(family, dtype=torch.float32, kind=None, **changes):
    name, options = FAMILIES[family]
    torch.manual_seed(0)
    config = AutoConfig.for_model(name, **{**SMALL, **options, **changes})
    make = kind._from_config if kind else AutoModelForCausalLM.from_config
    return make(config, attn_implementation=NAME).to(dtype).eval()


def row():
    return pack_rows([*rendered(5), *trees(2)], 1000)[0]


def plainly(network, one):
    """The oracle: all logits at once from the model's own forward, torch's cross-entropy, torch's backward."""
    tensors = row_tensors(one, network)
    logits = forward(network, tensors, tensors.places_S)
    losses = F.cross_entropy(
        logits.to(torch.promote_types(logits.dtype, torch.float32)), tensors.targets_S, reduction="none"
    )
    return (losses * tensors.weights_S).sum()


def in_chunks(network, one, chunk_tokens=7, **options):
    head = find_head(network, chunk_tokens)
    return Supervised(LossConfig(chunk_tokens=chunk_tokens, **options), head).row_loss(network, one).total


def learned(network, total):
    network.zero_grad()
    (total / 3).backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def assert_the_same(network, tolerance, make=in_chunks):
    plain, chunked = plainly(network, row()), make(network, row())
    torch.testing.assert_close(chunked, plain, rtol=tolerance, atol=0, check_dtype=False)
    expected, found = learned(network, plain), learned(network, chunked)
    assert expected.keys() == found.keys()
    assert expected
    for name, gradient in expected.items():
        assert (gradient - found[name]).abs().max() <= tolerance * gradient.abs().max(), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_losses_and_gradients_are_those_of_all_logits_at_once(family, dtype):
    network = build(family, dtype)
    assert find_head(network, 7).kind == "chunked"
    # Norms compute in float32 in most families, whatever the weights are.
    assert_the_same(network, 1e-5 if dtype == torch.float32 else 2e-7)


def test_gpt2_is_the_same_to_the_last_digits_of_float64():
    assert_the_same(build("gpt2 tied", torch.float64), 1e-12)


@pytest.mark.parametrize("chunk_tokens", [1, 2, 50, 10_000])
def test_the_size_of_a_chunk_changes_nothing(chunk_tokens):
    make = functools.partial(in_chunks, chunk_tokens=chunk_tokens)
    assert_the_same(build("gpt2 tied", torch.float64), 1e-12, make)


def test_bfloat16_gradients_of_chunks_are_added_in_float32():
    """Many chunks are as near to float64 as one is: adding 60 roundings up in bfloat16 would show."""
    exact = build("llama untied", torch.float64)
    oracle = learned(exact, plainly(exact, row()))["lm_head.weight"]
    coarse = build("llama untied", torch.bfloat16)
    errors = []
    for chunk_tokens in (10_000, 1):
        found = learned(coarse, in_chunks(coarse, row(), chunk_tokens))["lm_head.weight"].double()
        errors.append(float((found - oracle).norm() / oracle.norm()))
    assert errors[0] < 0.02
    assert errors[1] < 1.1 * errors[0]


def adapted(family="llama untied", **options):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    lora = LoraConfig(r=4, task_type="CAUSAL_LM", init_lora_weights=False, **options)
    return get_peft_model(build(family, torch.float64), lora, autocast_adapter_dtype=False).eval()


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": "all-linear"},
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj", "lm_head"], "use_dora": True},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj"], "trainable_token_indices": [3, 5, 9]},
        {"target_modules": ["lm_head"]},
    ],
    ids=str,
)
@pytest.mark.parametrize("family", ["llama untied", "llama tied"])
def test_adapters_of_the_head_learn_the_same(family, options):
    if family == "llama tied" and options.get("modules_to_save"):
        pytest.skip("peft unties what it saves apart")
    network = adapted(family, **options)
    assert find_head(network, 7).kind == "chunked"
    assert_the_same(network, 2e-7)


def test_no_more_logits_than_a_chunk_and_none_of_masked_tokens():
    network, one = build("llama tied"), row()
    head, sizes = find_head(network, 7), []
    network.lm_head.register_forward_hook(lambda module, given, made: sizes.append(made.shape[1]))
    Supervised(head=head).row_loss(network, one).total.backward()
    own, *chunks = sizes
    assert own == 1
    assert max(chunks) <= 7
    assert sum(chunks) == np.count_nonzero(one.loss_weights)


def test_soft_capping_is_found_though_the_first_logits_are_too_small_to_show_it():
    network = build("gemma2, soft-capped")
    assert find_head(network, 7).rule(torch.tensor(1e4)) == 30.0
    network.config.final_logit_softcapping = None
    assert find_head(network, 7).rule(torch.tensor(1e4)) == 1e4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_what_no_field_explains_stays_with_the_model(dtype):
    """A family of its own mind about logits: the model itself is asked for them, and learns the same."""

    class Bent(LlamaForCausalLM):
        def forward(self, *arguments, **options):
            output = super().forward(*arguments, **options)
            output.logits = output.logits + 0.3 * output.logits.sin()
            return output

    network = build("llama tied", dtype, kind=Bent)
    assert find_head(network, 7).kind == "whole"
    assert_the_same(network, 1e-5 if dtype == torch.float32 else 0.02)


def test_a_head_that_is_called_twice_or_not_at_all_stays_with_the_model():
    class Twice(LlamaForCausalLM):
        def forward(self, *arguments, **options):
            self.lm_head(torch.zeros(1, 1, self.config.hidden_size))
            return super().forward(*arguments, **options)

    class Hidden(LlamaForCausalLM):
        def get_output_embeddings(self):
            return None

    for kind in (Twice, Hidden):
        assert find_head(build("llama tied", kind=kind), 7).kind == "whole"


@pytest.mark.parametrize("family", ["llama tied", "gemma2, soft-capped", "cohere, multiplied"])
def test_log_probabilities_have_the_gradients_of_all_logits_at_once(family):
    """What losses of pairs are made of: any function of them, here one that is no sum over places."""
    network, one = build(family, torch.float64), row()
    tensors = row_tensors(one, network)
    logits = forward(network, tensors, tensors.places_S)
    plain = logits.log_softmax(-1).gather(1, tensors.targets_S[:, None])[:, 0]
    found = find_head(network, 7).log_probs(network, tensors)
    torch.testing.assert_close(found, plain)
    expected, ours = (learned(network, values[::2].sum().tanh() * values.std()) for values in (plain, found))
    for name, gradient in expected.items():
        assert (gradient - ours[name]).abs().max() <= 2e-7 * gradient.abs().max(), name


def test_evaluation_makes_no_gradients_and_finding_the_head_leaves_no_trace():
    network = build("llama tied").train()
    with torch.no_grad():
        found = in_chunks(network, row())
    assert not found.requires_grad
    assert network.training
    assert all(p.grad is None for p in network.parameters())
    assert not network.lm_head._forward_pre_hooks


def test_the_loop_says_how_the_head_is_taken(tiny_model_folder, tmp_path):
    train(plan(2), model(tiny_model_folder), batches(rendered(4), 2), tmp_path)
    assert [json.loads(line)["head"] for line in (tmp_path / "metrics.jsonl").open()] == ["chunked"] * 2
