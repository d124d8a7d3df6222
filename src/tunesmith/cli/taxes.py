"""The alignment tax as a compact table: one line a tax, base beside tuned, and what has moved."""

import math

from rich.table import Table

from tunesmith.cli.console import plain_table
from tunesmith.stats import Interval, paired_interval, paired_mean_interval
from tunesmith.types import Report, TaskReport

LOGARITHM = "log tokens"


def tax_table(base: Report, tuned: Report) -> Table | None:
    """The taxes of both reports; None where there are none. A word says what the 95 % interval leaves no doubt of."""
    table = plain_table("alignment tax", "base", "tuned", "difference", "", right=("base", "tuned", "difference"))
    for after in tuned.tasks:
        before = base.task(after.task)
        if after.group == "tax" and before is not None and before.scores and after.scores:
            table.add_row(*_row(before, after))
    return table if table.row_count else None


def tax_lines(report: Report) -> Table | None:
    """The taxes of one model; None where there are none."""
    table = plain_table("alignment tax", report.model, "", right=(report.model,))
    for tax in report.tasks:
        if tax.group == "tax":
            table.add_row(tax.task, amount(tax) if tax.scores else "-", tax.skipped or tax.about)
    return table if table.row_count else None


def amount(tax: TaskReport) -> str:
    """The mean as people read it: a share in percent, a length in tokens (the geometric mean), else the number."""
    if not tax.unit:
        return f"{100 * tax.mean:.1f} %"
    if tax.unit == LOGARITHM:
        return f"{math.exp(tax.mean):.0f} tokens"
    return f"{tax.mean:.2f}"


def _row(before: TaskReport, after: TaskReport) -> tuple[str, str, str, str, str]:
    change = after.mean - before.mean
    if not after.unit:
        difference = f"{100 * change:+.1f} points"
    elif after.unit == LOGARITHM:
        difference = f"x {math.exp(change):.2f}"
    else:
        difference = f"{change:+.2f}"
    return after.task, amount(before), amount(after), difference, _remark(before, after)


def _remark(before: TaskReport, after: TaskReport) -> str:
    """Better or worse, and how long the longest answers are where that is measured."""
    high = [task.facts.get("p95_tokens") for task in (before, after)]
    tail = "" if None in high else f"95th percentile {high[0]:.0f} and {high[1]:.0f}"
    return ", ".join(part for part in (_word(before, after), tail) if part)


def _word(before: TaskReport, after: TaskReport) -> str:
    """`better` or `worse` where the interval of the paired difference leaves zero out."""
    low, high = _interval(before, after)
    if low <= 0 <= high:
        return ""
    return "better" if (low > 0) == (after.better == "higher") else "worse"


def _interval(before: TaskReport, after: TaskReport) -> Interval:
    """The 95 % interval of the paired difference, tuned minus base, over the items that both have."""
    changes = [value - before.scores[item] for item, value in after.scores.items() if item in before.scores]
    if before.is_binary and after.is_binary:
        return paired_interval(changes.count(-1.0), changes.count(1.0), len(changes))
    return paired_mean_interval(changes) if len(changes) > 1 else (-math.inf, math.inf)
