"""Which questions the gate asks: those that the policy names, and the default ones of everything else measured."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.errors import EvaluateError
from tunesmith.types import Harm, Question, Report, TaskReport

if TYPE_CHECKING:
    from tunesmith.gate import GateConfig

GENERAL = "general"
GENERAL_MARGIN = 0.06
"""Six points: what 500 items resolve up to a quarter of them flipping; see `benchmarks/gate.py`."""

KNOWN: Mapping[str, tuple[float, Harm]] = {
    "kl_general": (0.1, "up"),
    "loss_general": (0.05, "up"),
    "length": (math.log(1.25), "both"),
}
"""Continuous measures that resolve small harms with few items: the margin of each, in its own unit, and its harm."""

SMALL_SHIFT = 0.2
"""Alarms on other continuous measures: shifts below this share of the spread between items do not count (a "small
effect": Cohen 1988)."""


@dataclass(frozen=True, slots=True)
class Line:
    """One question of one task. `margin` None: SMALL_SHIFT of the baseline's spread."""

    question: Question
    task: str
    margin: float | None
    harm: Harm = "down"
    is_named: bool = True


def lines(policy: "GateConfig", report: Report) -> list[Line]:
    """The questions in the order of the verdict: gains, losses, alarms."""
    _check(policy)
    measured = {task.task: task for task in report.tasks}
    named = {**policy.alarms, **policy.keep, **policy.improve}
    found = [
        *(_line("improve", task, margin, policy, measured) for task, margin in policy.improve.items()),
        *(_line("keep", task, margin, policy, measured) for task, margin in policy.keep.items()),
        *(_line("alarm", task, margin, policy, measured) for task, margin in policy.alarms.items()),
    ]
    if policy.others == "default":
        is_default = not policy.improve and not policy.keep
        found += [_other(task, policy, is_default) for name, task in measured.items() if name not in named]
        if is_default and GENERAL not in {**named, **measured}:
            found.append(Line("keep", GENERAL, GENERAL_MARGIN, is_named=False))
    order: list[Question] = ["improve", "keep", "alarm"]
    return sorted(found, key=lambda line: order.index(line.question))


def _line(
    question: Question, task: str, margin: float, policy: "GateConfig", measured: Mapping[str, TaskReport]
) -> Line:
    seen = measured.get(task)
    return Line(question, task, margin, "both" if task in policy.both_ways else _harm(seen))


def _other(task: TaskReport, policy: "GateConfig", is_default: bool) -> Line:
    """What is asked of a task that the policy does not name."""
    harm: Harm = "both" if task.task in policy.both_ways else _harm(task)
    if task.task in KNOWN:
        margin, harm = KNOWN[task.task]
        return Line("keep" if is_default else "alarm", task.task, margin, harm, is_named=False)
    if is_default and task.group == "task":
        is_general = task.task == GENERAL
        question: Question = "keep" if is_general else "improve"
        return Line(question, task.task, GENERAL_MARGIN if is_general else 0.0, harm, is_named=False)
    return Line("alarm", task.task, None, harm, is_named=False)


def _harm(task: TaskReport | None) -> Harm:
    return "up" if task is not None and task.better == "lower" else "down"


def _check(policy: "GateConfig") -> None:
    if policy.others == "ignore" and not (policy.improve or policy.keep):  # alarms alone rule nothing out
        raise EvaluateError(
            "the gate has no policy, so it would prove nothing. Name a task that must get better "
            "(--set gate.improve.TASK=0) or one that must not get worse (--set gate.keep.TASK=0.05), "
            'or leave gate.others at "default"'
        )
    for task in policy.both_ways:
        if task in policy.improve:
            raise EvaluateError(
                f"gate.both_ways names {task!r}, which gate.improve wants to change; it can be kept or watched only"
            )
    for task in policy.alarms:
        if task in policy.keep or task in policy.improve:
            raise EvaluateError(f"gate.alarms.{task}: this task is gated already; name it once")
