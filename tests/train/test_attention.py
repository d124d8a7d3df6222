"""No leak between the conversations of a row, nor between the branches of a tree, and the same attention as each
sequence would have alone; for both implementations."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import contexts, fresh_model, model, rendered, trees
from torch.nn.attention.flex_attention import AuxOutput, create_mask
from transformers import AttentionInterface, AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM

from tunesmith.errors import TrainError
from tunesmith.pack import pack_rows
from tunesmith.train import flex, grouped
from tunesmith.train.attention import FLEX_NAME, NAME, attention_name, sight_of
from tunesmith.train.flex import attend_flex, flex_mask
from tunesmith.train.forward import forward, row_tensors
from tunesmith.train.grouped import attend_groups, group_branches
from tunesmith.train.proof import prove_attention
from tunesmith.train.scores import Scores
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


def dense_kernel(query, key, value, score_mod, block_mask, scale, **_):
    """FlexAttention has no backward pass on the CPU; the same rules, on the dense square, have."""
    length, shared = query.shape[2], query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(shared, 1) for each in (key, value))
    scores = query @ key.transpose(2, 3) * scale
    if score_mod is not None:
        scores = score_mod(scores, None, None, None, None)
    sees = create_mask(block_mask.mask_mod, 1, 1, length, length, query.device)
    scores = scores.masked_fill(~sees, float("-inf"))
    return scores.softmax(-1) @ value, AuxOutput(lse=scores.logsumexp(-1))


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


@pytest.mark.parametrize("attention", ["blocks", "fused", "flex"])
@pytest.mark.parametrize("window", [None, 1, 7, 20])
@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("has_sinks", [False, True])
def test_it_equals_dense_attention_and_so_do_gradients(monkeypatch, attention, window, softcap, has_sinks):
    """In float64, for the plain products, the fused kernel and pieces, and the rules of the compiled one: a rounding
    error apart, there is no difference to the square of the row, written down from the definitions."""
    monkeypatch.setattr(grouped, "_LONGEST_PLAIN", 0 if attention == "fused" else 512)
    monkeypatch.setattr(flex, "_kernel", lambda device_type: dense_kernel)
    (row,) = pack_rows(mixed(3, longest=30), 1000)
    generator = torch.Generator().manual_seed(0)
    options = {"generator": generator, "dtype": torch.float64, "requires_grad": True}
    states = [torch.randn(1, heads, row.num_tokens, 8, **options) for heads in (6, 2, 2)]
    sinks = torch.randn(6, **options) if has_sinks else None
    sees = torch.zeros(row.num_tokens, row.num_tokens, dtype=torch.bool)
    for token, seen in enumerate(contexts(row.branches, row.num_tokens)):
        sees[token, seen[-window:] if window else seen] = True
    layout = (row.branches, row.num_tokens, torch.device("cpu"), window)
    scores = Scores(0.3, softcap, sinks)
    if attention == "flex":
        ours = attend_flex(*states, flex_mask(*layout), scores)
    else:
        ours = attend_groups(*states, group_branches(*layout), scores, 0.0)
    theirs = dense(*states, sees, scores)
    direction = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
    wanted = [*states, sinks] if has_sinks else states
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-10)
    for mine, exact in zip(
        torch.autograd.grad(ours, wanted, direction), torch.autograd.grad(theirs, wanted, direction), strict=True
    ):
        torch.testing.assert_close(mine, exact, atol=1e-12, rtol=1e-10)


def dense(query, key, value, sees, scores):
    """Attention as its definition says, with the sink as one more key whose value is zero: [1, T, H, D]."""
    key, value = (each.repeat_interleave(query.shape[1] // key.shape[1], 1) for each in (key, value))
    products = query @ key.transpose(2, 3) * scores.scale
    if scores.softcap is not None:
        products = scores.softcap * torch.tanh(products / scores.softcap)
    products = products.masked_fill(~sees, float("-inf"))
    if scores.sinks_H is not None:
        sinks = scores.sinks_H[None, :, None, None].expand(*products.shape[:3], 1)
        products = torch.cat([products, sinks], dim=-1)
        value = F.pad(value, (0, 0, 0, 1))
    return (products.softmax(-1) @ value).transpose(1, 2)


def test_the_work_of_a_sliding_window_is_linear_in_the_length():
    branches = np.array([[0, -1]], np.int32)
    for length in (1_000, 8_000):
        groups = group_branches(branches, length, torch.device("cpu"), 100)
        assert sum(group.queries_SQ.numel() * group.keys_SK.shape[1] for group in groups) <= 200 * length
        assert sorted(torch.cat([group.row_places_N for group in groups]).tolist()) == list(range(length))


def test_capped_scores_of_long_lines_are_kept_for_one_piece_at_a_time():
    """What the backward pass keeps of 2,048 tokens is far below one square of their scores."""
    states = [torch.randn(1, 1, 2048, 8, requires_grad=True) for _ in range(3)]
    groups = group_branches(np.array([[0, -1]], np.int32), 2048, torch.device("cpu"))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        attend_groups(*states, groups, Scores(1.0, softcap=5.0), 0.0)
    sizes = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in kept}
    assert sum(sizes.values()) < 2048**2 * 4 / 2


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
        assert network.config.num_key_value_heads == heads
        prove_attention(network)  # raises where a head sees other keys than in transformers' own attention


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
    prove_attention(network)

    def joined(branches):
        """A row builder whose rows are joined where they must not be."""
        return lambda tokens, weights, positions, segments, _, ids: Row(
            tokens, weights, positions, segments, np.array(branches, np.int32), ids
        )

    monkeypatch.setattr("tunesmith.train.proof.Row", joined([[0, -1]]))
    with pytest.raises(TrainError, match="packed conversations see each other"):
        prove_attention(network)
    monkeypatch.setattr("tunesmith.train.proof.Row", joined([[0, -1], [8, -1]]))
    with pytest.raises(TrainError, match="branches of a conversation see each other"):
        prove_attention(network)


@both
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_proof_catches_attention_that_is_not_the_models_own(tiny_model_folder, monkeypatch, attention, dtype):
    """Scores that are scaled otherwise keep conversations apart, and are wrong all the same."""
    network = model(tiny_model_folder, dtype, attention=attention)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)) * 0.2)
    prove_attention(network)
    monkeypatch.setattr("tunesmith.train.attention._scores", lambda query, scaling, options: Scores(2 * scaling))
    with pytest.raises(TrainError, match=r"differ by .*% from those of transformers' own attention"):
        prove_attention(network)


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
def test_a_model_that_does_not_hand_on_what_a_token_may_see_is_refused(tiny_model_folder, attention):
    states = [torch.zeros(1, 1, 5, 16)] * 3
    with pytest.raises(TrainError, match="does not pass keyword arguments"):
        AttentionInterface()[attention](torch.nn.Module(), *states, None)


def test_attention_dropout_is_refused_on_the_compiled_kernel(tmp_path):
    network = fresh_model(tmp_path, attention_dropout=0.1)
    network.set_attn_implementation(FLEX_NAME)
    with pytest.raises(TrainError, match=r"attention_dropout to 0\.0"):
        row_logits(network.train(), rendered(1))


def test_a_model_loaded_with_another_attention_is_refused(tiny_model_folder):
    with pytest.raises(TrainError, match="'sdpa', which knows no branches; load it with one of tunesmith_grouped"):
        prove_attention(model(tiny_model_folder, attention="sdpa"))
