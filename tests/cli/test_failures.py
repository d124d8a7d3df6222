"""Errors become messages and exit codes, never tracebacks."""

import errno

import pytest

from tunesmith.cli.failures import Failure, explain
from tunesmith.errors import ConfigError, DataError, Interrupted, MissingExtra


@pytest.mark.parametrize(
    ("error", "exit_code", "words"),
    [
        (ConfigError("recipe: no"), 2, "recipe: no"),
        (DataError("a.jsonl:3: no"), 1, "a.jsonl:3: no"),
        (MissingExtra("torch", "train", "training"), 1, "pip install 'tunesmith[train]'"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 1, "pip install 'tunesmith[train]'"),
        (ImportError("halted", name="transformers.models"), 1, "pip install 'tunesmith[train]'"),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), 1, "the disk is full while writing runs/x"),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), 1, "/root/x: permission denied"),
        (Interrupted("stopped at step 3 of 9; run it again to go on"), 130, "Stopped at step 3 of 9"),
        (KeyboardInterrupt(), 130, "The work so far is kept"),
    ],
)
def test_what_a_person_reads(error: BaseException, exit_code: int, words: str) -> None:
    failure = explain(error, "run")
    assert failure is not None
    assert failure.exit_code == exit_code
    assert words in failure.message


def test_a_closed_pipe_is_silent() -> None:
    assert explain(BrokenPipeError(errno.EPIPE, "Broken pipe"), "show") == Failure("", 1)


def test_an_interrupted_train_goes_on_with_resume() -> None:
    failure = explain(Interrupted("stopped; run the same command again"), "train")
    assert failure is not None
    assert "with --resume" in failure.message


@pytest.mark.parametrize("error", [KeyError("x"), ZeroDivisionError(), ImportError("no", name="tunesmith.nothing")])
def test_a_defect_keeps_its_traceback(error: BaseException) -> None:
    assert explain(error, "run") is None
