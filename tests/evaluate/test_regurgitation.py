"""Regurgitation: what comes back of training text, by values by hand and by a model that knows it by heart."""

import pytest
from fakes import Fake
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.errors import ConfigError
from tunesmith.evaluate import EvaluateConfig, evaluate
from tunesmith.evaluate.regurgitation import HALF, NEEDS_DATA, NUM_TEXTS, regurgitation_task
from tunesmith.generate import Prompt
from tunesmith.generate.engines import prompt_tokens
from tunesmith.render import RenderConfig, renderer_for
from tunesmith.types import Conversation, Message
from tunesmith.verify.verbatim import longest_run, verbatim

WORDS = st.lists(st.sampled_from("abc"), max_size=8)


def talk(number, words=30):
    answer = " ".join(f"w{number}-{at}" for at in range(words))
    return Conversation(f"c{number}", (Message("user", f"question {number}"), Message("assistant", answer)))


@pytest.mark.parametrize(
    ("completion", "share"),
    [
        ("one two three four", 1.0),
        ("well, Two three!", 0.25),
        ("two three so", 0.5),
        ("four three two one", 0.25),
        ("", 0.0),
        ("nothing", 0.0),
        ("so one two three four it goes", 1.0),
    ],
)
def test_the_longest_run_by_hand(completion, share):
    assert verbatim({"answer": {"type": "text", "value": "one two three four"}}, completion)[0] == share


@given(WORDS, WORDS)
def test_the_longest_run_is_that_of_all_runs(one, other):
    end, length = longest_run(one, other)
    runs = {tuple(other[i:j]) for i in range(len(other)) for j in range(i + 1, len(other) + 1)}
    mine = [tuple(one[i:j]) for i in range(len(one)) for j in range(i + 1, len(one) + 1)]
    assert length == max((len(run) for run in mine if run in runs), default=0)
    assert not length or tuple(one[end - length : end]) in runs


def test_a_model_that_knows_its_data_by_heart_gives_it_back(tmp_path):
    task = regurgitation_task([talk(1), talk(2)], ["the code is 8472 and 11"])
    known = [" ".join(f"w{number}-{at}" for at in range(30)) for number in (1, 2)] + ["the code is 8472 and 11"]

    def recite(prompt):
        begun = prompt.begun or prompt.text
        return next(text[len(begun) :] for text in known if text.startswith(begun))

    report = evaluate([task], Fake(recite), tmp_path / "heart").task("regurgitation")
    assert report.scores == {"canary-1": 1.0, "c1": 1.0, "c2": 1.0}
    assert (report.better, report.group) == ("lower", "tax")
    honest = evaluate([task], Fake(lambda prompt: "I cannot know."), tmp_path / "other").task("regurgitation")
    assert set(honest.scores.values()) == {0.0}


def test_what_is_given_and_what_is_wanted_are_the_answer():
    [item] = regurgitation_task([talk(1)], ()).items
    words = talk(1).messages[-1].content.split()
    assert item.begun.split() == words[:HALF]
    assert item.answer["value"].split() == words[HALF : 2 * HALF]
    assert item.messages == talk(1).messages[:-1]


def test_the_same_texts_are_chosen_whatever_their_order():
    talks = [talk(number) for number in range(100)]
    chosen = regurgitation_task(talks, ()).items
    assert len(chosen) == NUM_TEXTS
    assert regurgitation_task(talks[::-1], ()).items == chosen


def test_without_text_it_is_skipped_with_the_reason(tmp_path):
    cases = [(None, NEEDS_DATA), ([talk(1, words=5)], f"no answer of the training data has {2 * HALF} words")]
    for number, (training, reason) in enumerate(cases):
        model = Fake()
        report = evaluate([regurgitation_task(training, ())], model, tmp_path / str(number))
        assert report.task("regurgitation").skipped == reason
        assert model.asked == []


def test_a_canary_needs_two_words():
    with pytest.raises(ConfigError, match="'one' needs two words"):
        EvaluateConfig.parse({"canaries": ["one"]}, "here")


def test_a_begun_answer_stands_behind_the_generation_prompt(tiny_model_folder):
    renderer = renderer_for(tiny_model_folder, RenderConfig().for_answers())
    asked = (Message("user", "what is two plus two?"),)
    whole = prompt_tokens(Prompt(asked, begun="four"), renderer)
    assert whole.tolist() == [*renderer.prompt(asked, ()).tolist(), *renderer.continued("four").tolist()]
