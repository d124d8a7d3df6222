"""Continuous batching: transformers' own answers, whatever stands beside a prompt, in bounded memory."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_families import FAMILIES
from tunesmith.errors import GenerateError
from tunesmith.generate import Sampling, blocks, paged, passes, slots
from tunesmith.generate.choose import draw_key
from tunesmith.generate.padded import complete
from tunesmith.generate.proof import prove
from tunesmith.generate.slots import Request, write
from tunesmith.model import ModelConfig
from tunesmith.model.load import load_model

SIZES = (1, 5, 63, 64, 65, 130, 190)
STOP = 2
GREEDY = Sampling(10)


def family_model(name, folder, dtype="float32"):
    (family,) = (each for each in FAMILIES if each.name == name)
    return load_model(ModelConfig(name=str(family.build(folder)), dtype=dtype))


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return family_model("Llama", tmp_path_factory.mktemp("llama"))


def random_prompts(sizes=SIZES, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.integers(3, 320, size).astype(np.int32) for size in sizes]


def requests_for(prompts, stops=(STOP,), seed=0):
    return [Request(prompt, stops, draw_key(seed, 0, prompt)) for prompt in prompts]


def answers(model, prompts, sampling=GREEDY, stops=(STOP,), **options):
    return write(model, requests_for(prompts, stops), sampling, **options)


def theirs(model, prompt, max_tokens):
    tokens = torch.from_numpy(prompt.astype(np.int64))[None]
    options = {"max_new_tokens": max_tokens, "do_sample": False, "eos_token_id": STOP, "pad_token_id": 0}
    written = model.generate(tokens, attention_mask=torch.ones_like(tokens), **options)
    return written[0, prompt.size :].tolist()


@pytest.mark.parametrize("name", ["Llama", "Llama, tied head", "Qwen 2", "Qwen 3", "Mistral", "Gemma 2", "Gemma 3",
                                  "Phi-3", "GPT-2", "GPT-NeoX", "Granite", "Cohere 2", "OPT", "Mixtral"])  # fmt: skip
def test_families_are_answered_as_by_transformers(name, tmp_path):
    model = family_model(name, tmp_path)
    assert prove(model, "free", 4).way == "slots"
    prompts = random_prompts((1, 64, 65, 130))
    assert [each.tokens for each in answers(model, prompts, num_slots=3)] == [
        theirs(model, prompt, GREEDY.max_tokens) for prompt in prompts
    ]


@pytest.mark.parametrize(
    ("name", "reason"), [("LFM 2", "conv"), ("Llama 4", "chunked_attention"), ("BLOOM", "differ by")]
)
def test_other_families_are_answered_padded(name, reason, tmp_path):
    model = family_model(name, tmp_path)
    proof = prove(model, "fixed", 4)
    assert proof.way == "padded"
    assert reason in proof.reason
    prompts = random_prompts((7, 12, 3))
    expected = [theirs(model, prompt, GREEDY.max_tokens) for prompt in prompts]
    alone = [complete(model, requests_for([prompt]), GREEDY)[0] for prompt in prompts]
    assert [each.tokens for each in alone] == expected
    stop = expected[0][2]
    together = complete(model, requests_for(prompts, (STOP, stop)), GREEDY)
    assert [each.tokens for each in together] == [
        each[: each.index(stop) + 1] if stop in each else each for each in expected
    ]


def test_a_model_whose_own_cache_goes_wrong_is_refused(tmp_path):
    """Mamba's forward pass knows no `past_key_values`; Bamba's cache needs a layer of attention."""
    for name in ("Mamba", "Bamba"):
        with pytest.raises(GenerateError, match=rf"{name}ForCausalLM cannot be asked: .* step by step"):
            prove(family_model(name, tmp_path / name), "free", 4)


def test_experts_are_asked_one_prompt_at_a_time_where_shapes_are_fixed(tmp_path):
    model = family_model("Mixtral", tmp_path)
    assert prove(model, "fixed", 4).way == "alone"


def test_attention_that_comes_out_otherwise_is_found(llama, monkeypatch):
    real = paged._attend
    monkeypatch.setattr(paged, "_attend", lambda *given: real(*given[:4], given[4]._replace(scale=0.1)))
    proof = prove(llama, "free", 4)
    assert proof.way == "padded"
    assert "from the model's own" in proof.reason


def test_logits_that_depend_on_the_company_are_found(llama, monkeypatch):
    real = passes.Passes.steps
    monkeypatch.setattr(
        passes.Passes, "steps", lambda self, tokens_S, *rest: real(self, tokens_S, *rest) + 1e-6 * len(tokens_S)
    )
    assert prove(llama, "free", 4).way == "slots"
    assert prove(llama, "fixed", 4).way == "alone"


@cache
def fixed_model(dtype):
    import tempfile
    from pathlib import Path

    model = family_model("Qwen 3", Path(tempfile.mkdtemp()), dtype)
    proof = prove(model, "fixed", 64)
    assert proof.way == "slots"
    prompts = random_prompts()
    sampling = Sampling(6)
    return model, proof, prompts, answers(model, prompts, sampling, num_slots=64, **sizes_of(proof))


def sizes_of(proof):
    return {"row_sizes": proof.row_sizes, "step_sizes": proof.step_sizes}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@settings(max_examples=12, deadline=None)
@given(
    order=st.lists(st.sampled_from(range(len(SIZES))), min_size=1, max_size=9),
    company=st.integers(0, 12),
    num_slots=st.sampled_from([1, 2, 5, 16, 40, 64]),
    seed=st.integers(0, 99),
)
def test_an_answer_depends_on_nothing_but_its_prompt(dtype, order, company, num_slots, seed):
    """Bit for bit the same tokens and gaps, in any order, at any number of slots, beside anything."""
    model, proof, prompts, expected = fixed_model(dtype)
    others = random_prompts(np.random.default_rng(seed).integers(1, 150, company), seed)
    places = np.random.default_rng(seed).permutation(len(order) + company)
    asked = [[*(prompts[index] for index in order), *others][place] for place in places]
    found = answers(model, asked, Sampling(6), num_slots=num_slots, **sizes_of(proof))
    for place, written in zip(places, found, strict=True):
        if place < len(order):
            assert written == expected[order[place]]


def test_draws_depend_on_the_key_and_the_position_alone(llama):
    prompts, hot = random_prompts((5, 9, 70)), Sampling(8, temperature=1.0, top_p=0.9)
    together = [each.tokens for each in answers(llama, prompts, hot)]
    assert together == [answers(llama, [prompt], hot)[0].tokens for prompt in prompts]
    other = write(llama, requests_for(prompts, seed=1), hot)
    assert [each.tokens for each in other] != together


def test_a_slot_is_filled_again_and_each_answer_is_told_when_it_ends(llama):
    prompts, told, most = random_prompts((3, 9, 4, 70, 5, 6, 2)), [], []
    real = passes.Passes.steps

    def steps(self, tokens_S, *rest):
        most.append(len(tokens_S))
        return real(self, tokens_S, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes.Passes, "steps", steps)
        found = answers(llama, prompts, num_slots=2, on_written=lambda *pair: told.append(pair))
    assert max(most) == 2
    assert sorted(told, key=lambda pair: pair[0]) == list(enumerate(found))
    assert len(most) < sum(len(each.tokens) for each in found)


def test_what_prompts_begin_with_alike_passes_once(llama, monkeypatch):
    system = random_prompts((2 * blocks.TOKENS + 5,), seed=7)[0]
    prompts = [np.concatenate([system, end]) for end in random_prompts((3, 70, 9, 1), seed=8)]
    apart, passed = answers(llama, prompts, shares=False), []
    real = passes.Passes.prefill
    monkeypatch.setattr(
        passes.Passes,
        "prefill",
        lambda self, pieces: passed.extend(piece.tokens.size for piece in pieces) or real(self, pieces),
    )
    assert [each.tokens for each in answers(llama, prompts)] == [each.tokens for each in apart]
    assert sum(passed) == sum(prompt.size - 1 for prompt in prompts) - 3 * 2 * blocks.TOKENS
    passed.clear()
    # Also where they come one after the other, and where there is hardly room to keep what is shared.
    for tokens in (slots.SLOT_TOKENS, blocks.TOKENS):
        monkeypatch.setattr(slots, "SLOT_TOKENS", tokens)
        assert [each.tokens for each in answers(llama, prompts, num_slots=2)] == [each.tokens for each in apart]


def test_memory_is_bounded_by_slots(llama, monkeypatch):
    pools = []
    real = blocks.Pool.__init__
    monkeypatch.setattr(blocks.Pool, "__init__", lambda self, capacity: pools.append(self) or real(self, capacity))
    spans = []
    monkeypatch.setattr(blocks.Pool, "grow", lambda self, real=blocks.Pool.grow: spans.append(self.span) or real(self))
    prompts = random_prompts((60,) * 40)
    answers(llama, prompts, num_slots=3)
    # Each needs two blocks of 64; one sequence's worth is set aside for what is shared, and one block is scratch.
    assert pools[0].capacity == 4 * 2
    assert max(spans) == 1 + 3 * 2
    assert pools[0].num_free == pools[0].capacity


def test_more_prompts_than_memory_wait(llama, monkeypatch):
    monkeypatch.setattr(slots, "SLOT_TOKENS", blocks.TOKENS)
    prompts = random_prompts((190,) * 5)
    assert [each.tokens for each in answers(llama, prompts, num_slots=4)] == [
        theirs(llama, prompt, GREEDY.max_tokens) for prompt in prompts
    ]


def test_a_prompt_longer_than_a_row(tmp_path):
    model = family_model("Qwen 3", tmp_path)
    prompts = random_prompts((passes.ROW_TOKENS + 190, 3))
    proof = prove(model, "fixed", 4)
    expected = [theirs(model, prompt, 5) for prompt in prompts]
    for options in ({}, sizes_of(proof)):
        assert [each.tokens for each in answers(model, prompts, Sampling(5), **options)] == expected


def test_edges(llama):
    prompts = random_prompts((1, 4))
    assert answers(llama, []) == []
    assert [each.tokens for each in answers(llama, prompts, Sampling(1))] == [
        theirs(llama, prompt, 1) for prompt in prompts
    ]
    first = answers(llama, prompts[:1])[0].tokens
    assert answers(llama, prompts[:1], stops=(first[2],))[0].tokens == first[: first.index(first[2]) + 1]
    mixed = [Request(prompt, (first[2],) if number else (STOP,), b"k") for number, prompt in enumerate(prompts[:1] * 2)]
    own, other = write(llama, mixed, GREEDY)
    assert (own.tokens, other.tokens) == (first, first[: first.index(first[2]) + 1])
    with pytest.raises(GenerateError, match="no tokens"):
        answers(llama, [np.array([], np.int32)])


def test_the_models_own_attention_is_back_afterwards(llama):
    before = llama.config._attn_implementation
    answers(llama, random_prompts((4,)))
    assert llama.config._attn_implementation == before
    with pytest.raises(RuntimeError, match="odd"):
        answers(llama, random_prompts((4,)), on_written=lambda *_: (_ for _ in ()).throw(RuntimeError("odd")))
    assert llama.config._attn_implementation == before
