"""The vault: items of which nobody sees more than the gate's verdict, and a count of how often that was asked.

Whoever tunes against a golden set long enough fits it. So the values of sealed items lie apart, without prompts and
answers, where only the gate reads them; and each model that is measured on them is counted, for each verdict tells a
little (Dwork et al. 2015, The reusable holdout).
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunesmith.errors import EvaluateError
from tunesmith.evaluate import Task
from tunesmith.files import read_json, read_jsonl
from tunesmith.types import Report, Sample, TaskReport
from tunesmith.verify import items_digest

VAULT = "vault"
LOOKS = ".looks.jsonl"


def redacted(sample: Sample) -> Sample:
    """The sample without a word of what was asked and answered."""
    return replace(sample, prompt="", expected="", completion="", explanation="", rule="", gap=None)


def sealed(report: TaskReport, looks: int) -> TaskReport:
    """What may be shown of a sealed task: its name, its size, and how many models have been measured on it."""
    facts = {"items": float(len(report.scores)), "looks": float(looks)}
    return replace(report, scores={}, clusters={}, facts=facts)


def closed(report: Report) -> Report:
    """The report without the values of its sealed tasks, for people to see."""
    hidden = (replace(task, scores={}, clusters={}) if task.is_sealed else task for task in report.tasks)
    return replace(report, tasks=tuple(hidden))


def opened(folder: Path, report: Report) -> Report:
    """The report of an evaluate folder with the values of its sealed tasks: for the gate alone."""
    if not any(task.is_sealed and not task.skipped for task in report.tasks):
        return report
    path = folder / VAULT / "report.json"
    if not path.exists():
        raise EvaluateError(f"{folder}: the values of the sealed tasks are not in {path}; evaluate again")
    found = {task["task"]: TaskReport(**task) for task in read_json(path)["tasks"]}
    return replace(report, tasks=tuple(found.get(task.task, task) if task.is_sealed else task for task in report.tasks))


def count_look(task: Task, model_digest: str, folder: Path) -> int:
    """Note that a model was measured on sealed items; how many different models have been, with this one.

    The note lies beside the golden file, or, where nothing can be written there, in the vault of this run.
    """
    entry = {"model": model_digest, "items": items_digest(task.items)}
    beside = (
        folder / VAULT / f"{task.name}{LOOKS}"
        if task.golden is None
        else task.golden.with_name(task.golden.name + LOOKS)
    )
    try:
        return _noted(beside, entry)
    except OSError:
        return _noted(folder / VAULT / f"{task.name}{LOOKS}", entry)


def _noted(path: Path, entry: Mapping[str, Any]) -> int:
    seen = {line["model"] for _, line in read_jsonl(path)} if path.exists() else set()
    if entry["model"] not in seen:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**entry, "time": datetime.now(UTC).isoformat(timespec="seconds")}) + "\n")
    return len(seen | {entry["model"]})
