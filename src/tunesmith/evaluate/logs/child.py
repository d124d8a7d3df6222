"""lm-evaluation-harness as a child process in an environment of its own, and what it wrote as a report.

Its packages and ours need not agree, and need not be installed together: the child is the python that the caller
names, told to run the module `lm_eval`.
"""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.errors import EvaluateError
from tunesmith.evaluate.logs import Log
from tunesmith.evaluate.logs.harness import read_harness

OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
"""What would lead the child to our packages."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What the child is asked. `model` and `adapter` are folders; `include` holds task files of the harness's form."""

    tasks: tuple[str, ...]
    model: Path
    adapter: Path | None = None
    dtype: str = "auto"
    include: Path | None = None
    batch_size: int = 1
    max_items: int | None = None
    chat_template: bool = False

    def arguments(self, out: Path) -> list[str]:
        """The child's command line, after its python."""
        given = [f"pretrained={self.model.resolve()}", f"dtype={self.dtype}"]
        given += [f"peft={self.adapter.resolve()}"] if self.adapter else []
        if any("," in each for each in given):
            raise EvaluateError(f"{self.model}: the harness reads no path with a comma in it; move the model")
        told = ["-m", "lm_eval", "--model", "hf", "--model_args", ",".join(given)]
        told += ["--tasks", ",".join(self.tasks), "--batch_size", str(self.batch_size)]
        told += ["--output_path", str(out.resolve()), "--log_samples"]
        told += ["--include_path", str(self.include.resolve())] if self.include else []
        told += ["--limit", str(self.max_items)] if self.max_items else []
        return told + ["--apply_chat_template"] * self.chat_template


def run_harness(python: Path, errand: Errand, out: Path) -> Log:
    """Run the child, and read what it left in `out`; what it says goes to our standard error.

    Raises EvaluateError where it cannot start, fails, or writes no samples.
    """
    # Not resolved: an environment's python is a link, and its place says which packages it has.
    command = [os.path.abspath(python), *errand.arguments(out)]
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
    try:
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=2, check=False)
    except OSError as error:
        raise EvaluateError(
            f"{python}: cannot be started ({error.strerror}); give the python of an environment in which "
            "`pip install lm_eval[hf]` was done, such as harness/bin/python"
        ) from None
    if done.returncode:
        raise EvaluateError(f"lm-evaluation-harness ended with {done.returncode}: {_shown(command)}")
    return read_harness(out)


def _shown(command: Sequence[str]) -> str:
    return " ".join(f'"{each}"' if " " in each else each for each in command)
