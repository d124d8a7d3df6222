"""Two reports -> the pairs of one task, or the reason why there are none."""

import difflib
import math
from collections.abc import Sequence

import numpy as np

from tunesmith import stats
from tunesmith.errors import EvaluateError
from tunesmith.gate.evidence import MIN_CONTINUOUS_ITEMS, Pairs
from tunesmith.gate.policy import Line
from tunesmith.types import Report, TaskReport

FLIP_RATE = "flip_rate"
"""The key of `Report.noise`: the share of items whose value flips when the same model answers again."""


def pair(line: Line, reports: Sequence[Report], baseline: Report) -> Pairs | str:
    """The values of one task before and after, or why it was not measured.

    Several reports are trainings of one recipe with different seeds: their mean is judged. Raises EvaluateError when
    the task is missing, holds other items, or cannot be compared in this way.
    """
    tuned = [_find(report, line) for report in reports]
    base = _find(baseline, line)
    for each in (*tuned, base):
        if each is None:
            return f"it was not measured, but the default policy needs it: evaluate builtin:{line.task} too"
        if each.skipped:
            return each.skipped
        if each.is_sealed and not each.scores:
            return "its scores are sealed, and the vault beside the report was not read"
    return _paired(line, [each for each in tuned if each], base, [*reports, baseline]) if base else ""


def is_sealed(line: Line, baseline: Report) -> bool:
    """Whether only the outcome of this line may be told."""
    found = baseline.task(line.task)
    return found is not None and found.is_sealed


def _paired(line: Line, tuned: Sequence[TaskReport], base: TaskReport, reports: Sequence[Report]) -> Pairs:
    for each in tuned:
        _check_same_items(each, base)
    ids = tuple(base.scores)
    before = np.array([base.scores[item] for item in ids], dtype=np.float64)
    seeds = np.array([[each.scores[item] for item in ids] for each in tuned], dtype=np.float64)
    is_binary = len(tuned) == 1 and not base.unit and tuned[0].is_binary and base.is_binary
    _check_size(line, is_binary, before.size)
    return Pairs(
        ids=ids,
        before=before,
        after=seeds.mean(axis=0),
        codes=stats.cluster_codes([base.clusters.get(item, item) for item in ids]),
        is_binary=is_binary,
        unit="points" if is_binary else base.unit,
        noise=max(float(report.noise.get(FLIP_RATE, 0.0)) for report in reports) if is_binary else 0.0,
        seeds=seeds - before if len(tuned) > 1 else None,
        items_digest=base.items_digest,
    )


def _find(report: Report, line: Line) -> TaskReport | None:
    task, found = line.task, report.task(line.task)
    names = [present.task for present in report.tasks]
    if found is None:
        if not line.is_named and line.question == "keep":
            return None
        nearest = difflib.get_close_matches(task, names, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"its tasks: {', '.join(names) or 'none'}"
        raise EvaluateError(f"gate.{line.question}.{task}: the report of {report.model!r} has no task {task!r}; {hint}")
    if not found.scores and not found.skipped and not found.is_sealed:
        raise EvaluateError(f"task {task!r} of {report.model!r} has no items; evaluate it again")
    broken = [item for item, score in found.scores.items() if not math.isfinite(score)]
    if broken:
        raise EvaluateError(
            f"task {task!r} of {report.model!r}: the score of {_few(broken)} is not a finite number; mend the scorer"
        )
    return found


def _check_same_items(tuned: TaskReport, base: TaskReport) -> None:
    """The paired tests hold only for the same items; another set of items is another question."""
    missing = [item for item in base.scores if item not in tuned.scores]
    added = [item for item in tuned.scores if item not in base.scores]
    remedy = "Evaluate both models on the same golden file, then run the gate again"
    if missing or added:
        parts = [f"only in the baseline: {_few(missing)}"] * bool(missing)
        parts += [f"only in the report: {_few(added)}"] * bool(added)
        raise EvaluateError(f"task {tuned.task!r}: the reports hold different items ({'; '.join(parts)}). {remedy}")
    if tuned.items_digest != base.items_digest:
        raise EvaluateError(
            f"task {tuned.task!r}: the items have the same ids ({_few(list(base.scores))}) but other content "
            f"(digest {tuned.items_digest[:12]}, in the baseline {base.items_digest[:12]}). {remedy}"
        )


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _check_size(line: Line, is_binary: bool, num_items: int) -> None:
    if is_binary and line.margin is not None and line.margin >= 1:
        raise EvaluateError(
            f"gate.{line.question}.{line.task} = {line.margin:g}: the scores of {line.task!r} are 0 or 1, so this must "
            "be a share below 1; five points are written 0.05"
        )
    if not is_binary and num_items < 2:
        raise EvaluateError(
            f"task {line.task!r} has 1 item; scores other than 0 and 1 need {MIN_CONTINUOUS_ITEMS} items at least"
        )
