"""What a person reads when a command cannot go on, and the exit code that a script sees.

1 an error, 2 a recipe, option or field that cannot work, 130 stopped with Ctrl-C.
"""

import errno
import os
import sys
from dataclasses import dataclass

from tunesmith.errors import ConfigError, Interrupted, MaskError, TunesmithError

HEAVY = ("torch", "transformers", "peft", "safetensors", "pyarrow", "croniter")
RESUMABLE = ("run", "tune", "quickstart", "train", "evaluate")
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Failure:
    """A message (empty for none), whether it is an error or merely a stop, and the exit code."""

    message: str
    exit_code: int
    is_error: bool = True
    readings: tuple[str, str] | None = None
    """Two readings of a chat template that should agree, to be shown with their difference."""


def explain(error: BaseException, command: str) -> Failure | None:
    """The failure to show for `error`; None when it is a defect of ours, whose traceback is worth seeing."""
    if isinstance(error, Interrupted):
        resume = ", with --resume" if command == "train" else ""
        message = str(error).rstrip(".")
        return Failure(f"{message[:1].upper()}{message[1:]}{resume}.", 130, is_error=False)
    if isinstance(error, TunesmithError):
        readings = error.readings if isinstance(error, MaskError) else None
        return Failure(str(error), 2 if isinstance(error, ConfigError) else 1, readings=readings)
    if isinstance(error, KeyboardInterrupt):
        kept = "The work so far is kept; run the same command again to go on." if command in RESUMABLE else ""
        return Failure(f"Stopped. {kept}".strip(), 130, is_error=False)
    if isinstance(error, ImportError):
        return _missing_package(error)
    return _system_error(error, command) if isinstance(error, OSError) else None


def _missing_package(error: ImportError) -> Failure | None:
    package = (error.name or "").split(".")[0]
    if package not in HEAVY:
        return None
    return Failure(
        f"this needs the package {package!r}, which is not installed. Install it with: pip install 'tunesmith[train]'",
        1,
    )


def _system_error(error: OSError, command: str) -> Failure | None:
    if isinstance(error, BrokenPipeError):
        return Failure("", 1)
    if error.errno in FULL:
        again = " and run the same command again: it goes on from there" if command in RESUMABLE else ""
        place = f" while writing {error.filename}" if error.filename else ""
        return Failure(f"the disk is full{place}. What was finished is kept; make room{again}.", 1)
    if error.filename and error.strerror:
        return Failure(f"{error.filename}: {error.strerror.lower()}", 1)
    return None


def say_failure(failure: Failure) -> None:
    """Print a failure to the standard error; a closed pipe is silenced for good instead."""
    if not failure.message:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, sys.stdout.fileno())
        return
    from rich.text import Text

    from tunesmith.cli.console import error_console

    console = error_console()
    word = Text("error: ", style="bold red") if failure.is_error else Text("")
    console.print(Text.assemble(word, failure.message), soft_wrap=True)
    if failure.readings is not None:
        from tunesmith.cli.readings import difference

        console.print(difference(*failure.readings), soft_wrap=True)
