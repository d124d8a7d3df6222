"""Generation: the same text as transformers' own, whatever the batch."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tunesmith.errors import EvaluateError
from tunesmith.generate import Sampling
from tunesmith.generate.local import LocalGenerator, _common_prefix
from tunesmith.model import ModelConfig
from tunesmith.model.load import load_model
from tunesmith.render import RenderConfig, renderer_for
from tunesmith.types import Conversation, Message, Rendered


@pytest.fixture(scope="module")
def generator(tiny_model_folder):
    model = load_model(ModelConfig(name=str(tiny_model_folder), dtype="float32"))
    return LocalGenerator(model, renderer_for(tiny_model_folder, RenderConfig().for_answers()), "digest")


def prompts(generator):
    texts = ["hi", "every day at noon", "what is two plus two? " * 3, "Hello, you!", "a"]
    return [generator.renderer.prompt([Message("system", "S"), Message("user", text)]) for text in texts]


def test_equals_transformers_greedy_generation(generator, tiny_model_folder):
    plain = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    stop = generator.renderer.stop_tokens[0]
    ours = generator.generate(prompts(generator), Sampling(max_tokens=12))
    for prompt, completion in zip(prompts(generator), ours, strict=True):
        tokens = torch.from_numpy(prompt.astype(np.int64))[None]
        theirs = plain.generate(tokens, max_new_tokens=12, do_sample=False, eos_token_id=stop, pad_token_id=stop)
        expected = [token for token in theirs[0, prompt.size :].tolist() if token != stop]
        assert completion.text == generator.renderer.text(expected)


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
    (completion,) = generator.generate(prompts(generator)[:1], Sampling(6), seen.append)
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
    assert generator.log_likelihood([rendered]) == pytest.approx([-float(loss)], rel=1e-5)


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
    assert generator.log_likelihood([tree]) == pytest.approx([expected], rel=1e-5)


@pytest.mark.parametrize(("weights", "message"), [([1, 1], "first token of a sequence"), ([0, 0], "no token of it")])
def test_no_likelihood_without_something_to_predict_or_to_predict_from(generator, weights, message):
    odd = Rendered("the-odd-one", np.array([5, 6], np.int32), np.array(weights, np.float32))
    with pytest.raises(EvaluateError, match=f"the-odd-one has no likelihood: .*{message}"):
        generator.log_likelihood([odd])


def test_common_prefix_leaves_a_token_apart():
    array = lambda *values: np.array(values, np.int32)  # noqa: E731
    assert _common_prefix([array(1, 2, 3), array(1, 2, 4)]) == 2
    assert _common_prefix([array(1, 2), array(1, 2)]) == 1
    assert _common_prefix([array(9, 2), array(1, 2)]) == 0
    assert _common_prefix([array(5)]) == 0
