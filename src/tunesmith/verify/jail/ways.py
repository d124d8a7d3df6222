"""The two ways to make a jail, behind one function."""

import secrets
import signal
from dataclasses import dataclass
from typing import Literal

from tunesmith.errors import EvaluateError
from tunesmith.verify.jail.bubblewrap import run_in_bubblewrap
from tunesmith.verify.jail.container import run_in_container
from tunesmith.verify.jail.limits import Limits, Outcome
from tunesmith.verify.jail.process import Ended

SIGNAL_BASE = 128
SHOWN_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Jail:
    """A way that proved to hold on this machine. `about` says what bounds memory."""

    kind: Literal["bubblewrap", "container"]
    path: str
    about: str


def run_in(jail: Jail, program: str | bytes, limits: Limits) -> Outcome:
    """Run a program in a given jail. Raises EvaluateError where the jail itself does not come up."""
    source = program.encode("utf-8", "surrogatepass") if isinstance(program, str) else program
    mark = f"<{secrets.token_hex(16)}>"
    if jail.kind == "bubblewrap":
        ended, is_out_of_memory = run_in_bubblewrap(source, limits, mark)
    else:
        ended, is_out_of_memory = run_in_container(jail.path, source, limits, mark)
    if mark.encode() not in ended.stderr:
        said = ended.stderr.decode("utf-8", "replace").strip()[-SHOWN_LENGTH:] or f"exit code {ended.exit_code}"
        raise EvaluateError(f"the {jail.kind} jail did not come up, so the program was not run: {said}")
    return _outcome(ended, is_out_of_memory, mark)


def _outcome(ended: Ended, is_out_of_memory: bool, mark: str) -> Outcome:
    """How the engine ended, in words."""
    killed_by = "memory" if is_out_of_memory else ended.cut or _signal(ended.exit_code)
    return Outcome(
        stdout=ended.stdout.decode("utf-8", "replace"),
        stderr=ended.stderr.decode("utf-8", "replace").replace(mark, "", 1),
        exit_code=ended.exit_code if killed_by is None else None,
        killed_by=killed_by,
        seconds=ended.seconds,
    )


def _signal(exit_code: int) -> str | None:
    """Both engines give 128 + N where signal N ended the program."""
    number = exit_code - SIGNAL_BASE if exit_code > SIGNAL_BASE else -exit_code
    if number == signal.SIGXCPU:
        return "cpu"
    return f"signal {number}" if 0 < number < signal.NSIG else None
