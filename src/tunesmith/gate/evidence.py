"""The paired comparison of one task: same items, two models, one difference with its interval."""

import difflib
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tunesmith import stats
from tunesmith.errors import EvaluateError
from tunesmith.types import Report, TaskReport

MIN_CONTINUOUS_ITEMS = 20  # below, the spread of a continuous score is itself unknown: never decide
Question = Literal["improve", "keep"]
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The paired comparison of one task under one question, before it is judged.

    `margin` is the smallest gain or the largest loss, `p_value` that of "got better" or "got worse",
    `variance` that of one item's difference, and `span` how far an item may change unseen (0.0 where many
    items changed, so that their spread is known).
    """

    task: str
    question: Question
    margin: float
    is_binary: bool
    base: float
    tuned: float
    num_items: int
    difference: float
    low: float
    high: float
    p_value: float
    lost: int
    gained: int
    variance: float
    span: float

    @property
    def is_large_enough(self) -> bool:
        return self.is_binary or self.num_items >= MIN_CONTINUOUS_ITEMS


def compare(
    question: Question, task: str, margin: float, confidence: float, report: Report, baseline: Report
) -> Evidence:
    """Compare one task of two reports, item by item; `confidence` is one-sided.

    Raises EvaluateError when the task is missing, holds other items, or cannot be compared in this way.
    """
    tuned, base = _find(report, task, question), _find(baseline, task, question)
    _check_same_items(tuned, base)
    before = np.array([base.scores[item] for item in base.scores], dtype=np.float64)
    after = np.array([tuned.scores[item] for item in base.scores], dtype=np.float64)
    is_binary = tuned.is_binary and base.is_binary
    _check_size(question, task, margin, is_binary, before.size)
    measure = _measure_binary if is_binary else _measure_continuous
    return Evidence(
        task=task,
        question=question,
        margin=margin,
        is_binary=is_binary,
        base=float(before.mean()),
        tuned=float(after.mean()),
        num_items=before.size,
        **measure(before, after, question, confidence),
    )


def _find(report: Report, task: str, question: Question) -> TaskReport:
    found = report.task(task)
    names = [present.task for present in report.tasks]
    if found is None:
        nearest = difflib.get_close_matches(task, names, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"its tasks: {', '.join(names) or 'none'}"
        raise EvaluateError(f"gate.{question}.{task}: the report of {report.model!r} has no task {task!r}; {hint}")
    if not found.scores:
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


def _check_size(question: Question, task: str, margin: float, is_binary: bool, num_items: int) -> None:
    if is_binary and margin >= 1:
        raise EvaluateError(
            f"gate.{question}.{task} = {margin:g}: the scores of {task!r} are 0 or 1, so this must be a "
            "share below 1; five points are written 0.05"
        )
    if not is_binary and num_items < 2:
        raise EvaluateError(
            f"task {task!r} has 1 item; scores other than 0 and 1 need {MIN_CONTINUOUS_ITEMS} items at least"
        )


def _measure_binary(before: Scores, after: Scores, question: Question, confidence: float) -> dict[str, Any]:
    n, lost, gained = before.size, int((before > after).sum()), int((after > before).sum())
    test = stats.mcnemar_mid_p_gain if question == "improve" else stats.mcnemar_mid_p
    low, high = stats.paired_interval(lost, gained, n, _both_sides(confidence))
    difference = (gained - lost) / n
    return {
        "difference": difference,
        "low": low,
        "high": high,
        "p_value": test(lost, gained),
        "lost": lost,
        "gained": gained,
        "variance": (lost + gained) / n - difference**2,
        "span": 1.0,
    }


def _measure_continuous(before: Scores, after: Scores, question: Question, confidence: float) -> dict[str, Any]:
    differences, both = after - before, np.concatenate([before, after])
    span = float(both.max() - both.min())
    low, high = stats.paired_mean_interval(differences, _both_sides(confidence), span=span)
    return {
        "difference": float(differences.mean()),
        "low": low,
        "high": high,
        "p_value": stats.paired_t_p(-differences if question == "improve" else differences),
        "lost": 0,
        "gained": 0,
        "variance": float(differences.var(ddof=1)),
        "span": span if np.count_nonzero(differences) < stats.FEW_CHANGES else 0.0,
    }


def _both_sides(confidence: float) -> float:
    """The two-sided level whose either side is at the one-sided level of the decision."""
    return 2 * confidence - 1
