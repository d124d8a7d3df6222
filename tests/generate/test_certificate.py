"""The A/A certificate: fresh processes agree, and what flips is counted."""

from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from scipy import stats as scipy_stats

from tunesmith.errors import GenerateError
from tunesmith.evaluate.run import noise_of
from tunesmith.files import read_json
from tunesmith.generate import Completion, Prompt, Sampling, certificate
from tunesmith.generate.certificate import (
    Answer,
    Certifier,
    Question,
    Run,
    Subject,
    _compared,
    answers_of,
    certify,
    small_runs,
)
from tunesmith.model import ModelConfig
from tunesmith.render import RenderConfig, renderer_for
from tunesmith.types import Message


@pytest.fixture
def subject(tiny_model_folder):
    return Subject(ModelConfig(name=str(tiny_model_folder), dtype="bfloat16"))


@pytest.fixture
def in_this_process(monkeypatch):
    """Processes of their own take seconds to start; the code that runs in them is the same."""
    monkeypatch.setattr(certificate, "_in_fresh_process", lambda spec: answers_of(read_json(spec)))


@pytest.mark.slow
def test_fresh_processes_batch_sizes_orders_and_threads_agree(subject):
    generator = np.random.default_rng(0)
    asked = [Question(generator.integers(3, 320, size).astype(np.int32), (2,)) for size in (1, 70, 9, 30)]
    runs = [Run(0, 1, 2, 0), Run(0, 1, 4, 3), Run(1, 2, 64, 0)]
    found = certify(subject, asked, Sampling(8), runs)
    assert (found.num_items, found.num_runs, found.num_item_runs, found.num_flips) == (4, 3, 12, 0)
    assert (found.batch_sizes, found.threads, found.num_processes, found.num_orders) == ((2, 4, 64), (1, 2), 2, 2)
    assert found.engine == "local bfloat16, 2 slots, fixed shapes"
    assert found.flip_rate_below == pytest.approx(1 - 0.05 ** (1 / 8))
    gaps = [gap for _, gap in found.fragile]
    assert gaps == sorted(gaps)
    assert len(gaps) == 4


def test_flips_are_counted_and_bounded():
    answers = [[Answer((1, 2), 0.5), Answer((3,), 0.1)] for _ in range(30)]
    answers[7] = [Answer((1, 2), 0.5), Answer((4,), 0.1)]
    found = _compared(answers, [Run(0, 0, 4, 0)], "engine")
    assert (found.num_flips, found.flipped) == (1, (1,))
    assert found.flip_rate == 1 / 58
    assert found.flip_rate_below == pytest.approx(scipy_stats.beta.ppf(0.95, 2, 57))
    assert [item for item, _ in found.fragile] == [1, 0]
    assert found.to_noise()["flip_rate"] == found.flip_rate


@pytest.mark.usefixtures("in_this_process")
def test_a_report_is_certified_against_its_own_answers_once(subject, tiny_model_folder):
    renderer = renderer_for(tiny_model_folder, RenderConfig().for_answers())
    certifier, asked = Certifier(subject, renderer, 64, "mark", 2), []

    class Wrong:
        def generate(self, prompts, sampling):
            asked.append(len(prompts))
            return [Completion("", (5,), False, 0.0) for _ in prompts]

    prompts = [Prompt((Message("user", "hi"),)), Prompt(text="every day")]
    facts = certifier(Wrong(), prompts, Sampling(3))
    assert (facts["num_flips"], facts["flipped"], facts["num_item_runs"]) == (4, [0, 1], 6)
    assert certifier(Wrong(), prompts, Sampling(3)) == facts
    assert asked == [2]


def test_a_process_that_fails_says_why(subject, monkeypatch):
    monkeypatch.setattr(certificate.sys, "executable", "/bin/false")
    with pytest.raises(GenerateError, match="certificate_items = 0"):
        certify(subject, [Question(np.array([1], np.int32), ())], Sampling(1), small_runs(3))


def test_a_report_says_how_often_the_same_model_flips():
    item = SimpleNamespace(id="a", messages=(Message("user", "hi"),), tools=(), text=None, begun="")
    task = SimpleNamespace(is_sealed=False, judge=None, sampling=Sampling(2), items=(item,), name="sums")

    class Fake:
        num_items = 3
        asked: ClassVar = []

        def __call__(self, _, prompts, sampling):
            self.asked.append((prompts, sampling))
            return {"flip_rate": 0.0, "fragile": [[0, 0.5]], "flipped": []}

    found = noise_of([task], None, Fake())
    assert found == {"flip_rate": 0.0, "fragile": [("a", 0.5)], "flipped": [], "task": "sums"}
    assert Fake.asked == [([Prompt((Message("user", "hi"),))], Sampling(2))]
    # What is sealed or drawn is not asked again.
    for other in ({"is_sealed": True}, {"sampling": Sampling(2, temperature=1.0)}):
        assert noise_of([SimpleNamespace(**{**vars(task), **other})], None, Fake()) == {}
