"""Forgetting: the divergence is exact, read when it was measured before, and skipped with a reason."""

import math

import numpy as np
import pytest
import torch
from fakes import Fake, items, task
from peft import LoraConfig, get_peft_model

from builders import build_model
from tunesmith.errors import NoLikelihoodError, SkippedError
from tunesmith.evaluate import evaluate
from tunesmith.evaluate.forgetting import Probe, divergences, loss_task, probes, with_divergence, write_divergence
from tunesmith.generate import Prompt, Window
from tunesmith.generate.divergence import Differ, Pair, adapted
from tunesmith.model import ModelConfig
from tunesmith.model.load import load_adapted, load_model
from tunesmith.render import RenderConfig, renderer_for
from tunesmith.tasks import builtin_items, general_passages
from tunesmith.types import Message, Report, Sample

TEXT = "every day at noon, what is two plus two?"
ASKED = [Probe("one", "a", (), TEXT), Probe("two", "b", (Message("user", "2+2?"),), "four")]


@pytest.fixture(scope="module")
def renderer(tiny_model_folder):
    return renderer_for(tiny_model_folder, RenderConfig().for_answers())


@pytest.fixture(scope="module")
def base(tiny_model_folder):
    return load_model(ModelConfig(name=str(tiny_model_folder), dtype="float32"))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    folder = tmp_path_factory.mktemp("other")
    build_model(folder, seed=1)
    return load_model(ModelConfig(name=str(folder), dtype="float32"))


@pytest.fixture(scope="module")
def adapter(tiny_model_folder, tmp_path_factory):
    """An adapter that changes something."""
    torch.manual_seed(0)
    model = load_model(ModelConfig(name=str(tiny_model_folder), dtype="float32"))
    model = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False))
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(folder)
    return folder


def by_hand(base, tuned, tokens, first):
    """The sum over the vocabulary, in float64, of each token from `first` on."""
    with torch.inference_mode():
        p, q = (model(torch.tensor([tokens])).logits[0].double().softmax(-1).numpy() for model in (base, tuned))
    return np.mean([sum(a * math.log(a / b) for a, b in zip(p[n - 1], q[n - 1], strict=True)) for n in first])


def whole(renderer):
    """The tokens of TEXT behind the one that begins a text."""
    return [*renderer.plain("")[:1].tolist(), *renderer.plain(TEXT).tolist()]


def test_the_divergence_is_that_of_the_definition(base, other, renderer):
    differ = Differ(Pair(base, other), renderer, Window(512, 256))
    tokens = whole(renderer)
    value, num_tokens = differ.divergence(Prompt(text=""), TEXT)
    assert num_tokens == len(tokens) - 1
    assert value == pytest.approx(by_hand(base, other, tokens, range(1, len(tokens))), rel=1e-4)
    assert value > 0.001
    asked = Prompt((Message("user", "2+2?"),))
    prompt = renderer.prompt(asked.messages, ()).tolist()
    answer = renderer.continued("four").tolist()
    value, num_tokens = differ.divergence(asked, "four")
    assert num_tokens == len(answer)
    places = range(len(prompt), len(prompt) + len(answer))
    assert value == pytest.approx(by_hand(base, other, prompt + answer, places), rel=1e-4)


def test_the_windows_of_a_long_text_count_each_token_once(base, other, renderer):
    tokens = whole(renderer)
    assert len(tokens) > 12
    value, num_tokens = Differ(Pair(base, other), renderer, Window(8, 4)).divergence(Prompt(text=""), TEXT)
    spans = [(0, range(1, 8)), *((n, range(4, 8)) for n in range(4, len(tokens), 4))]
    total, seen = 0.0, 0
    for start, places in spans:
        part = tokens[start : start + 8]
        priced = [place for place in places if place < len(part)]
        if priced:
            total += by_hand(base, other, part, priced) * len(priced)
            seen += len(priced)
    assert seen == num_tokens == len(tokens) - 1
    assert value == pytest.approx(total / seen, rel=1e-4)


def test_a_model_has_not_moved_from_itself(base, renderer):
    assert Differ(Pair(base, base), renderer, Window()).divergence(Prompt(text=""), TEXT)[0] == 0.0


def test_an_adapter_is_one_model_with_and_without(tiny_model_folder, adapter, base, renderer):
    config = ModelConfig(name=str(tiny_model_folder), dtype="float32")
    merged = load_model(config, adapter=adapter)
    one = Differ(adapted(load_adapted(config, adapter)), renderer, Window())
    two = Differ(Pair(base, merged), renderer, Window())
    value = one.divergence(Prompt(text=""), TEXT)[0]
    assert value > 1e-4
    assert value == pytest.approx(two.divergence(Prompt(text=""), TEXT)[0], rel=1e-3)


def test_other_vocabularies_are_skipped(base, renderer, tmp_path):
    build_model(tmp_path, vocab_size=330)
    wider = load_model(ModelConfig(name=str(tmp_path), dtype="float32"))
    report = divergences(ASKED, lambda: Differ(Pair(base, wider), renderer, Window()), "off", "m")
    assert report.scores == {}
    assert "320 and 330 tokens" in report.skipped


def test_what_was_measured_is_read(base, other, renderer, tmp_path):
    def refuse():
        raise AssertionError("the models are not needed")

    path = str(tmp_path / "ledger.sqlite")
    first = divergences(ASKED, lambda: Differ(Pair(base, other), renderer, Window()), path, "m")
    assert divergences(ASKED, refuse, path, "m") == first
    with pytest.raises(AssertionError):
        divergences(ASKED, refuse, path, "another model")
    assert first.facts == {"kl_of_texts": first.scores["one"], "kl_of_answers": first.scores["two"]}
    assert (first.better, first.group, first.clusters) == ("lower", "forgetting", {"one": "a", "two": "b"})


def test_what_cannot_be_loaded_is_skipped_with_the_reason():
    def refuse():
        raise SkippedError("too little memory")

    report = divergences(ASKED, refuse, "off", "m")
    assert (report.skipped, report.scores, report.facts) == ("too little memory", {}, {})


def test_a_divergence_belongs_to_two_models(tmp_path):
    path = tmp_path / "divergence.json"
    before, after = Report("base", "b", ()), Report("tuned", "t", ())
    assert with_divergence(before, after, path) == (before, after)
    report = divergences([], lambda: None, "off", "m")
    write_divergence(path, "b", "t", report)
    base, tuned = with_divergence(before, after, path)
    assert base.task("kl_general") is not None
    assert tuned.task("kl_general") == report
    assert with_divergence(after, before, path) == (after, before)


def test_probes_are_the_passages_and_what_the_base_wrote():
    passages, asked = builtin_items("prose")[:2], builtin_items("writing")[:3]
    about = {"prompt": "", "expected": "", "num_tokens": 1, "stopped": True, "score": 0.0, "explanation": ""}
    names = [("panel:writing", asked[0].id, "Well."), ("panel:writing", asked[1].id, ""), ("other", asked[2].id, "No.")]
    samples = [Sample(task=task, item_id=item, cluster="c", completion=text, **about) for task, item, text in names]
    found = probes(passages, asked, samples)
    assert [each.text for each in found] == [*(each.answer["value"] for each in passages), "Well."]
    assert found[0].prompt == Prompt(text="")
    assert found[2].prompt == Prompt(asked[0].messages)


def test_the_loss_is_told_in_nats_a_token_and_bits_a_byte(tmp_path):
    asked = items("two words", "and three words", messages=None, text="")
    model = Fake(cost=lambda prompt, text: -3.0)
    report = evaluate([loss_task(asked)], model, tmp_path).task("loss_general")
    assert report.scores == {"i0": 1.5, "i1": 1.0}
    assert (report.better, report.unit, report.group) == ("lower", "nats per token", "forgetting")
    num_bytes = len("two wordsand three words")
    assert report.facts["bits_per_byte"] == pytest.approx(6 / math.log(2) / num_bytes)
    assert report.facts["perplexity"] == pytest.approx(math.exp(6 / 5))


def test_a_remote_model_has_no_loss_and_says_why(tmp_path):
    class Remote(Fake):
        def log_likelihood(self, *asked):
            raise NoLikelihoodError("it does not tell")

    report = evaluate([loss_task(items("two words", messages=None, text=""))], Remote(), tmp_path)
    assert report.task("loss_general").skipped == "it does not tell"
    with pytest.raises(NoLikelihoodError):  # what the user asked for is not passed over
        evaluate([task("likelihood")], Remote(), tmp_path / "own")


def test_the_passages_are_short_of_many_kinds_and_two_levels():
    found = builtin_items("prose")
    assert len({each.answer["value"] for each in found}) == len(found) >= 64
    assert len({each.cluster for each in found}) >= 15
    for each in found:
        assert 60 <= len(each.answer["value"].split()) <= 150, each.id
        assert each.text == ""
    levels = [tag for each in found for tag in each.tags]
    assert len(levels) == len(found)
    assert min(levels.count("level:1"), levels.count("level:2")) >= len(found) / 5


def test_general_text_may_be_your_own(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("A text of mine.\n")
    assert [each.answer["value"] for each in general_passages(f"text:{path}")] == ["A text of mine.\n"]
    assert general_passages(str(path)) == general_passages(f"text:{path}")
