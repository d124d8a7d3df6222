"""`tunesmith lint`: what it prints, and the exit codes that a script sees."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tunesmith.cli import app

Lint = Callable[..., Result]


def pair(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


CLEAN = [pair("What is one?", "A number."), pair("And noon?", "A time of day.")]
SPACED = pair("Where?", " here")
SILENT = pair("Who?", "")


@pytest.fixture
def lint(in_tmp: Path, tiny_tokenizer_folder: Path) -> Lint:
    """Write records, lint them, and fail unless the exit code is as expected."""

    def run(records: list[Any], *arguments: str, code: int = 0, model: str = str(tiny_tokenizer_folder)) -> Result:
        lines = (each if isinstance(each, str) else json.dumps(each) for each in records)
        Path("data.jsonl").write_text("".join(f"{line}\n" for line in lines))
        result = CliRunner().invoke(app, ["lint", "data.jsonl", "--model", model, *arguments])
        assert result.exit_code == code, (arguments, result.output, result.exception)
        return result

    return run


def test_clean_data_pass(lint: Lint) -> None:
    output = lint(CLEAN, "--strict").output
    assert "ok       records " in output
    assert "18 checks: 17 ok, 1 note" in output  # the tiny tokenizer pads with its stop token


def test_warnings_fail_only_when_strict(lint: Lint) -> None:
    output = lint([*CLEAN, SPACED]).output
    assert "warning  spaces " in output
    assert "data.jsonl:3 (data:3): message 2: ' here'" in output
    assert "-> Strip all answers" in output
    lint([*CLEAN, SPACED], "--strict", code=1)


def test_errors_fail_and_the_rest_is_still_looked_at(lint: Lint) -> None:
    output = lint([*CLEAN, SILENT, "no json", SPACED], code=1).output
    for line in ("error    empty_answers", "error    records", "warning  spaces"):
        assert line in output
    skipping = lint([*CLEAN, SILENT, "no json"], "--set", "data.on_error=skip").output
    assert "warning  empty_answers" in skipping


def test_too_long_conversations_name_the_length_that_fits(lint: Lint) -> None:
    records = [*CLEAN, pair("x " * 100, "y")]
    output = lint(records, "--set", "render.max_tokens=50", code=1).output
    assert "1 would stop the run" in output
    fits = output.partition("--set render.max_tokens=")[2].split()[0]
    lint(records, "--set", f"render.max_tokens={fits}")
    lint(records, "--set", f"render.max_tokens={int(fits) - 1}", code=1)


def test_json_is_one_object_with_stable_keys(lint: Lint) -> None:
    found = json.loads(lint([*CLEAN, SPACED, SILENT], "--json", code=1).output)
    assert set(found) == {"data", "model", "level", "num_conversations", "checks"}
    assert (found["level"], found["num_conversations"]) == ("error", 3)
    checks = {check["name"]: check for check in found["checks"]}
    assert checks["spaces"]["count"] == 1
    assert checks["spaces"]["examples"] == [
        {"source": "data.jsonl:3", "id": "data:3", "detail": "message 2: ' here'"},
    ]
    assert checks["length"]["details"]["max_tokens"] == 2048


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set", "render.max_token=5"), "did you mean 'max_tokens'?"),
        (("--set", "train.epochs=5"), "reads only data.*, render.*, model.*"),
    ],
)
def test_what_cannot_run_has_a_code_of_its_own(lint: Lint, arguments: tuple[str, ...], words: str) -> None:
    assert words in lint(CLEAN, *arguments, code=2).stderr


def test_missing_data_and_models_cannot_run(lint: Lint, tiny_tokenizer_folder: Path) -> None:
    lint(CLEAN, model="./nowhere", code=2)
    result = CliRunner().invoke(app, ["lint", "missing.jsonl", "--model", str(tiny_tokenizer_folder)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "missing.jsonl" in result.stderr


def test_a_hostile_text_does_not_reach_the_terminal(lint: Lint) -> None:
    assert "\x1b" not in lint([*CLEAN, pair("x", " \x1b[2Jy")]).output
