"""No leak between the conversations of a row, and the same attention as each would have alone."""

import numpy as np
import pytest
import torch
from helpers import fresh_model, model, rendered
from transformers import AutoModelForCausalLM

from tunesmith.errors import TrainError
from tunesmith.pack import pack_rows
from tunesmith.train.attention import group_segments
from tunesmith.train.loop import check_no_leak, forward, row_tensors
from tunesmith.types import Rendered


def row_logits(network, examples):
    """Logits of every position of one packed row: [T, V]."""
    (row,) = pack_rows(examples, 10_000)
    tensors = row_tensors(row, torch.device("cpu"))
    with torch.no_grad():
        return row, forward(network, tensors, torch.arange(row.num_tokens))


def test_packed_logits_equal_those_of_each_conversation_alone(tiny_model_folder):
    """Oracle: transformers' own eager attention, one conversation at a time."""
    examples = rendered(9, longest=40)
    row, packed = row_logits(model(tiny_model_folder), examples)
    plain = AutoModelForCausalLM.from_pretrained(tiny_model_folder, attn_implementation="eager").eval()
    by_id = {each.conversation_id: each for each in examples}
    for segment, identifier in enumerate(row.conversation_ids):
        tokens = torch.from_numpy(by_id[identifier].tokens).long()
        with torch.no_grad():
            alone = plain(input_ids=tokens[None]).logits[0]
        inside = torch.from_numpy(row.segments == segment)
        torch.testing.assert_close(packed[inside], alone, atol=1e-5, rtol=1e-4)


def test_changing_one_conversation_leaves_the_others_bit_equal(tiny_model_folder):
    network = model(tiny_model_folder)
    examples = rendered(5)
    row, before = row_logits(network, examples)
    changed = Rendered(examples[2].conversation_id, (examples[2].tokens + 1) % 300, examples[2].loss_weights)
    _, after = row_logits(network, [*examples[:2], changed, *examples[3:]])
    inside = torch.from_numpy(row.segments == row.conversation_ids.index("c2"))
    assert torch.equal(before[~inside], after[~inside])
    assert not torch.equal(before[inside], after[inside])


def test_long_segments_take_the_fused_kernel_and_agree(tiny_model_folder, monkeypatch):
    import tunesmith.train.attention as attention

    network = model(tiny_model_folder)
    examples = rendered(4, longest=60)
    _, plainly = row_logits(network, examples)
    monkeypatch.setattr(attention, "_LONGEST_PLAIN", 0)
    _, fused = row_logits(network, examples)
    torch.testing.assert_close(plainly, fused, atol=1e-5, rtol=1e-4)


def test_groups_cover_every_token_once():
    segments = torch.from_numpy(np.repeat(np.arange(6), [1, 2, 3, 9, 17, 40]))
    groups = group_segments(segments)
    places = torch.cat([group.row_places_N for group in groups])
    assert sorted(places.tolist()) == list(range(72))
    for group in groups:
        lines, longest = group.gather_SL.shape
        assert group.row_places_N.numel() * 2 >= lines * longest


def test_the_leak_check_catches_a_leaking_model(tiny_model_folder, monkeypatch):
    import tunesmith.train.loop as loop

    network = model(tiny_model_folder)
    check_no_leak(network)
    monkeypatch.setattr(loop, "group_segments", lambda segments: group_segments(torch.zeros_like(segments)))
    with pytest.raises(TrainError, match="see each other"):
        check_no_leak(network)


def test_a_sliding_window_shorter_than_a_conversation_is_refused(tmp_path):
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(
        vocab_size=320, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=8,
    )  # fmt: skip
    MistralForCausalLM(config).save_pretrained(tmp_path)
    network = model(tmp_path)
    row_logits(network, rendered(3, longest=8))
    with pytest.raises(TrainError, match="sliding window"):
        row_logits(network, rendered(3, seed=1, longest=30))


def test_models_with_several_key_head_layouts(tmp_path):
    for heads in (1, 2, 4):
        network = fresh_model(tmp_path / str(heads), num_key_value_heads=heads)
        check_no_leak(network)
