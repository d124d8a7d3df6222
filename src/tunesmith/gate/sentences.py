"""Each finding as one plain sentence that a newcomer understands."""

from tunesmith.gate.evidence import Evidence
from tunesmith.types import Outcome


def sentence(seen: Evidence, outcome: Outcome, confidence: float, num_needed: int | None) -> str:
    """What was seen, what follows from it, and what would settle it; `confidence` is one-sided."""
    if seen.is_binary:
        levels = f"{100 * seen.base:.1f} % -> {100 * seen.tuned:.1f} %"
        counts = f"{_items(seen.lost)} lost, {seen.gained:,} gained of {seen.num_items:,}"
    else:
        levels = f"{seen.base:.4g} -> {seen.tuned:.4g}"
        counts = f"mean difference {seen.difference:+.4g} over {_items(seen.num_items)}"
    judge = _improve_clause if seen.question == "improve" else _keep_clause
    remedy = _remedy(num_needed) if outcome == "INCONCLUSIVE" else ""
    return f"{seen.task}: {levels} ({counts}); {judge(seen, outcome, confidence)}{remedy}."


def _keep_clause(seen: Evidence, outcome: Outcome, confidence: float) -> str:
    loss = f"a loss of more than {_amount(seen, seen.margin)}" if seen.margin else "a loss"
    sure = f"at {100 * confidence:g} % confidence"
    worst = f"the loss is at most {_amount(seen, -seen.low)}" if seen.low < 0 else "there is none"
    got_worse = seen.p_value < 1 - confidence
    if outcome == "PASS":
        return f"{'it did get worse, but ' if got_worse else ''}{loss} is ruled out ({sure} {worst})"
    if outcome == "FAIL" and seen.high < -seen.margin:
        return f"{loss} is shown ({sure} the loss is at least {_amount(seen, -seen.high)})"
    harm = "it got worse, and " if outcome == "FAIL" else ""
    return f"{harm}{loss} is not ruled out ({sure} it may be as large as {_amount(seen, -seen.low)})"


def _improve_clause(seen: Evidence, outcome: Outcome, confidence: float) -> str:
    gain = f"a gain of more than {_amount(seen, seen.margin)}" if seen.margin else "a gain"
    sure = f"at {100 * confidence:g} % confidence"
    if outcome == "PASS":
        return f"{gain} is shown ({sure} it is at least {_amount(seen, seen.low)})"
    if outcome == "FAIL":
        return f"{gain} is ruled out ({sure} {_at_best(seen)})"
    return f"{gain} is not shown ({sure} it may be {_at_worst(seen)})"


def _at_best(seen: Evidence) -> str:
    if seen.high < 0:
        return f"there is a loss of at least {_amount(seen, -seen.high)}"
    return f"the gain is at most {_amount(seen, seen.high)}" if seen.high else "there is no gain"


def _at_worst(seen: Evidence) -> str:
    if seen.low < 0:
        return f"a loss of {_amount(seen, -seen.low)}"
    return f"a gain of only {_amount(seen, seen.low)}" if seen.low else "none at all"


def _remedy(num_needed: int | None) -> str:
    if num_needed is None:
        return "; the difference lies exactly at the limit, so more items like these would not settle it"
    return f"; about {num_needed:,} items would settle it"


def _items(count: int) -> str:
    return f"{count:,} item" if count == 1 else f"{count:,} items"


def _amount(seen: Evidence, value: float) -> str:
    """A distance between scores: points for pass or fail tasks, a plain number for others."""
    if not seen.is_binary:
        return f"{value:.4g}"
    places = 1 if value == 0 or value >= 0.001 else 2
    return f"{100 * value:.{places}f} points"
