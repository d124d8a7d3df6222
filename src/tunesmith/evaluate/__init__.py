"""evaluate: golden items in, one score an item out, for one model.

Base and tuned model are evaluated alike, on the same items; comparing them is the gate's business. Every sample is
kept as soon as it exists, so that a crash loses nothing that was finished.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tunesmith.config import Config
from tunesmith.files import fingerprint
from tunesmith.types import Report
from tunesmith.verify import Item, Scorer, items_digest

if TYPE_CHECKING:
    from tunesmith.generate import Generator

LIKELIHOOD = "likelihood"


class TaskConfig(Config):
    """One set of golden items and how answers to them are scored."""

    name: str
    """The task's name in reports and in the gate."""

    path: str
    """Golden items (.jsonl), or any data file that `data` reads, whose last assistant message is the answer;
    `heldout` for the part that data.holdout sets aside; `builtin:general` for the everyday questions."""

    scorer: str = "exact"
    """exact, contains, number, tool_call, likelihood, or your own function as `file.py:function`."""

    split: Literal["dev", "gate"] | None = None
    """Use only the items of this split; dev is for tuning the recipe, gate for the final figure."""

    max_tokens: int = Field(default=128, ge=1)
    """Longest completion; an answer that is cut here is scored as it stands."""

    max_items: int | None = Field(default=None, ge=1)
    """Use only the first so many items."""


class EvaluateConfig(Config):
    """What the base and the tuned model are asked."""

    tasks: tuple[TaskConfig, ...] = ()
    """The tasks, in the order of the report."""

    batch_prompts: int = Field(default=64, ge=1)
    """Prompts answered at once."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task made ready: its items read, its scorer loaded."""

    name: str
    items: tuple[Item, ...]
    scorer: Scorer | None
    """None for the likelihood of the expected answer, which needs no completion."""

    scorer_fingerprint: str
    max_tokens: int

    @property
    def fingerprint(self) -> str:
        return fingerprint([self.name, items_digest(list(self.items)), self.scorer_fingerprint, self.max_tokens])


def evaluate(
    config: EvaluateConfig,
    tasks: Sequence[Task],
    generator: "Generator",
    folder: Path,
    label: str = "evaluate",
) -> Report:
    """Ask every item of every task, score the answers, and write `report.json` and `samples.jsonl` into `folder`.

    Samples that `folder` already holds, from a run that died, are not asked again. `label` names the model on the
    progress bar and in the report.
    """
    from tunesmith.evaluate.run import run_tasks

    return run_tasks(config, tasks, generator, folder, label)
