"""HumanEval: items from the user's data, right and wrong solutions."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.verify import apply_scorer
from tunesmith.verify.benchmarks import BENCHMARKS, humaneval
from tunesmith.verify.jail import Jail
from tunesmith.verify.python_tests import python_tests, run_tests

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "humaneval" / "HumanEval.jsonl.gz"
RECORD = {
    "task_id": "Mine/0",
    "prompt": 'def twice(x: int) -> int:\n    """ Two times x.\n    >>> twice(2)\n    4\n    """\n',
    "canonical_solution": "    return 2 * x\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(-1) == -2\n",
    "entry_point": "twice",
}
needs_data = pytest.mark.skipif(not DATA.is_file(), reason="no HumanEval data beside the project")


def problems() -> list[dict[str, Any]]:
    with gzip.open(DATA, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "mine.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(RECORD).encode()))
    return path


def test_an_item_asks_for_the_function_and_does_not_hold_its_solution(data: Path) -> None:
    (item,) = humaneval.read(data)
    assert item.id == "Mine/0" and "def twice" in item.messages[0].content
    assert item.checker["entry_point"] == "twice"
    assert "return 2 * x" not in json.dumps(item.record)
    (plain,) = humaneval.read_plain(data)
    assert plain.text == RECORD["prompt"] and not plain.messages


def test_both_forms_are_listed() -> None:
    assert BENCHMARKS["humaneval"].read is humaneval.read
    assert BENCHMARKS["humaneval_text"].read is humaneval.read_plain
    assert BENCHMARKS["humaneval"].scorer == BENCHMARKS["humaneval_text"].scorer == "python_tests"


def test_answers_and_continuations_are_judged(data: Path, jail: Jail) -> None:
    (item,), (plain,) = humaneval.read(data), humaneval.read_plain(data)
    whole = RECORD["prompt"] + RECORD["canonical_solution"]
    assert apply_scorer(python_tests, item, f"```python\n{whole}```").value == 1.0
    assert apply_scorer(python_tests, item, "```python\nreturn x + x\n```").value == 1.0
    wrong = apply_scorer(python_tests, item, "```python\ndef twice(x):\n    return 4\n```")
    assert wrong.value == 0.0 and wrong.rule == "wrong" and "candidate(-1) == -2" in wrong.explanation
    assert apply_scorer(python_tests, plain, RECORD["canonical_solution"] + "\nprint(twice(3))").value == 1.0
    assert apply_scorer(python_tests, plain, "    pass\n").value == 0.0


@needs_data
@pytest.mark.parametrize("at", [32, 38, 50])
def test_tests_that_call_helpers_of_the_prompt_pass(at: int, jail: Jail) -> None:
    """In these three the tests use functions that stand before the one that is asked for."""
    problem, item = problems()[at], humaneval.read(DATA)[at]
    name = problem["entry_point"]
    function = problem["prompt"][problem["prompt"].rindex(f"def {name}") :] + problem["canonical_solution"]
    assert python_tests(dict(item.record), f"```python\n{function}```")[0] == 1.0


@needs_data
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_164_solutions_pass_and_none_that_is_empty(jail: Jail) -> None:
    """The solutions as a chat model and as a base model would give them; a body that does nothing never passes."""
    chat, plain = humaneval.read(DATA), humaneval.read_plain(DATA)
    for at, problem in enumerate(problems()):
        solution = problem["canonical_solution"]
        form = (chat[at], f"```python\n{problem['prompt']}{solution}```") if at % 2 else (plain[at], solution)
        assert python_tests(dict(form[0].record), form[1]) == (1.0, "all tests pass.", "passed"), problem["task_id"]
        names = (problem["entry_point"],)
        assert run_tests(problem["prompt"] + "    pass\n", problem["test"], names, problem["prompt"])[0] == 0.0
    assert len(chat) == 164
