"""No leak between the conversations of a row, nor between the branches of a tree, and the same attention as each
sequence would have alone; for both implementations."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import contexts, fresh_model, model, rendered, trees
from torch.nn.attention.flex_attention import create_mask
from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM

from tunesmith.errors import TrainError
from tunesmith.pack import pack_rows
from tunesmith.train import flex, grouped
from tunesmith.train.attention import FLEX_NAME, NAME, attention_name, sight_of
from tunesmith.train.forward import check_no_leak, forward, row_tensors
from tunesmith.train.grouped import attend_groups, group_branches
from tunesmith.types import Rendered, Row

# The plain form, without a kernel, is what is wanted here.
pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without")
both = pytest.mark.parametrize("attention", [NAME, FLEX_NAME])


@pytest.fixture(scope="session")
def qwen3_folder(tmp_path_factory):
    """Another family, of transformers' own classes: norms on queries and keys, head width apart from the width."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny-qwen3")
    config = Qwen3Config(
        vocab_size=320, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=512,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


def row_logits(network, examples):
    """Logits of every position of one packed row: [T, V]."""
    (row,) = pack_rows(examples, 10_000)
    with torch.no_grad():
        return row, forward(network, row_tensors(row, network), torch.arange(row.num_tokens))


def mixed(seed=0, **options):
    """Plain conversations and trees in one row."""
    return [*rendered(3, seed), *trees(3, seed, **options)]


def changed(each):
    return Rendered(each.conversation_id, (each.tokens + 1) % 300, each.loss_weights, each.branches)


def dense_kernel(query, key, value, block_mask, scale, **_):
    """FlexAttention has no backward pass on the CPU; the same rule, as a dense mask, has."""
    length = query.shape[2]
    sees = create_mask(block_mask.mask_mod, 1, 1, length, length, query.device)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=sees, scale=scale, enable_gqa=True)


# The same as alone


@both
def test_packed_logits_equal_those_of_each_conversation_alone(tiny_model_folder, attention):
    """Oracle: transformers' own eager attention, one conversation at a time."""
    examples = rendered(9, longest=40)
    row, packed = row_logits(model(tiny_model_folder, attention=attention), examples)
    plain = AutoModelForCausalLM.from_pretrained(tiny_model_folder, attn_implementation="eager").eval()
    by_id = {each.conversation_id: each for each in examples}
    for segment, identifier in enumerate(row.conversation_ids):
        tokens = torch.from_numpy(by_id[identifier].tokens).long()
        with torch.no_grad():
            alone = plain(input_ids=tokens[None]).logits[0]
        inside = torch.from_numpy(row.segments == segment)
        torch.testing.assert_close(packed[inside], alone, atol=1e-5, rtol=1e-4)


@both
@pytest.mark.parametrize("family", ["tiny_model_folder", "qwen3_folder"])
@pytest.mark.parametrize("seed", range(3))
def test_each_token_of_a_tree_has_the_logits_of_its_sequence_alone(request, family, attention, seed):
    """Oracle: transformers' own attention on what the token sees, one token of the row at a time."""
    folder = request.getfixturevalue(family)
    row, packed = row_logits(model(folder, attention=attention), mixed(seed))
    plain = AutoModelForCausalLM.from_pretrained(folder, attn_implementation=("eager", "sdpa")[seed % 2]).eval()
    for token, seen in enumerate(contexts(row.branches, row.num_tokens)):
        with torch.no_grad():
            alone = plain(input_ids=torch.from_numpy(row.tokens[seen]).long()[None], logits_to_keep=1).logits[0, 0]
        torch.testing.assert_close(packed[token], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("longest_plain", [0, 512])
def test_blocks_equal_dense_attention_and_so_do_gradients(monkeypatch, longest_plain):
    """In float64, for the plain products and the fused kernel: a rounding error apart, there is no difference."""
    monkeypatch.setattr(grouped, "_LONGEST_PLAIN", longest_plain)
    (row,) = pack_rows(mixed(3, longest=30), 1000)
    generator = torch.Generator().manual_seed(0)
    states = [
        torch.randn(1, heads, row.num_tokens, 8, generator=generator, dtype=torch.float64, requires_grad=True)
        for heads in (6, 2, 2)
    ]
    sees = torch.zeros(row.num_tokens, row.num_tokens, dtype=torch.bool)
    for token, seen in enumerate(contexts(row.branches, row.num_tokens)):
        sees[token, seen] = True
    groups = group_branches(row.branches, row.num_tokens, torch.device("cpu"))
    ours = attend_groups(*states, groups, 0.3, 0.0)
    theirs = F.scaled_dot_product_attention(*states, attn_mask=sees, scale=0.3, enable_gqa=True).transpose(1, 2)
    direction = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-10)
    for mine, exact in zip(
        torch.autograd.grad(ours, states, direction), torch.autograd.grad(theirs, states, direction), strict=True
    ):
        torch.testing.assert_close(mine, exact, atol=1e-12, rtol=1e-10)


def test_long_branches_take_the_fused_kernel_and_agree(tiny_model_folder, monkeypatch):
    network = model(tiny_model_folder)
    examples = mixed(longest=60)
    _, plainly = row_logits(network, examples)
    monkeypatch.setattr(grouped, "_LONGEST_PLAIN", 0)
    _, fused = row_logits(network, examples)
    torch.testing.assert_close(plainly, fused, atol=1e-5, rtol=1e-4)


def test_models_with_several_key_head_layouts(tmp_path):
    for heads in (1, 2, 4):
        network = fresh_model(tmp_path / str(heads), num_key_value_heads=heads)
        check_no_leak(network)


# No leak


@both
@pytest.mark.parametrize("longest_plain", [0, 512])
@pytest.mark.parametrize("seed", range(3))
def test_changing_one_conversation_leaves_the_others_bit_equal(
    tiny_model_folder, monkeypatch, attention, longest_plain, seed
):
    monkeypatch.setattr(grouped, "_LONGEST_PLAIN", longest_plain)
    network = model(tiny_model_folder, attention=attention)
    examples = mixed(seed)
    row, before = row_logits(network, examples)
    for index, each in enumerate(examples):
        _, after = row_logits(network, [*examples[:index], changed(each), *examples[index + 1 :]])
        inside = torch.from_numpy(row.segments == row.conversation_ids.index(each.conversation_id))
        assert torch.equal(before[~inside], after[~inside])
        assert not torch.equal(before[inside], after[inside])


@both
def test_changing_a_token_changes_exactly_those_that_see_it(tiny_model_folder, attention):
    network = model(tiny_model_folder, attention=attention)
    (each,) = trees(1, seed=5, num_branches=8, longest=6)
    row, before = row_logits(network, [each])
    seen = contexts(row.branches, row.num_tokens)
    for token in range(row.num_tokens):
        tokens = each.tokens.copy()
        tokens[token] += 1
        _, after = row_logits(network, [Rendered("tree", tokens, each.loss_weights, each.branches)])
        expected = [token in context for context in seen]
        assert (before != after).any(-1).tolist() == expected


@both
@pytest.mark.parametrize("seed", range(3))
def test_no_gradient_reaches_another_conversation(tiny_model_folder, monkeypatch, attention, seed):
    monkeypatch.setattr(flex, "_kernel", lambda device_type: dense_kernel)
    network = model(tiny_model_folder, attention=attention)
    examples = mixed(seed)

    def gradient(examples, identifier):
        """Of the squared logits of one conversation, with respect to the embeddings of the whole row."""
        (row,) = pack_rows(examples, 1000)
        inside = torch.from_numpy(row.segments == row.conversation_ids.index(identifier))
        embeddings = network.get_input_embeddings()(torch.from_numpy(row.tokens).long())[None].detach()
        embeddings.requires_grad_()
        positions = torch.from_numpy(row.positions).long()[None]
        sight = sight_of(row, attention, torch.device("cpu"))
        logits = network(inputs_embeds=embeddings, position_ids=positions, sight=sight, use_cache=False).logits[0]
        logits[inside].square().sum().backward()
        return inside, embeddings.grad[0]

    for index, each in enumerate(examples):
        inside, before = gradient(examples, each.conversation_id)
        assert not before[~inside].any()
        assert before[inside].any()
        other = (index + 1) % len(examples)
        perturbed = [changed(one) if place == other else one for place, one in enumerate(examples)]
        assert torch.equal(before, gradient(perturbed, each.conversation_id)[1])


@both
def test_the_leak_check_catches_leaking_models(tiny_model_folder, monkeypatch, attention):
    network = model(tiny_model_folder, attention=attention)
    check_no_leak(network)

    def joined(branches):
        """A row builder whose rows are joined where they must not be."""
        return lambda tokens, weights, positions, segments, _, ids: Row(
            tokens, weights, positions, segments, np.array(branches, np.int32), ids
        )

    monkeypatch.setattr("tunesmith.train.forward.Row", joined([[0, -1]]))
    with pytest.raises(TrainError, match="packed conversations see each other"):
        check_no_leak(network)
    monkeypatch.setattr("tunesmith.train.forward.Row", joined([[0, -1], [8, -1]]))
    with pytest.raises(TrainError, match="branches of a conversation see each other"):
        check_no_leak(network)


# Layout


def segments_grouped(lengths):
    """The blocks of plain conversations as they were before there were trees: sorted into powers of two by length."""
    starts = np.cumsum(lengths) - lengths
    classes = np.ceil(np.log2(lengths)).astype(int)
    for size in sorted(set(classes)):
        longest = lengths[classes == size].max()
        is_real = np.arange(longest) < lengths[classes == size][:, None]
        yield np.where(is_real, starts[classes == size][:, None] + np.arange(longest), 0), np.flatnonzero(is_real)


def test_plain_rows_take_the_same_blocks_as_ever():
    """Equal blocks, without a mask, give equal bits."""
    lengths = np.random.default_rng(0).permutation(np.arange(1, 140))
    branches = np.stack([np.cumsum(lengths) - lengths, np.full(139, -1)], axis=1).astype(np.int32)
    groups = group_branches(branches, int(lengths.sum()), torch.device("cpu"))
    for group, (places, block_places) in zip(groups, segments_grouped(lengths), strict=True):
        assert group.hidden_SQK is None
        assert group.queries_SQ.numpy().tolist() == group.keys_SK.numpy().tolist() == places.tolist()
        assert group.block_places_N.tolist() == block_places.tolist()
        assert group.row_places_N.tolist() == places.flatten()[block_places].tolist()


@pytest.mark.parametrize("longest", [8, 40, 400])
@pytest.mark.parametrize("seed", range(3))
def test_groups_cover_every_token_once_with_little_padding(seed, longest):
    (row,) = pack_rows(mixed(seed, longest=longest, num_branches=9), 100_000)
    groups = group_branches(row.branches, row.num_tokens, torch.device("cpu"))
    assert sorted(torch.cat([group.row_places_N for group in groups]).tolist()) == list(range(row.num_tokens))
    for group in groups:
        num_lines, num_queries = group.queries_SQ.shape
        own = np.bincount(group.block_places_N.numpy() // num_queries, minlength=num_lines)
        if group.hidden_SQK is None:
            assert (own * 2 >= num_queries).all()
            continue
        num_keys = group.keys_SK.shape[1]
        seen = (~group.hidden_SQK[:, 0]).sum(1).numpy() - 1 + own  # the path, and the branch itself
        assert group.hidden_SQK.shape == (num_lines, num_queries, num_keys)
        assert (own * 1.2 >= num_queries).all() or num_queries <= 32
        assert (seen * 1.2 >= num_keys).all() or num_keys <= 128


# Refusals


def test_the_device_chooses_the_implementation():
    assert attention_name(torch.device("cuda")) == FLEX_NAME
    assert attention_name(torch.device("cpu")) == attention_name(torch.device("mps")) == NAME


@both
def test_a_sliding_window_shorter_than_a_conversation_is_refused(tmp_path, attention):
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(
        vocab_size=320, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=8,
    )  # fmt: skip
    MistralForCausalLM(config).save_pretrained(tmp_path)
    network = model(tmp_path, attention=attention)
    row_logits(network, rendered(3, longest=8))
    with pytest.raises(TrainError, match=r"sliding window \(8\).*one of \d\d tokens"):
        row_logits(network, rendered(3, seed=1, longest=30))
    branches = np.array([[0, -1], [5, 4]], np.int32)  # each branch is shorter, but not what it sees
    with pytest.raises(TrainError, match="one of 10 tokens"):
        row_logits(network, [Rendered("c", np.arange(10, dtype=np.int32), np.zeros(10, np.float32), branches)])


@both
def test_soft_capping_is_refused(tmp_path, attention):
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(
        vocab_size=320, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, attn_logit_softcapping=50.0,
    )  # fmt: skip
    Gemma2ForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(TrainError, match="soft-capping"):
        row_logits(model(tmp_path, attention=attention), rendered(1))


@both
@pytest.mark.parametrize(("option", "message"), [("softcap", "soft-capping"), ("s_aux", "sinks")])
def test_what_would_be_computed_wrongly_is_refused(tiny_model_folder, attention, option, message):
    from transformers import AttentionInterface

    (row,) = pack_rows(rendered(1), 100)
    sight = sight_of(row, attention, torch.device("cpu"))
    states = [torch.zeros(1, 1, row.num_tokens, 16)] * 3
    with pytest.raises(TrainError, match=message):
        AttentionInterface()[attention](torch.nn.Module(), *states, None, sight=sight, **{option: 1.0})
    with pytest.raises(TrainError, match="does not pass keyword arguments"):
        AttentionInterface()[attention](torch.nn.Module(), *states, None)


def test_attention_dropout_is_refused_on_the_compiled_kernel(tmp_path):
    network = fresh_model(tmp_path, attention_dropout=0.1)
    network.set_attn_implementation(FLEX_NAME)
    with pytest.raises(TrainError, match=r"attention_dropout to 0\.0"):
        row_logits(network.train(), rendered(1))


def test_a_model_loaded_with_another_attention_is_refused(tiny_model_folder):
    with pytest.raises(TrainError, match="'sdpa', which knows no branches; load it with one of tunesmith_grouped"):
        check_no_leak(model(tiny_model_folder, attention="sdpa"))
