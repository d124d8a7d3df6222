"""The lines of a comparison: one for each question of a verdict, or for each task of two reports."""

import math
from dataclasses import dataclass

from tunesmith.errors import EvaluateError
from tunesmith.gate.evidence import Evidence, weigh
from tunesmith.gate.pairing import pair
from tunesmith.gate.policy import KNOWN, Line
from tunesmith.types import Finding, Harm, Outcome, Question, Report, TaskGroup, TaskReport, Verdict

COMPARED_CONFIDENCE = 0.975
"""One-sided; so the intervals of a plain comparison are 95 %, like those of the means."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line: tuned against base on the same items, in the unit of the task ("points": right or wrong).

    `question`, `outcome` and `margin` are None where nothing was judged. Where nothing can be told of a task the
    figures are None, and `told` says why.
    """

    task: str
    told: str = ""
    question: Question | None = None
    outcome: Outcome | None = None
    group: TaskGroup = "task"
    harm: Harm = "down"
    unit: str = ""
    margin: float | None = None
    num_items: int = 0
    base: float | None = None
    tuned: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    resolvable: float | None = None
    lost: int = 0
    gained: int = 0

    @property
    def is_gated(self) -> bool:
        """Whether it decides the verdict: gains and losses that the policy names, and alarms that were raised."""
        return self.question in ("improve", "keep") or self.outcome == "FAIL"

    @property
    def word(self) -> str:
        """`better`, `worse` or `changed` where the interval leaves zero out, else nothing."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return ""
        if self.harm == "both":
            return "changed"
        return "better" if (self.low > 0) == (self.harm == "down") else "worse"


def judged(verdict: Verdict, tuned: Report) -> tuple[Row, ...]:
    """The lines of a verdict, in its order."""
    return tuple(_judged(finding, tuned.task(finding.task)) for finding in verdict.findings)


def _judged(finding: Finding, task: TaskReport | None) -> Row:
    return Row(
        task=finding.task,
        told=finding.explanation,
        question=finding.question,
        outcome=finding.outcome,
        group=task.group if task else "task",
        harm=finding.harm,
        unit=finding.unit,
        margin=finding.margin,
        num_items=finding.num_items,
        base=finding.base,
        tuned=finding.tuned,
        difference=finding.difference,
        low=finding.low,
        high=finding.high,
        resolvable=finding.resolvable,
        lost=finding.lost,
        gained=finding.gained,
    )


def unjudged(base: Report, tuned: Report, confidence: float = COMPARED_CONFIDENCE) -> tuple[Row, ...]:
    """A line for each task that either report has, without a judgment; what cannot be compared says why."""
    rows = [_compared(task, base, tuned, confidence) for task in tuned.tasks]
    names = {task.task for task in tuned.tasks}
    absent = f"{tuned.model} was not measured on it"
    return (*rows, *(Row(task.task, absent, group=task.group) for task in base.tasks if task.task not in names))


def _compared(task: TaskReport, base: Report, tuned: Report, confidence: float) -> Row:
    harm: Harm = KNOWN[task.task][1] if task.task in KNOWN else "up" if task.better == "lower" else "down"
    line = Line("alarm", task.task, 0.0, harm)
    if base.task(task.task) is None:
        return Row(task.task, f"{base.model} was not measured on it", group=task.group)
    if task.is_sealed:
        return Row(task.task, "sealed: only `tunesmith gate` reads it, and tells the outcome", group=task.group)
    try:
        pairs = pair(line, [tuned], base)
    except EvaluateError as error:
        return Row(task.task, str(error), group=task.group)
    if isinstance(pairs, str):
        return Row(task.task, pairs, group=task.group)
    return _seen(task, weigh(line, pairs, confidence), confidence)


def _seen(task: TaskReport, seen: Evidence, confidence: float) -> Row:
    resolvable = seen.resolvable(confidence)
    return Row(
        task=task.task,
        told=task.about,
        group=task.group,
        harm=seen.harm,
        unit=seen.unit,
        num_items=seen.num_items,
        base=seen.base,
        tuned=seen.tuned,
        difference=seen.difference,
        low=seen.low,
        high=seen.high,
        resolvable=resolvable if math.isfinite(resolvable) else None,
        lost=len(seen.lost_items),
        gained=len(seen.gained_items),
    )


def scaled(row: Row, value: float) -> float:
    """A value as it is shown: shares of right and wrong in percent."""
    return 100 * value if row.unit == "points" else value


def figure(row: Row, value: float | None, sign: str = "") -> str:
    """A level, or with the sign "+" a difference: `-1.2`, in the row's unit; empty where it is unknown."""
    if value is None:
        return ""
    shown = scaled(row, value)
    if not math.isfinite(shown):
        return "unbounded"
    text = format(shown, f"{sign}.1f") if row.unit == "points" else format(shown, f"{sign}.3g")
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "−") if "e" not in text else text


def difference(row: Row) -> str:
    """`+1.2 (−0.4 to +2.8)`; empty where nothing is known."""
    if row.difference is None:
        return ""
    return f"{figure(row, row.difference, '+')} ({figure(row, row.low, '+')} to {figure(row, row.high, '+')})"


def reach(row: Row) -> str:
    """The smallest harm that these items could rule out: `6.1 points`."""
    return "" if row.resolvable is None else f"{figure(row, row.resolvable)} {row.unit}".rstrip()
