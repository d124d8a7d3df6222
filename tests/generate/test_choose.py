"""Choosing a token: lowest of equals, the gap, and draws from the right distribution."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.generate import Sampling
from tunesmith.generate.choose import _largest_on_device, choose, draw, draw_key


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equals_go_to_the_lowest_id(dtype):
    logits = torch.tensor([[0.0, 3, 1, 3], [5, 2, 4, 1], [-1, -1, -1, -1]], dtype=dtype)
    before = logits.clone()
    for tokens, gaps in (choose(logits, Sampling(), [], []), _largest_on_device(logits.float())):
        assert tokens.tolist() == [1, 0, 0]
        assert gaps.tolist() == [0, 1, 0]
    assert torch.equal(logits, before)


def test_draws_follow_the_probabilities():
    logits = torch.tensor([[0.1, 1.3, -2.0, 0.6]])
    keys = [b"a"] * 8000
    tokens, _ = choose(logits.expand(8000, -1), Sampling(temperature=0.7), keys, range(8000))
    share = np.bincount(tokens, minlength=4) / 8000
    assert share == pytest.approx((logits[0] / 0.7).softmax(-1).numpy(), abs=0.02)


@given(st.lists(st.floats(-4, 4), min_size=2, max_size=9), st.floats(0.05, 0.999), st.integers(0, 99))
def test_the_nucleus_is_the_fewest_tokens_that_hold_top_p(values, top_p, seed):
    logits = torch.tensor([values])
    probabilities = logits[0].softmax(-1).double().numpy()
    ordered = sorted(range(len(values)), key=lambda token: (-probabilities[token], token))
    nucleus, mass = [], 0.0
    for token in ordered:
        if mass >= top_p * probabilities.sum():
            break
        nucleus.append(token)
        mass += probabilities[token]
    many, _ = choose(logits.expand(60, -1), Sampling(temperature=1.0, top_p=top_p), [bytes([seed])] * 60, range(60))
    assert set(many.tolist()) <= set(nucleus)


def test_a_draw_hangs_on_seed_sample_prompt_and_position():
    prompt = np.array([1, 2], np.int32)
    keys = [draw_key(0, 0, prompt), draw_key(1, 0, prompt), draw_key(0, 1, prompt), draw_key(0, 0, prompt[:1])]
    numbers = [draw(key, position) for key in keys for position in (0, 1)]
    assert len(set(numbers)) == len(numbers)
    assert draw(draw_key(0, 0, prompt.astype(np.int64)), 0) == numbers[0]
    assert 0.45 < np.mean([draw(keys[0], position) for position in range(2000)]) < 0.55
