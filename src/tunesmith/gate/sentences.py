"""Each finding as one plain sentence that a newcomer understands."""

from tunesmith.gate.evidence import Evidence
from tunesmith.types import Outcome

HARMS = {"down": "loss", "up": "rise", "both": "change"}
GAINS = {"down": "gain", "up": "fall", "both": "gain"}


def sentence(seen: Evidence, outcome: Outcome, confidence: float, num_needed: int | None, num_used: int | None) -> str:
    """What was seen, what follows from it, and what would settle it; `confidence` is one-sided."""
    if seen.is_binary:
        levels = f"{100 * seen.base:.1f} % -> {100 * seen.tuned:.1f} %"
        lost, gained = ("lost", "gained") if seen.harm == "down" else ("changed for the worse", "for the better")
        if seen.harm == "both":
            lost, gained = "fell", "rose"
        counts = f"{_items(len(seen.lost_items))} {lost}, {len(seen.gained_items):,} {gained} of {seen.num_items:,}"
    else:
        levels = f"{seen.base:.4g} -> {seen.tuned:.4g}"
        counts = f"mean difference {seen.difference:+.4g} over {_items(seen.num_items)}"
    if seen.num_clusters is not None:
        counts += f" in {seen.num_clusters:,} clusters"
    if num_used is not None:
        clause = _early_clause(seen, outcome, confidence, num_used)
    else:
        clause = {"improve": _improve_clause, "keep": _keep_clause, "alarm": _alarm_clause}[seen.question](
            seen, outcome, confidence
        )
    remedy = _remedy(num_needed) if outcome == "INCONCLUSIVE" and seen.question != "alarm" else ""
    return f"{seen.task}: {levels} ({counts}); {clause}{remedy}."


def _keep_clause(seen: Evidence, outcome: Outcome, confidence: float) -> str:
    noun = HARMS[seen.harm]
    harm = f"a {noun} of more than {_amount(seen, seen.margin)}" if seen.margin else f"a {noun}"
    sure = f"at {100 * confidence:g} % confidence"
    worst = f"the {noun} is at most {_amount(seen, -seen.least)}" if seen.least < 0 else "there is none"
    got_worse = seen.is_binary and seen.p_value < 1 - confidence
    if outcome == "PASS":
        return f"{'it did get worse, but ' if got_worse else ''}{harm} is ruled out ({sure} {worst})"
    if outcome == "FAIL" and seen.most < -seen.margin:
        return f"{harm} is shown ({sure} the {noun} is at least {_amount(seen, -seen.most)})"
    shown = "it got worse, and " if outcome == "FAIL" else ""
    return f"{shown}{harm} is not ruled out ({sure} it may be as large as {_amount(seen, -seen.least)})"


def _improve_clause(seen: Evidence, outcome: Outcome, confidence: float) -> str:
    noun = GAINS[seen.harm]
    gain = f"a {noun} of more than {_amount(seen, seen.margin)}" if seen.margin else f"a {noun}"
    sure = f"at {100 * confidence:g} % confidence"
    if outcome == "PASS":
        return f"{gain} is shown ({sure} it is at least {_amount(seen, seen.least)})"
    if outcome == "FAIL":
        return f"{gain} is ruled out ({sure} {_at_best(seen)})"
    return f"{gain} is not shown ({sure} it may be {_at_worst(seen)})"


def _alarm_clause(seen: Evidence, outcome: Outcome, confidence: float) -> str:
    noun = HARMS[seen.harm]
    harm = f"a {noun} of more than {_amount(seen, seen.margin)}" if seen.margin else f"a {noun}"
    if outcome == "FAIL":
        at_least = (
            f" (at {100 * confidence:g} % confidence at least {_amount(seen, -seen.most)})" if seen.most < 0 else ""
        )
        return f"{harm} is shown{at_least}"
    if outcome == "INCONCLUSIVE":
        return "these are too few items for an alarm"
    return f"no alarm: {harm} is not shown (it may be as large as {_amount(seen, max(-seen.least, 0.0))})"


def _early_clause(seen: Evidence, outcome: Outcome, confidence: float, num_used: int) -> str:
    noun = GAINS[seen.harm] if seen.question == "improve" else HARMS[seen.harm]
    what = f"a {noun} of more than {_amount(seen, seen.margin)}" if seen.margin else f"a {noun}"
    sure = f"at {100 * confidence:g} % confidence, whenever one looks"
    if outcome == "INCONCLUSIVE":
        return f"bets on all {num_used:,} did not settle {what} ({sure})"
    if seen.question == "improve":
        return f"{what} is {'shown' if outcome == 'PASS' else 'ruled out'} by the first {num_used:,} ({sure})"
    known = f"{what} is ruled out" if outcome == "PASS" else "it got worse, as is shown"
    return f"{known} by the first {num_used:,} ({sure})"


def _at_best(seen: Evidence) -> str:
    if seen.most < 0:
        return f"there is a {HARMS[seen.harm]} of at least {_amount(seen, -seen.most)}"
    noun = GAINS[seen.harm]
    return f"the {noun} is at most {_amount(seen, seen.most)}" if seen.most else f"there is no {noun}"


def _at_worst(seen: Evidence) -> str:
    if seen.least < 0:
        return f"a {HARMS[seen.harm]} of {_amount(seen, -seen.least)}"
    return f"a {GAINS[seen.harm]} of only {_amount(seen, seen.least)}" if seen.least else "none at all"


def _remedy(num_needed: int | None) -> str:
    if num_needed is None:
        return "; the difference lies exactly at the limit, so more items like these would not settle it"
    return f"; about {num_needed:,} items would settle it"


def _items(count: int) -> str:
    return f"{count:,} item" if count == 1 else f"{count:,} items"


def _amount(seen: Evidence, value: float) -> str:
    """A distance between scores: points for pass or fail tasks, a plain number for others."""
    value += 0.0  # never "-0.0"
    if not seen.is_binary:
        return f"{value:.4g} {seen.unit}".rstrip()
    places = 1 if value == 0 or value >= 0.001 else 2
    return f"{100 * value:.{places}f} points"
