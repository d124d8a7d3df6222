"""From evidence to findings: PASS, FAIL or INCONCLUSIVE for each line."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunesmith import stats
from tunesmith.gate.evidence import MIN_CONTINUOUS_ITEMS, Evidence, Pairs
from tunesmith.gate.policy import Line
from tunesmith.gate.remedies import remedies
from tunesmith.gate.sentences import sentence
from tunesmith.types import Finding, Outcome

if TYPE_CHECKING:
    from tunesmith.gate import GateConfig

Decision = tuple[Outcome, Sequence[float]]
"""The outcome, and the boundaries of the gain whose crossing would settle an open question."""


def decide(policy: "GateConfig", seen: Evidence, pairs: Pairs, num_harms: int) -> Finding:
    """The finding of one line. The p-value of a harm is Holm-adjusted already, over `num_harms` lines."""
    num_used = None
    outcome, boundaries = {"improve": _improve, "keep": _keep, "alarm": _alarm}[seen.question](seen, policy.confidence)
    if policy.early_stop and seen.question != "alarm" and seen.harm != "both" and _is_bounded(pairs):
        stop = early_stop(seen, pairs, policy.confidence, num_harms)
        outcome = {"above": "PASS", "below": "FAIL", None: "INCONCLUSIVE"}[stop.settled]  # type: ignore[assignment]
        num_used = stop.num_used
    num_needed = _num_needed(policy, seen, boundaries) if outcome == "INCONCLUSIVE" else None
    return Finding(
        task=seen.task,
        question=seen.question,
        outcome=outcome,
        explanation=sentence(seen, outcome, policy.confidence, num_needed, num_used),
        margin=seen.margin,
        harm=seen.harm,
        unit=seen.unit,
        num_items=seen.num_items,
        num_clusters=seen.num_clusters,
        base=seen.base,
        tuned=seen.tuned,
        difference=seen.difference,
        low=seen.low,
        high=seen.high,
        p_value=seen.p_value,
        resolvable=seen.resolvable(policy.confidence),
        lost=len(seen.lost_items),
        gained=len(seen.gained_items),
        num_needed=num_needed,
        num_used=num_used,
        lost_items=seen.lost_items,
        gained_items=seen.gained_items,
        remedies=remedies(seen, outcome, num_needed),
    )


def unmeasured(line: Line, reason: str) -> Finding:
    """A line about which nothing is known: never a PASS, and never a FAIL."""
    told = reason.rstrip(".")
    return Finding(line.task, line.question, "INCONCLUSIVE", f"{line.task}: not judged, {told}.", line.margin or 0.0)


def sealed(finding: Finding) -> Finding:
    """The verdict bit only: figures of a vault would let a recipe be fitted to it, look by look."""
    told = f"{finding.task}: {finding.outcome}; this set is sealed, so nothing more is told."
    return Finding(finding.task, finding.question, finding.outcome, told, finding.margin, finding.harm)


def early_stop(seen: Evidence, pairs: Pairs, confidence: float, num_harms: int = 1) -> stats.Stop:
    """Where bets on the items, in their fixed random order, settle the question; "above" is PASS, "below" FAIL.

    Needs scores between 0 and 1, and a harm that has one direction. A loss is shown at a level that is shared between
    all `num_harms` lines.
    """
    gains = pairs.after - pairs.before
    gains = -gains if seen.harm == "up" else gains
    units = stats.ordered_units(gains, pairs.ids, pairs.items_digest, pairs.codes)
    alpha = 1 - confidence
    if seen.question == "improve":
        return stats.stop_early(units, seen.margin, seen.margin, alpha)
    return stats.stop_early(units, -seen.margin, -seen.harm_from, alpha, alpha_below=alpha / num_harms)


def _is_bounded(pairs: Pairs) -> bool:
    return pairs.seeds is None and all(part.min() >= 0 and part.max() <= 1 for part in (pairs.before, pairs.after))


def _improve(seen: Evidence, confidence: float) -> Decision:
    if seen.is_large_enough and seen.least > seen.margin:
        return "PASS", ()
    if seen.is_large_enough and seen.most < seen.margin:
        return "FAIL", ()
    return "INCONCLUSIVE", [seen.margin]


def _keep(seen: Evidence, confidence: float) -> Decision:
    """A measure that is right or wrong fails when any loss is shown and the margin is not ruled out; one that moves a
    little with any training fails when a loss beyond the margin is shown."""
    if seen.is_large_enough and seen.least > -seen.margin:
        return "PASS", ()
    if _harm_is_shown(seen, confidence):
        return "FAIL", ()
    # Settled by whichever comes first: the margin ruled out, or the loss shown.
    reachable = [-seen.margin] if seen.gain > -seen.margin else []
    return "INCONCLUSIVE", reachable + ([-seen.harm_from] if seen.gain < -seen.harm_from else [])


def _alarm(seen: Evidence, confidence: float) -> Decision:
    if not seen.is_large_enough:
        return "INCONCLUSIVE", ()
    return ("FAIL" if _harm_is_shown(seen, confidence) else "PASS"), ()


def _harm_is_shown(seen: Evidence, confidence: float) -> bool:
    is_shown = seen.is_large_enough and seen.p_value < 1 - confidence
    return is_shown and (not seen.is_widened or seen.most < -seen.harm_from)


def _num_needed(policy: "GateConfig", seen: Evidence, boundaries: Sequence[float]) -> int | None:
    """More items than there are now, in any case: the present ones did not settle it."""
    counts = [seen.num_needed(boundary, policy.confidence) for boundary in boundaries]
    known = [count for count in counts if count is not None]
    fewest = seen.num_items + 1 if seen.is_large_enough else MIN_CONTINUOUS_ITEMS
    return max(min(known), fewest) if known else None
