"""Report x Report -> Verdict: is the gain shown, and is every loss larger than its margin ruled out?

"Not significantly worse" is not "safe": a kept task passes only when the interval of the paired difference rules
the harm out. What a set is too small to show is INCONCLUSIVE, with the number of items that would settle it.

    policy    which questions are asked, also where the policy names none
    pairing   two reports -> the values of one task before and after
    evidence  difference, interval, p-value
    decide    PASS, FAIL or INCONCLUSIVE
    sentences, remedies  what it means and what can be done
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tunesmith import stats
from tunesmith.config import Config
from tunesmith.errors import EvaluateError
from tunesmith.files import read_json, write_json
from tunesmith.gate.decide import decide, sealed, unmeasured
from tunesmith.gate.evidence import Evidence, Pairs, weigh
from tunesmith.gate.pairing import is_sealed, pair
from tunesmith.gate.policy import Line, lines
from tunesmith.types import Finding, Outcome, Report, Verdict

VERDICT_FILE = "verdict.json"
Margin = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class GateConfig(Config):
    """What the tuned model must gain, and what it may not lose."""

    improve: dict[str, Margin] = Field(default={})
    """Task -> the smallest gain worth having, in units of the score (0.02 is two points; 0.0 is any gain)."""

    keep: dict[str, Margin] = Field(default={})
    """Task -> the margin: the largest acceptable loss, in units of the score (0.05 is five points)."""

    alarms: dict[str, Margin] = Field(default={})
    """Task -> the smallest harm worth an alarm (0.0 is any): it fails when that harm is shown, and never has to be
    ruled out."""

    both_ways: tuple[str, ...] = ()
    """Kept or watched tasks where a change in either direction is harm."""

    others: Literal["default", "ignore"] = "default"
    """Measured tasks that are not named here. default: alarms; and where neither improve nor keep names any, `general`
    and the known continuous measures are kept and every other task must improve. ignore: not looked at."""

    confidence: float = Field(default=0.95, ge=0.8, lt=1)
    """How sure each PASS must be: the one-sided level of every bound."""

    early_stop: bool = False
    """Judge pass-or-fail tasks by bets on the items in a fixed random order, which says after how many items the answer
    was settled; weaker than the fixed-size tests on the same items."""


def gate(policy: GateConfig, report: Report | Sequence[Report], baseline: Report) -> Verdict:
    """Compare a report with its baseline, item by item, under a policy.

    FAIL when any finding fails, else INCONCLUSIVE when a gated one is, else PASS. Several reports are trainings of one
    recipe with different seeds: the claim is then about the recipe, and their spread counts. Raises EvaluateError when
    the two reports do not hold the same tasks and items.
    """
    reports = [report] if isinstance(report, Report) else list(report)
    if not reports:
        raise EvaluateError("the gate needs the report of a candidate; there is none")
    asked = lines(policy, reports[0])
    if not asked:
        raise EvaluateError(f"the report of {reports[0].model!r} has no tasks, so there is nothing to judge")
    weighed = [_weigh(policy, line, reports, baseline) for line in asked]
    harms = [seen for _, seen, _ in weighed if isinstance(seen, Evidence) and seen.question != "improve"]
    adjusted = iter(stats.holm([seen.p_value for seen in harms]))
    findings = []
    for line, seen, pairs in weighed:
        if pairs is None or isinstance(seen, str):
            findings.append(unmeasured(line, str(seen)))
            continue
        judged = seen if seen.question == "improve" else replace(seen, p_value=next(adjusted))
        finding = decide(policy, judged, pairs, len(harms))
        findings.append(sealed(finding) if is_sealed(line, baseline) else finding)
    digests = " | ".join(each.model_digest for each in reports)
    return Verdict(_worst(findings), digests, baseline.model_digest, tuple(findings))


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


def _weigh(
    policy: GateConfig, line: Line, reports: Sequence[Report], baseline: Report
) -> tuple[Line, Evidence | str, Pairs | None]:
    """A line with its evidence, or with the reason why there is none."""
    pairs = pair(line, reports, baseline)
    if isinstance(pairs, str):
        return line, pairs, None
    return line, weigh(line, pairs, policy.confidence), pairs


def _worst(findings: Sequence[Finding]) -> Outcome:
    outcomes = {finding.outcome for finding in findings if finding.holds_back}
    order: tuple[Outcome, ...] = ("FAIL", "INCONCLUSIVE")
    return next((outcome for outcome in order if outcome in outcomes), "PASS")
