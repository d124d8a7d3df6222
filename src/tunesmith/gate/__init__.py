"""Report x Report -> Verdict: is the gain shown, and is every loss larger than its margin ruled out?

"Not significantly worse" is not "safe": a task passes only when the interval of the paired difference rules
the harm out. What a set is too small to show is INCONCLUSIVE, with the number of items that would settle it.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from tunesmith import stats
from tunesmith.config import Config
from tunesmith.errors import EvaluateError
from tunesmith.files import read_json, write_json
from tunesmith.gate.evidence import MIN_CONTINUOUS_ITEMS, Evidence, compare
from tunesmith.gate.sentences import sentence
from tunesmith.types import Finding, Outcome, Report, Verdict

VERDICT_FILE = "verdict.json"
Margin = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class GateConfig(Config):
    """What the tuned model must gain, and what it may not lose."""

    improve: dict[str, Margin] = Field(default={})
    """Task -> the smallest gain worth having, in units of the score (0.02 is two points; 0.0 is any gain)."""

    keep: dict[str, Margin] = Field(default={})
    """Task -> the margin: the largest acceptable loss, in units of the score (0.05 is five points)."""

    confidence: float = Field(default=0.95, ge=0.8, lt=1)
    """How sure each PASS must be: the one-sided level of every bound."""


def gate(policy: GateConfig, report: Report, baseline: Report) -> Verdict:
    """Compare a report with its baseline, item by item, under a policy.

    FAIL when any finding fails, else INCONCLUSIVE when any is, else PASS. Raises EvaluateError when the
    policy is empty or the two reports do not hold the same tasks and items.
    """
    _check_policy(policy)
    gains = [compare("improve", *limit, policy.confidence, report, baseline) for limit in policy.improve.items()]
    losses = [compare("keep", *limit, policy.confidence, report, baseline) for limit in policy.keep.items()]
    adjusted = stats.holm([seen.p_value for seen in losses])
    findings = (
        *(_improve(policy, seen) for seen in gains),
        *(_keep(policy, replace(seen, p_value=p)) for seen, p in zip(losses, adjusted, strict=True)),
    )
    return Verdict(_worst(findings), report.model_digest, baseline.model_digest, findings)


def write_verdict(folder: Path, verdict: Verdict) -> Path:
    """Write `folder/verdict.json`; returns its path."""
    path = folder / VERDICT_FILE
    write_json(path, verdict)
    return path


def read_verdict(path: Path) -> Verdict:
    """Read a verdict file; raises EvaluateError when it is none."""
    try:
        return Verdict.from_dict(read_json(path))
    except (KeyError, TypeError) as error:
        raise EvaluateError(f"{path}: not a verdict of `tunesmith gate` ({error!r})") from None


def _worst(findings: tuple[Finding, ...]) -> Outcome:
    outcomes = {finding.outcome for finding in findings}
    order: tuple[Outcome, ...] = ("FAIL", "INCONCLUSIVE", "PASS")
    return next(outcome for outcome in order if outcome in outcomes)


def _check_policy(policy: GateConfig) -> None:
    if not policy.improve and not policy.keep:
        raise EvaluateError(
            "the gate has no policy, so it would prove nothing. Name a task that must get better "
            "(--set gate.improve.TASK=0) or one that must not get worse (--set gate.keep.TASK=0.05), "
            "or write them under [gate.improve] and [gate.keep] in the recipe"
        )


def _improve(policy: GateConfig, seen: Evidence) -> Finding:
    if seen.is_large_enough and seen.low > seen.margin:
        return _finding(policy, seen, "PASS")
    if seen.is_large_enough and seen.high < seen.margin:
        return _finding(policy, seen, "FAIL")
    return _finding(policy, seen, "INCONCLUSIVE", [abs(seen.difference - seen.margin)])


def _keep(policy: GateConfig, seen: Evidence) -> Finding:
    """The p-value is Holm-adjusted over the kept tasks: with many of them, one looks worse by chance."""
    if seen.is_large_enough and seen.low > -seen.margin:
        return _finding(policy, seen, "PASS")
    if seen.is_large_enough and seen.p_value < 1 - policy.confidence:
        return _finding(policy, seen, "FAIL")
    # Settled by whichever comes first: the margin ruled out, or the loss shown.
    return _finding(policy, seen, "INCONCLUSIVE", [seen.difference + seen.margin, -seen.difference])


def _finding(policy: GateConfig, seen: Evidence, outcome: Outcome, distances: Sequence[float] = ()) -> Finding:
    """`distances`: how far the difference lies from each boundary whose crossing would settle it."""
    num_needed = _num_needed(policy, seen, distances)
    return Finding(
        task=seen.task,
        question=seen.question,
        outcome=outcome,
        num_items=seen.num_items,
        base=seen.base,
        tuned=seen.tuned,
        difference=seen.difference,
        low=seen.low,
        high=seen.high,
        margin=seen.margin,
        p_value=seen.p_value,
        lost=seen.lost,
        gained=seen.gained,
        num_needed=num_needed,
        explanation=sentence(seen, outcome, policy.confidence, num_needed),
    )


def _num_needed(policy: GateConfig, seen: Evidence, distances: Sequence[float]) -> int | None:
    """More items than there are now, in any case: the present ones did not settle it."""
    counts = [stats.items_needed(seen.variance, distance, policy.confidence, span=seen.span) for distance in distances]
    known = [count for count in counts if count is not None]
    fewest = seen.num_items + 1 if seen.is_large_enough else MIN_CONTINUOUS_ITEMS
    return max(min(known), fewest) if known else None
