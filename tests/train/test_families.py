"""Every family of the table trains as exactly as Llama does, or is refused by name."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import batches, death, model, plan, rendered, row_loss, trees
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from model_families import REFUSED, TRAINED, Family
from tunesmith.branches import sequences
from tunesmith.errors import TrainError
from tunesmith.model import ModelConfig
from tunesmith.model.load import load_model
from tunesmith.pack import pack_rows
from tunesmith.train import TrainConfig, train
from tunesmith.train.adapter import prepare
from tunesmith.train.attention import FLEX_NAME, NAME, sight_of
from tunesmith.train.forward import forward, row_tensors
from tunesmith.train.proof import prove_attention
from tunesmith.train.sizes import sizes
from tunesmith.types import Rendered

pytestmark = pytest.mark.filterwarnings("ignore")
every = pytest.mark.parametrize("family", TRAINED, ids=lambda family: family.name)
UNLIKE = {"Llama, tied head", "GPT-2", "Gemma 2", "gpt-oss"}
unlike_fast = pytest.mark.parametrize(
    "family",
    [pytest.param(each, marks=() if each.name in UNLIKE else pytest.mark.slow, id=each.name) for each in TRAINED],
)
"""Every family, four that are unlike each other in the fast tests."""
mixtures = [family for family in TRAINED if "experts" in family.has]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A function from a family to the folder of its tiny model, made once."""
    made = {}

    def folder(family: Family):
        if family.name not in made:
            made[family.name] = family.build(tmp_path_factory.mktemp(family.classes))
        return made[family.name]

    return folder


def examples():
    return [*rendered(3, longest=14), *trees(2, num_branches=4, longest=8)]


def row_logits(network, conversations):
    (row,) = pack_rows(conversations, 10_000)
    with torch.no_grad():
        return row, forward(network, row_tensors(row, network), torch.arange(row.num_tokens))


def gradients(network, rows):
    """The gradient of an optimizer step over `rows`, by weight."""
    network.zero_grad()
    weight = sum(float(row.loss_weights.sum()) for row in rows)
    for row in rows:
        (row_loss(network, row) / weight).backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def assert_equal_gradients(one, other, tolerance=1e-4):
    """Equal to rounding, as a share of the largest gradient of the model."""
    largest = max(float(gradient.abs().max()) for gradient in one.values())
    assert one.keys() == other.keys()
    for name, gradient in one.items():
        assert (gradient - other[name]).abs().max() <= tolerance * largest, name


# Attention


def assert_logits_as_alone(folders, family, attention):
    """Oracle: transformers' eager attention, one sequence at a time; windows are shorter than the sequences."""
    network = model(folders(family), attention=attention)
    prove_attention(network)
    row, packed = row_logits(network, examples())
    plain = AutoModelForCausalLM.from_pretrained(folders(family), attn_implementation="eager").eval()
    places = sequences(row.branches, row.num_tokens)
    assert max(each.size for each in places) > 12
    for each in places:
        with torch.no_grad():
            alone = plain(input_ids=torch.from_numpy(row.tokens[each]).long()[None]).logits[0]
        torch.testing.assert_close(packed[each], alone, atol=1e-5, rtol=1e-4)


@every
def test_each_sequence_has_the_logits_it_has_alone(folders, family):
    assert_logits_as_alone(folders, family, NAME)


@pytest.mark.parametrize("name", ["Gemma 2", "gpt-oss"])
def test_so_it_has_under_the_rules_of_the_compiled_kernel(folders, name):
    """Windows and caps, windows and sinks."""
    assert_logits_as_alone(folders, next(family for family in TRAINED if family.name == name), FLEX_NAME)


@every
def test_what_one_conversation_says_changes_no_other(folders, family):
    """Neither logits nor gradients; bit by bit, but for the rounding of experts."""
    network = model(folders(family))
    exact = {"atol": 1e-5, "rtol": 1e-4} if family in mixtures else {"atol": 0, "rtol": 0}
    conversations = examples()
    first = conversations[0]
    other = Rendered(first.conversation_id, (first.tokens + 1) % 300, first.loss_weights)
    row, before = row_logits(network, conversations)
    _, after = row_logits(network, [other, *conversations[1:]])
    inside = row.segments == row.conversation_ids.index(first.conversation_id)
    torch.testing.assert_close(before[~inside], after[~inside], **exact)
    assert not torch.allclose(before[inside], after[inside], atol=1e-2)

    def gradient(conversations):
        """Of the logits of all but the first conversation, with respect to every embedding of the row."""
        (row,) = pack_rows(conversations, 10_000)
        embeddings = network.get_input_embeddings()(torch.from_numpy(row.tokens).long())[None].detach().requires_grad_()
        positions = torch.from_numpy(row.positions).long()[None]
        sight = sight_of(row, NAME, torch.device("cpu"))
        logits = network(inputs_embeds=embeddings, position_ids=positions, sight=sight, use_cache=False).logits[0]
        logits[~inside].square().sum().backward()
        return embeddings.grad[0]

    found, again = gradient(conversations), gradient([other, *conversations[1:]])
    assert not found[inside].any()
    scale = float(found.abs().max())
    torch.testing.assert_close(found[~inside] / scale, again[~inside] / scale, **exact)


# Gradients


@every
def test_neither_layout_nor_recomputation_changes_the_gradient(folders, family):
    """One row, several, each conversation alone, and activations recomputed."""
    conversations = rendered(5, longest=16)
    network = prepare(model(folders(family)), TrainConfig(method="full"))
    one_row = gradients(network, pack_rows(conversations, 1000))
    assert_equal_gradients(one_row, gradients(network, pack_rows(conversations, 32)))
    alone = [row for each in conversations for row in pack_rows([each], 1000)]
    assert_equal_gradients(one_row, gradients(network, alone))
    recomputing = prepare(model(folders(family)), TrainConfig(method="full", gradient_checkpointing=True))
    assert_equal_gradients(one_row, gradients(recomputing, pack_rows(conversations, 1000)), 1e-6)


@pytest.mark.parametrize("family", mixtures, ids=lambda family: family.name)
def test_no_balancing_loss_is_added(folders, family):
    """The configs ask for router logits; the loss is the cross-entropy alone, whatever the row routes where."""
    network = model(folders(family))
    assert network.config.output_router_logits
    (row,) = pack_rows(rendered(3), 1000)
    with_router = gradients(prepare(network, TrainConfig(method="full")), [row])
    network.config.output_router_logits = False
    assert_equal_gradients(with_router, gradients(network, [row]), 0)


# Adapters, saving, resuming


def merged_equals_adapter(folder, base_folder):
    """Logits of plain transformers and peft, which must be those of the merged model; different from the base's."""
    from peft import PeftModel

    tokens = torch.arange(3, 23)[None]
    base = AutoModelForCausalLM.from_pretrained(base_folder)
    with torch.no_grad():
        untuned = base(input_ids=tokens).logits
        adapted = PeftModel.from_pretrained(base, str(folder))(input_ids=tokens).logits
        merged = load_model(ModelConfig(name=str(base_folder), dtype="float32"), adapter=folder)
        torch.testing.assert_close(merged(input_ids=tokens).logits, adapted, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(untuned, adapted, atol=1e-4)
    return adapted


@unlike_fast
def test_an_adapter_resumes_to_the_same_bytes_loads_in_peft_and_merges(folders, family, tmp_path):
    def run(folder, die_at=None):
        stream = batches(rendered(6), 2, epochs=2)
        return train(plan(4, checkpoint_steps=2), model(folders(family)), stream, folder, [death(die_at)])

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", die_at=3)
    assert run(tmp_path / "killed").digest == whole.digest
    merged_equals_adapter(whole.path, folders(family))


@unlike_fast
def test_a_fully_trained_model_loads_in_plain_transformers(folders, family, tmp_path):
    network = model(folders(family))
    checkpoint = train(plan(2, method="full"), network, batches(rendered(4), 2), tmp_path)
    tokens = torch.arange(3, 23)[None]
    network.eval().set_attn_implementation("eager")
    with torch.no_grad():
        again = AutoModelForCausalLM.from_pretrained(checkpoint.path, attn_implementation="eager")
        torch.testing.assert_close(again(input_ids=tokens).logits, network(input_ids=tokens).logits)
    saved, base = load_file(checkpoint.path / "model.safetensors"), load_file(folders(family) / "model.safetensors")
    assert {name: tensor.shape for name, tensor in saved.items()} == {name: t.shape for name, t in base.items()}
    assert any(not np.array_equal(saved[name], base[name]) for name in base)


@unlike_fast
@pytest.mark.parametrize(
    "options", [{}, {"adapter": {"kind": "dora", "rank": 4}}, {"method": "full"}, {"freeze": ["1"]}], ids=str
)
def test_the_plan_counts_what_is_trained(folders, family, options):
    """Without weights in memory, for what peft makes of every family."""
    config = TrainConfig(**options)
    network = prepare(model(folders(family)), config)
    trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    assert 0 < sizes(config, folders(family)).trained == trained


# Refusals


@pytest.mark.parametrize("family", REFUSED, ids=lambda family: family.name)
def test_it_is_refused_by_name(folders, family):
    with pytest.raises(TrainError, match=family.refused) as refusal:
        prove_attention(model(folders(family)))
    assert family.classes.removesuffix("Text") in str(refusal.value)


@pytest.mark.slow
def test_the_table_of_the_docs_is_current(tmp_path):
    root = Path(__file__).resolve().parents[2]
    page = tmp_path / "families.md"
    subprocess.run([sys.executable, root / "scripts" / "family_table.py", page], check=True, capture_output=True)
    assert page.read_text() == (root / "docs" / "families.md").read_text(), "make families"
