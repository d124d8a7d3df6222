"""The alignment tax as a compact table: one line a tax, base beside tuned, and what has moved."""

from rich.table import Table

from tunesmith.cli.console import plain_table
from tunesmith.report.panel import TaxLine, amount
from tunesmith.report.panel import tax_lines as lines
from tunesmith.types import Report


def tax_table(base: Report, tuned: Report) -> Table | None:
    """The taxes of both reports; None where there are none. A word says what the 95 % interval leaves no doubt of."""
    table = plain_table("alignment tax", "base", "tuned", "difference", "", right=("base", "tuned", "difference"))
    for line in lines(base, tuned):
        table.add_row(line.after.task, amount(line.before), amount(line.after), line.difference, _remark(line))
    return table if table.row_count else None


def tax_lines(report: Report) -> Table | None:
    """The taxes of one model; None where there are none."""
    table = plain_table("alignment tax", report.model, "", right=(report.model,))
    for tax in report.tasks:
        if tax.group == "tax":
            table.add_row(tax.task, amount(tax) if tax.scores else "-", tax.skipped or tax.about)
    return table if table.row_count else None


def _remark(line: TaxLine) -> str:
    """Better or worse, and how long the longest answers are where that is measured."""
    high = [task.facts.get("p95_tokens") for task in (line.before, line.after)]
    tail = "" if None in high else f"95th percentile {high[0]:.0f} and {high[1]:.0f}"
    return ", ".join(part for part in (line.word, tail) if part)
