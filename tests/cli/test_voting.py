"""`chat --blind`, `judge` and `votes` on files, with people and models that are functions."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tunesmith.cli import app
from tunesmith.evaluate.judging.votes import read_votes
from tunesmith.generate import Completion, Prompt
from tunesmith.types import Sample

Tunesmith = Callable[..., Result]


class Model:
    """Answers by a function; `engine` and `digest` as a generator has them."""

    def __init__(self, say: Callable[[str], str]) -> None:
        self.say, self.digest, self.engine = say, "d", "fake"
        self.num_asked = 0

    def generate(self, prompts: Sequence[Prompt], sampling: Any, on_done: Any = None) -> list[Completion]:
        found = [Completion(self.say(prompt.messages[-1].content), (1,), True) for prompt in prompts]
        self.num_asked += len(prompts)
        for index, each in enumerate(found):
            if on_done:
                on_done(index, each)
        return found


@pytest.fixture
def tunesmith(in_tmp: Path) -> Tunesmith:
    """Run a command in a folder with the answers of `good` and `poor` to thirty items."""
    for name in ("good", "poor"):
        Path(name).mkdir()
        with Path(name, "samples.jsonl").open("w") as file:
            for number in range(30):
                answer = f"{name} answer to {number}"
                sample = Sample("t", f"i{number}", "all", f"question {number}?", "", answer, 3, True, 1.0, "")
                file.write(json.dumps(asdict(sample)) + "\n")

    def run(*arguments: str, code: int = 0, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(app, list(arguments), input=stdin)
        assert result.exit_code == code, (arguments, result.output, result.exception)
        return result

    return run


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> dict[str, Model]:
    """Models by name, in place of those that would be loaded."""
    known: dict[str, Model] = {}
    for module in ("contestants", "blind"):
        monkeypatch.setattr(f"tunesmith.cli.{module}.generator_of", lambda name, pool: known[name])
    return known


def judging(text: str) -> str:
    answers = re.findall(r"=== answer \d \w+ ===\n(.*)\n", text)
    return f"Verdict: {'tie' if answers[0] == answers[1] else 1 if 'good' in answers[0] else 2}"


def keys_for(output: str, count: int) -> str:
    """The keys of a person who prefers `good`, from what a first look showed them."""
    shown = re.findall(r"^a> (\w+)", output, flags=re.MULTILINE)
    return "".join("a\n" if each == "good" else "b\n" for each in shown[:count])


def test_a_person_votes_without_names_and_goes_on_later(tunesmith: Tunesmith) -> None:
    blind = ("chat", "--blind", "new=good", "old=poor", "--votes", "v.jsonl")
    looked = tunesmith(*blind, "--votes", "look.jsonl", stdin="s\n" * 30)
    shown = re.findall(r"^a> (\w+)", looked.stdout, flags=re.MULTILINE)
    assert 5 < shown.count("good") < 25, "either may stand first"
    assert "No vote yet." in looked.stdout
    first = tunesmith(*blind, stdin=keys_for(looked.stdout, 12) + "what\nq\n")
    before, _, after = first.stdout.partition("You compared new with old")
    assert "new" not in before
    assert "12 items: 12 won, 0 lost, 0 tied" in after
    assert "'what' is no key here" in first.stderr
    second = tunesmith(*blind, stdin="t\n" * 18)
    assert "30 items: 12 won, 0 lost, 18 tied" in second.stdout
    votes = read_votes([Path("v.jsonl")])
    assert len({vote.item for vote in votes}) == len(votes) == 30
    assert {vote.order for vote in votes} == {"ab", "ba"}
    assert "30 items: 12 won" in tunesmith(*blind, stdin="").stdout, "nothing is asked twice"


def test_a_model_judges_and_people_correct_it(tunesmith: Tunesmith, models: dict[str, Model]) -> None:
    models["j"] = Model(judging)
    ask = ("judge", "good", "poor", "--judge", "j", "--votes", "v.jsonl", "--checks", "4")
    done = tunesmith(*ask)
    assert models["j"].num_asked == 60 + 4 * 3
    assert "30 items: 30 won, 0 lost, 0 tied" in done.stdout
    assert "No person judged any of these answers" in done.stdout
    assert "Items where the order of the answers changed the verdict: 0 of 30" in done.stdout
    looked = tunesmith("chat", "--blind", "good", "poor", "--votes", "look.jsonl", stdin="s\n" * 30)
    tunesmith("chat", "--blind", "good", "poor", "--votes", "v.jsonl", stdin=keys_for(looked.stdout, 12))
    again = tunesmith(*ask)
    assert models["j"].num_asked == 72, "nothing is asked twice"
    assert "as people would say" in again.stdout
    assert "Agrees with people on 100 % of 12 items" in again.stdout
    assert tunesmith("votes", "v.jsonl").stdout == again.stdout


def test_two_models_answer_prompts_and_the_vault_is_left_out(tunesmith: Tunesmith, models: dict[str, Model]) -> None:
    models |= {"j": Model(judging), "a": Model(lambda text: f"good {text}"), "b": Model(lambda text: f"poor {text}")}
    items = [
        {"id": str(n), "split": "vault" if n < 3 else "gate", "messages": [{"role": "user", "content": str(n)}]}
        for n in range(8)
    ]
    Path("g.jsonl").write_text("".join(json.dumps({**item, "rubric": "Say it well."}) + "\n" for item in items))
    done = tunesmith("judge", "x=a", "y=b", "--prompts", "g.jsonl", "--judge", "j")
    assert "5 items: 5 won" in done.stdout
    assert models["a"].num_asked == 5
    typed = tunesmith("chat", "--blind", "a", "b", "--votes", "typed.jsonl", stdin="hello\na\n\n")
    assert "hello" in typed.stdout
    assert len(read_votes([Path("typed.jsonl")])) == 1
    third = tunesmith("judge", "z=b", "x=a", "--prompts", "g.jsonl", "--judge", "j", "--votes", "w.jsonl")
    assert "0 won, 5 lost" in third.stdout
    table = tunesmith("votes", "votes.jsonl", "w.jsonl").stdout
    assert table.index("\nx ") < table.index("\ny ")
    assert "Bradley-Terry" in table


def test_a_model_that_cannot_judge_is_told_so(tunesmith: Tunesmith, tiny_model_folder: Path) -> None:
    for _ in range(2):
        done = tunesmith(
            *("judge", "good", "poor", "--judge", f"tiny={tiny_model_folder}"),
            *("--max-items", "2", "--checks", "1", "--judge-tokens", "2"),
        )
        assert "judge tiny: 6 of 6 verdicts could not be read" in " ".join(done.stdout.split())
        assert "There is no win rate." in done.stdout
    votes = read_votes([Path("votes.jsonl")])
    assert len(votes) == 7
    assert {vote.winner for vote in votes} == {"none"}


def test_what_cannot_be_compared_is_refused_with_the_way_out(tunesmith: Tunesmith) -> None:
    assert "name them apart" in tunesmith("chat", "--blind", "good", "good", code=1).stderr
    assert "no samples here" in tunesmith("judge", "good", "nowhere", "--judge", "j", code=2).stderr
    refused = tunesmith("judge", "good", "poor", "--judge", "j", "--prompts", "g.jsonl", code=2)
    assert "these are samples" in refused.stderr
    assert "does not go with --blind" in tunesmith("chat", "--blind", "a", "b", "--once", "Hi", code=2).stderr
    assert "--prompts does not go" in tunesmith("chat", "--prompts", "g.jsonl", code=2).stderr
    assert "no such file" in tunesmith("votes", "nowhere.jsonl", code=1).stderr
