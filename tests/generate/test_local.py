"""Generation: the same text as transformers' own, whatever the batch."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from tunesmith.errors import EvaluateError, GenerateError
from tunesmith.generate import Likelihood, Prompt, Sampling, Window
from tunesmith.generate.local import LocalGenerator
from tunesmith.generate.pricing import ROWS, common_length, windows
from tunesmith.model import ModelConfig
from tunesmith.model.load import load_model
from tunesmith.render import RenderConfig, renderer_for
from tunesmith.types import Conversation, Message, Rendered


@pytest.fixture(scope="module")
def generator(tiny_model_folder):
    model = load_model(ModelConfig(name=str(tiny_model_folder), dtype="float32"))
    return LocalGenerator(lambda: model, renderer_for(tiny_model_folder, RenderConfig().for_answers()), "digest")


def prompts(generator):
    texts = ["hi", "every day at noon", "what is two plus two? " * 3, "Hello, you!", "a"]
    return [Prompt((Message("system", "S"), Message("user", text))) for text in texts]


def test_equals_transformers_greedy_generation(generator, tiny_model_folder):
    plain = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    stop = generator.renderer.stop_tokens[0]
    ours = generator.generate(prompts(generator), Sampling(max_tokens=12))
    for asked, completion in zip(prompts(generator), ours, strict=True):
        prompt = generator.renderer.prompt(asked.messages)
        tokens = torch.from_numpy(prompt.astype(np.int64))[None]
        theirs = plain.generate(tokens, max_new_tokens=12, do_sample=False, eos_token_id=stop, pad_token_id=stop)
        expected = [token for token in theirs[0, prompt.size :].tolist() if token != stop]
        assert completion.text == generator.renderer.text(expected)
        assert list(completion.tokens) == theirs[0, prompt.size :].tolist()


def test_the_batch_does_not_change_the_text(generator):
    together = generator.generate(prompts(generator), Sampling(max_tokens=12))
    alone = [generator.generate([prompt], Sampling(max_tokens=12))[0] for prompt in prompts(generator)]
    assert together == alone


def test_a_stopped_prompt_leaves_and_the_others_go_on(generator, monkeypatch):
    """Make the most probable first token of one prompt the stop token."""
    batch = prompts(generator)
    full = generator.generate(batch, Sampling(max_tokens=8))
    first = generator.renderer.tokenizer.encode(full[1].text)[0]
    monkeypatch.setattr(type(generator.renderer), "stop_tokens", property(lambda self: (first,)))
    shortened = generator.generate(batch, Sampling(max_tokens=8))
    assert shortened[1].stopped
    assert shortened[1].text == ""
    for index in (0, 2, 3, 4):
        assert full[index].text.startswith(shortened[index].text)


def test_sampling_repeats_with_its_seed_and_differs_with_another(generator):
    batch = prompts(generator)[:2]
    draw = [generator.generate(batch, Sampling(16, temperature=1.0, seed=seed)) for seed in (1, 1, 2)]
    assert draw[0] == draw[1] != draw[2]
    assert generator.generate(batch, Sampling(16, temperature=1.0, top_p=1e-9)) == generator.generate(
        batch, Sampling(16)
    )


def test_text_grows_for_a_listener(generator):
    seen = []
    completion = generator.answer(prompts(generator)[0], Sampling(6), seen.append)
    assert completion == generator.generate(prompts(generator)[:1], Sampling(6))[0]
    assert seen[-1] == completion.text
    assert all(later.startswith(earlier) for earlier, later in pairwise(seen) if "�" not in earlier)


def test_likelihood_is_the_mean_log_probability_of_trained_tokens(generator, tiny_model_folder):
    messages = (Message("user", "hi"), Message("assistant", "four"))
    rendered = generator.renderer.render(Conversation("c", messages))
    plain = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    tokens = torch.from_numpy(rendered.tokens).long()
    labels = torch.where(torch.from_numpy(rendered.loss_weights) != 0, tokens, -100)
    with torch.no_grad():
        loss = plain(input_ids=tokens[None], labels=labels[None]).loss
    assert generator.mean_log_probability([rendered]) == pytest.approx([-float(loss)], rel=1e-5)


def test_likelihood_of_a_tree_is_the_mean_over_its_trained_tokens_each_in_its_own_context(generator, tiny_model_folder):
    tokens = np.random.default_rng(0).integers(3, 300, 20).astype(np.int32)
    weights = (np.arange(20) % 3 == 2).astype(np.float32)
    tree = Rendered("c", tokens, weights, np.array([[0, -1], [6, 3], [11, 8], [14, 3]], np.int32))
    contexts = [
        range(6),
        [*range(4), *range(6, 11)],
        [*range(4), *range(6, 9), 11, 12, 13],
        [*range(4), *range(14, 20)],
    ]
    plain = AutoModelForCausalLM.from_pretrained(tiny_model_folder, attn_implementation="eager")
    found = {}
    for places in map(list, contexts):
        with torch.no_grad():
            log_p = plain(input_ids=torch.from_numpy(tokens[places]).long()[None]).logits[0].log_softmax(-1)
        found |= {place: float(log_p[i, tokens[place]]) for i, place in enumerate(places[1:])}
    expected = np.mean([found[place] for place in np.flatnonzero(weights)])
    assert generator.mean_log_probability([tree]) == pytest.approx([expected], rel=1e-5)


@pytest.mark.parametrize(("weights", "message"), [([1, 1], "first token of a sequence"), ([0, 0], "no token of it")])
def test_no_likelihood_without_something_to_predict_or_to_predict_from(generator, weights, message):
    odd = Rendered("the-odd-one", np.array([5, 6], np.int32), np.array(weights, np.float32))
    with pytest.raises(EvaluateError, match=f"the-odd-one has no likelihood: .*{message}"):
        generator.mean_log_probability([odd])


def test_each_completion_is_told_once_when_it_is_done(generator):
    small, told = LocalGenerator(lambda: generator.model, generator.renderer, "digest", batch_prompts=2), {}
    asked = prompts(generator)
    whole = small.generate(asked, Sampling(5), told.__setitem__)
    assert [told[index] for index in range(len(asked))] == whole


def test_the_model_is_loaded_when_it_is_first_asked(generator):
    loaded = []
    lazy = LocalGenerator(lambda: loaded.append(1) or generator.model, generator.renderer, "digest")
    assert (lazy.digest, loaded) == ("digest", [])
    lazy.generate(prompts(generator)[:1], Sampling(1))
    assert lazy.engine == "local float32, 64 slots, fixed shapes"
    lazy.generate(prompts(generator)[:1], Sampling(1))
    assert loaded == [1]


def test_the_engine_of_known_weights_is_named_without_loading_them(generator):
    refuse = lambda: pytest.fail("the model was loaded")  # noqa: E731
    first = LocalGenerator(lambda: generator.model, generator.renderer, "some digest", shapes="free")
    assert first.engine == "local float32, 64 slots, free shapes"
    assert LocalGenerator(refuse, generator.renderer, "some digest", shapes="free").engine == first.engine
    with pytest.raises(pytest.fail.Exception):
        _ = LocalGenerator(refuse, generator.renderer, "another digest", shapes="free").engine


def test_samples_of_one_prompt_differ_and_repeat_whatever_stands_beside_them(generator):
    asked = [replace(prompts(generator)[0], sample=number) for number in range(4)]
    sampling = Sampling(12, temperature=1.0)
    together = generator.generate(asked, sampling)
    assert len({each.text for each in together}) > 1
    assert [generator.generate([each], sampling)[0] for each in asked] == together


# Prices


def log_p(model, tokens, first):
    """The sum over tokens[first:], by one plain pass."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([tokens])).logits[0].float().log_softmax(-1)
    return float(sum(logits[at - 1, tokens[at]] for at in range(first, len(tokens))))


def test_choices_behind_a_chat_prompt_cost_what_a_plain_pass_says(generator):
    prompt = prompts(generator)[1]
    choices = ["A", "Bread", "a much longer choice than the others", "B"]
    (found,) = generator.log_likelihood([prompt], [choices])
    asked = generator.renderer.prompt(prompt.messages).tolist()
    for choice, price in zip(choices, found, strict=True):
        after = generator.renderer.tokenizer.encode(choice)
        assert price.nats == pytest.approx(log_p(generator.model, asked + after, len(asked)), rel=1e-5)
        assert (price.num_tokens, price.num_bytes) == (len(after), len(choice))


def test_a_continuation_of_a_plain_text_may_share_a_token_with_it(generator):
    """lm-evaluation-harness moves the spaces at the end of the context to the continuation: the same tokens."""
    encode = generator.renderer.tokenizer.encode
    for text, more in (("two plus two is", " four"), ("two plus two is ", "four"), ("", "every day")):
        ((found,),) = generator.log_likelihood([Prompt(text=text)], [[more]])
        moved = text.rstrip()
        start = [] if moved else [generator.renderer.plain("")[0]]
        tokens = start + encode(text + more)
        first = len(start) + len(encode(moved))
        expected = log_p(generator.model, tokens, first)
        assert found == Likelihood(pytest.approx(expected, rel=1e-5), len(tokens) - first, len(more))


def test_a_whole_answer_is_priced_with_its_stop_token(generator):
    prompt, answer = prompts(generator)[0], Message("assistant", "four")
    rendered = generator.renderer.render(Conversation("c", (*prompt.messages, answer)))
    ((found,),) = generator.log_likelihood([prompt], [[answer]])
    assert found.nats / found.num_tokens == pytest.approx(generator.mean_log_probability([rendered])[0])
    assert found.num_tokens == rendered.num_supervised


def test_many_choices_cost_what_each_costs_alone(generator):
    choices = [Message("assistant", f"label {number}" * (1 + number % 3)) for number in range(2 * ROWS + 3)]
    (together,) = generator.log_likelihood(prompts(generator)[:1], [choices])
    for choice, price in zip(choices, together, strict=True):
        ((alone,),) = generator.log_likelihood(prompts(generator)[:1], [[choice]])
        assert price == replace(alone, nats=pytest.approx(alone.nats, rel=1e-5))


@given(num_tokens=st.integers(2, 60), first=st.integers(1, 20), tokens=st.integers(2, 20), stride=st.integers(1, 19))
def test_windows_price_each_token_once_with_something_before_it(num_tokens, first, tokens, stride):
    first, stride = min(first, num_tokens - 1), min(stride, tokens - 1)
    spans = list(windows(num_tokens, first, Window(tokens, stride)))
    priced = [token for _, start, end in spans for token in range(start, end)]
    assert priced == list(range(first, num_tokens))
    assert all(0 <= begin < start < end <= begin + tokens for begin, start, end in spans)
    assert all(start - begin >= min(first, tokens - stride) for begin, start, _ in spans)


def test_a_long_text_costs_what_its_windows_cost(generator):
    text = "every day at noon, what is two plus two? " * 6
    ((found,),) = generator.log_likelihood([Prompt(text="")], [[text]], Window(16, 8))
    tokens = generator.renderer.plain("").tolist()[:1] + generator.renderer.tokenizer.encode(text)
    expected = log_p(generator.model, tokens[:16], 1)
    for start in range(8, len(tokens) - 8, 8):
        expected += log_p(generator.model, tokens[start : start + 16], 8)
    assert found == Likelihood(pytest.approx(expected, rel=1e-5), len(tokens) - 1, len(text))


def test_a_stride_as_long_as_the_window_is_refused(generator):
    with pytest.raises(GenerateError, match="less than the window"):
        generator.log_likelihood([Prompt(text="")], [["a"]], Window(8, 8))


def test_nothing_has_no_price(generator):
    with pytest.raises(GenerateError, match="no token"):
        generator.log_likelihood([Prompt(text="a")], [[""]])


def test_common_length():
    array = lambda *values: np.array(values, np.int32)  # noqa: E731
    assert common_length([array(1, 2, 3), array(1, 2, 4, 5)]) == 2
    assert common_length([array(1, 2), array(1, 2, 4)]) == 2
    assert common_length([array(1), array(2)]) == 0
