"""Models by whatever names them -> reports: read where they exist, asked where they do not."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tunesmith.cli.options import do_stage
from tunesmith.types import Report, Sample

if TYPE_CHECKING:
    from tunesmith.cli.speakers import RemoteSpeaker, Speaker
    from tunesmith.evaluate import Task
    from tunesmith.recipe import Recipe


RUN = Path("evaluate", "tuned")
"""Where a run keeps the report of what it made."""


class Measured(NamedTuple):
    """A report as the gate reads it, the folder where it and its samples lie, or the answers themselves."""

    report: Report
    folder: Path
    answers: tuple[Sample, ...] | None = None

    @property
    def shown(self) -> Report:
        """The report as people may see it: without the values of sealed tasks."""
        from tunesmith.evaluate.vault import closed

        return closed(self.report)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The answers; none where they were not kept beside the report."""
        from tunesmith.evaluate.run import read_samples

        return read_samples(self.folder) if self.answers is None else self.answers


@dataclass(frozen=True)
class Measuring:
    """How candidates are measured: the tasks of `recipe`, read from `policy`; answers are kept in `work`."""

    recipe: "Recipe"
    policy: Path | None
    work: Path
    pool: Path
    base: str | None = None

    @cached_property
    def tasks(self) -> tuple["Task", ...]:
        from tunesmith.tasks import prepare_tasks

        # The recipe of a finished run stands beside the part that the run held out.
        folder = self.policy.parent if self.policy else Path()
        training = folder / "data" / "conversations.jsonl"
        known = training if self.policy and training.is_file() else None
        return prepare_tasks(self.recipe, training.with_name("heldout.jsonl"), known)

    def measure(self, name: str) -> Measured:
        """The report that `name` is or leads to, that of another tool's log, or that of the model that it names."""
        from tunesmith.cli.speakers import RemoteSpeaker, candidate
        from tunesmith.evaluate.logs import is_log, read_log
        from tunesmith.evaluate.run import REPORT
        from tunesmith.generate.endpoint import endpoint_from, is_remote

        path = Path(name)
        if (path / RUN / REPORT).is_file():
            path = path / RUN
        if not (path / REPORT).is_file() and is_log(path):
            log = read_log(path)
            return Measured(log.report, path if path.is_dir() else path.parent, log.samples)
        if path.suffix == ".json" or (path / REPORT).is_file():
            return read_report(path)
        if is_remote(name):
            return self.ask(RemoteSpeaker(endpoint_from(name)))
        return self.ask(candidate(name, self.pool, self.base))

    def ask(self, speaker: "Speaker | RemoteSpeaker") -> Measured:
        """The report of a model on the tasks; what was asked before, of the same weights, is read again."""
        from tunesmith.evaluate import evaluate
        from tunesmith.files import fingerprint

        marks = [task.fingerprint for task in self.tasks]
        config = self.recipe.evaluate
        inputs = [config.batch_prompts, marks, *speaker.marks]

        def work(folder: Path) -> dict[str, Any]:
            report = evaluate(self.tasks, speaker.asked_once(config), folder, speaker.label, speaker.certifier(config))
            return {"means": {each.task: each.mean for each in report.tasks if each.scores}}

        folder = self.work / f"{Path(speaker.label).name}-{fingerprint(inputs)[:12]}"
        do_stage(folder, "evaluate", inputs, work)
        return read_report(folder)


def matched(base: Measured, tuned: Measured) -> tuple[Measured, list[Measured]]:
    """Both with the taxes that exist in a comparison of two models only."""
    from tunesmith.tasks import compared

    before, after = compared(base.report, base.folder, tuned.report, tuned.folder)
    return base._replace(report=before), [tuned._replace(report=after)]


def read_policy(path: Path | None, tables: Mapping[str, Any]) -> "Recipe":
    """The tasks and the policy of `--policy RECIPE`, with `--set` on top."""
    from tunesmith.recipe import load_policy

    return load_policy(path, tables)


def read_report(path: Path) -> Measured:
    """The report of a file or an evaluate folder, with the values of its sealed tasks: for the gate alone."""
    from tunesmith.errors import EvaluateError
    from tunesmith.evaluate.run import REPORT
    from tunesmith.evaluate.vault import opened
    from tunesmith.files import read_json

    path = path / REPORT if path.is_dir() else path
    try:
        return Measured(opened(path.parent, Report.from_dict(read_json(path))), path.parent)
    except (KeyError, TypeError, AttributeError):
        raise EvaluateError(f"{path}: not a report; give the report.json that `tunesmith evaluate` wrote") from None
