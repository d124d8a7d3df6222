"""evaluate: golden items in, one value an item out, for one model.

Base and tuned model are evaluated alike, on the same items; comparing them is the gate's business. Every sample is
kept as soon as it exists, so that a crash loses nothing that was finished.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator, model_validator

from tunesmith.config import Config
from tunesmith.files import fingerprint
from tunesmith.generate import Sampling, Shapes, Window
from tunesmith.types import Better, Report, TaskGroup
from tunesmith.verify import Item, Scorer, items_digest

if TYPE_CHECKING:
    from tunesmith.evaluate.prices import Price
    from tunesmith.evaluate.taxes import Tax
    from tunesmith.generate import Generator
    from tunesmith.generate.certificate import Certifier

LIKELIHOOD = "likelihood"


class TaskConfig(Config):
    """One set of golden items and how answers to them are scored."""

    name: str
    """The task's name in reports and in the gate."""

    path: str
    """Golden items (.jsonl), or any data file that `data` reads, whose last assistant message is the answer;
    `heldout` for the part that data.holdout sets aside; `builtin:general` for the everyday questions;
    `gsm8k:PATH` and the like for your copy of a benchmark."""

    scorer: str | None = None
    """exact, contains, number, equal, tool_call, likelihood, choice, or your own function as `file.py:function`, among
    others; none is the benchmark's own, or exact."""

    split: Literal["dev", "gate", "vault"] | None = None
    """Use only the items of this split: dev is for tuning the recipe, gate for the final figure, and of vault nobody
    sees more than the gate's verdict."""

    max_tokens: int | None = Field(default=None, ge=1)
    """Longest completion; an answer that is cut here is scored as it stands. None is the benchmark's own, or 128."""

    max_items: int | None = Field(default=None, ge=1)
    """Use only the first so many items."""

    samples: int = Field(default=1, ge=1)
    """Answers to each item, whose scores are averaged; more than one needs a temperature."""

    temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """0 takes the most probable token at each step; higher draws, and varies the samples."""

    pass_at: int | None = Field(default=None, ge=1)
    """Score an item by the chance that at least one of so many samples is right (pass@k); none is the mean."""

    window_tokens: int = Field(default=1024, ge=2)
    """Long texts are priced in windows of so many tokens (bits_per_byte)."""

    stride_tokens: int = Field(default=512, ge=1)
    """How far each window lies behind the one before it; the tokens that they share are priced once."""

    @model_validator(mode="after")
    def _agree(self) -> "TaskConfig":
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(f"samples = {self.samples} without a temperature would be copies; set temperature = 0.7")
        if self.pass_at is not None and self.pass_at > self.samples:
            raise ValueError(f"pass_at = {self.pass_at} needs that many samples; samples is {self.samples}")
        if self.stride_tokens >= self.window_tokens:
            raise ValueError("stride_tokens must be less than window_tokens, so that each token has a context")
        return self


class EvaluateConfig(Config):
    """What the base and the tuned model are asked."""

    tasks: tuple[TaskConfig, ...] = ()
    """The tasks, in the order of the report."""

    panel: Literal["on", "off"] = "on"
    """Beside the tasks, ask the panel of the alignment tax: 762 answers, 50,000 tokens at most; see docs/taxes.md."""

    general_text: str = "builtin:prose"
    """With the panel, text that shows what was forgotten, by its loss and the divergence from the base: the 70 passages
    of `builtin:prose`, or a file of yours, as `text:PATH` reads it."""

    canaries: tuple[str, ...] = ()
    """With the panel, strings of the training data that must not come back, each of two words or more: the first half
    is given as plain text, and the rest must not follow."""

    batch_prompts: int = Field(default=64, ge=1)
    """Prompts answered at once."""

    shapes: Shapes = "fixed"
    """Shapes of a local model's passes: with fixed ones the tokens of an answer do not depend on the other prompts;
    free ones are a little faster."""

    certificate_items: int = Field(default=8, ge=0)
    """Items that a local model is asked again for the report's A/A certificate: in a fresh process, in two batch sizes
    and two orders, past the ledger. 0 goes without."""

    ledger: str = "cache"
    """Where answers are recorded, so that a model is asked the same once: `cache` for the file ledger.sqlite in the
    cache folder, a path of your own, or `off`."""

    remote_requests: int = Field(default=8, ge=1)
    """Requests to a remote model (openai:NAME@URL) at once."""

    @field_validator("canaries")
    @classmethod
    def _have_two_words(cls, canaries: tuple[str, ...]) -> tuple[str, ...]:
        for canary in canaries:
            if len(canary.split()) < 2:
                raise ValueError(f"the canary {canary!r} needs two words or more, so that its first half can be given")
        return canaries


@dataclass(frozen=True, slots=True)
class Task:
    """A task made ready: its items read, its scorer loaded.

    `judge` scores a completion, or prices given continuations. `golden` is the file of the items, beside which looks
    into the vault are counted.
    """

    name: str
    items: tuple[Item, ...]
    judge: "Scorer | Price"
    judge_fingerprint: str
    sampling: Sampling = field(default_factory=Sampling)
    num_samples: int = 1
    pass_at: int | None = None
    window: Window | None = None
    better: Better = "higher"
    unit: str = ""
    about: str = ""
    group: TaskGroup = "task"
    is_sealed: bool = False
    golden: Path | None = None
    unmeasured: str = ""
    """The reason why nothing can be asked, where that is known before."""

    taxes: tuple["Tax", ...] = ()
    """What is measured on the samples in place of their scores: a report for each, none of the task itself."""

    @property
    def report_names(self) -> tuple[str, ...]:
        return tuple(tax.name for tax in self.taxes) or (self.name,)

    @property
    def fingerprint(self) -> str:
        asked = [self.sampling, self.num_samples, self.pass_at, self.window, self.is_sealed]
        return fingerprint([self.name, items_digest(self.items), self.judge_fingerprint, asked])


def evaluate(
    tasks: Sequence[Task],
    generator: "Generator",
    folder: Path,
    label: str = "evaluate",
    certifier: "Certifier | None" = None,
) -> Report:
    """Ask every item of every task, score the answers, and write `report.json` and `samples.jsonl` into `folder`.

    Samples that `folder` already holds, from a run that died, are not asked again. `label` names the model on the
    progress bar and in the report. `certifier` asks some items again; the report keeps what it found as noise.
    """
    from tunesmith.evaluate.run import run_tasks

    return run_tasks(tasks, generator, folder, label, certifier)
