"""Scores, comparisons and verdicts as tables and sentences."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table
from rich.text import Text

from tunesmith.cli.console import console, plain_table, print_paragraph
from tunesmith.stats import mean_interval, wilson_interval
from tunesmith.types import Finding, Report, TaskReport, Verdict

if TYPE_CHECKING:
    from tunesmith.report import Row

MOST_CLUSTERS = 4
OUTCOME_STYLES = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}
OUTCOME_WORDS = {
    "PASS": "what should improve did, and a loss beyond its margin is ruled out",
    "FAIL": "the evidence is against this model",
    "INCONCLUSIVE": "these items do not settle it",
}


class Line(NamedTuple):
    """One line of a comparison: a task, or a cluster of its items."""

    name: str
    base: TaskReport
    tuned: TaskReport


def comparison_lines(base: Report, tuned: Report) -> Iterator[Line]:
    """Each task, and below it its clusters where there are a few of them; taxes have a table of their own."""
    for after in (task for task in tuned.tasks if task.group != "tax"):
        before = base.task(after.task)
        if before is None:
            continue
        yield Line(after.task, before, after)
        parts, earlier = after.by_cluster(), before.by_cluster()
        if 1 < len(parts) <= MOST_CLUSTERS:
            for name, part in parts.items():
                yield Line(f"  {name}", earlier[name], part)


def comparison_table(base: Report, tuned: Report) -> Table:
    """Base and tuned model side by side, with 95 % intervals."""
    table = plain_table("task", "items", "base", "tuned", "difference", right=("items", "difference"))
    for name, before, after in comparison_lines(base, tuned):
        is_binary = before.is_binary and after.is_binary
        change = after.mean - before.mean
        difference = f"{100 * change:+.1f} points" if is_binary else f"{change:+.3f}"
        table.add_row(
            _titled(name, after),
            num_items(after),
            level(before, is_binary),
            level(after, is_binary),
            difference if before.scores and after.scores else "",
            style="" if not name.startswith(" ") else "dim",
        )
        for fact in _shown_facts(after):
            values = [part.facts.get(fact) for part in (before, after)]
            table.add_row(
                f"  {fact}", "", *("" if value is None else f"{value:.3f}" for value in values), "", style="dim"
            )
    return table


def rows_table(rows: "Sequence[Row]") -> Table:
    """The paired differences with their intervals, a line a task; those of the alignment tax have their own table."""
    from tunesmith.report.rows import difference, figure

    table = plain_table("task", "base", "tuned", "difference", "", "flips", right=("base", "tuned", "difference"))
    for row in rows:
        if row.group == "tax" and not row.is_gated:
            continue
        is_share = row.unit == "points"
        name = row.task if is_share or not row.unit else f"{row.task} ({row.unit})"
        word = Text(row.outcome or row.word, style=OUTCOME_STYLES.get(row.outcome or "", ""))
        if row.difference is None:
            table.add_row(name, "", "", "" if row.outcome else row.told, word, "")
            continue
        sign = " %" if is_share else ""
        flips = f"-{row.lost:,} +{row.gained:,}" if is_share else ""
        levels = [f"{figure(row, value)}{sign}" for value in (row.base, row.tuned)]
        table.add_row(name, *levels, difference(row), word, flips)
    return table


def report_table(report: Report, label: str) -> Table:
    """One model on its tasks, with 95 % intervals."""
    table = plain_table("task", "items", label, right=("items",))
    for name, task, _ in comparison_lines(report, report):
        table.add_row(_titled(name, task), num_items(task), level(task, task.is_binary))
        for fact in _shown_facts(task):
            table.add_row(f"  {fact}", "", f"{task.facts[fact]:.3f}", style="dim")
    return table


def num_items(task: TaskReport) -> str:
    """How many items were measured; those in the vault are counted too."""
    return f"{int(task.facts['items']) if task.is_sealed and task.facts else len(task.scores):,}"


def _titled(name: str, task: TaskReport) -> str:
    """The task's name, with its unit where it is no share of the items."""
    hint = f"{task.unit}, lower is better" if task.better == "lower" else task.unit
    return f"{name} ({hint})" if task.unit and not name.startswith(" ") else name


def _shown_facts(task: TaskReport) -> list[str]:
    return [] if task.is_sealed else list(task.facts)


def level(task: TaskReport, is_binary: bool) -> str:
    """A mean with its 95 % interval: `78.2 % (74 to 82)`, or `-1.204 (-1.31 to -1.10)`; numbers stand aligned."""
    values = list(task.scores.values())
    if task.skipped:
        return f"SKIPPED: {task.skipped}"
    if not values:
        return f"in the vault, look {int(task.facts.get('looks', 0))}"
    if is_binary:
        low, high = wilson_interval(round(sum(values)), len(values))
        return f"{100 * task.mean:4.1f} % ({100 * low:.0f} to {100 * high:.0f})"
    if len(values) < 2:
        return f"{task.mean:.3f}"
    low, high = mean_interval(values)
    return f"{task.mean:.3f} ({low:.2f} to {high:.2f})"


def verdict_line(verdict: Verdict) -> Text:
    """The outcome as a colored word, and what it means."""
    return Text.assemble((verdict.outcome, OUTCOME_STYLES[verdict.outcome]), f": {OUTCOME_WORDS[verdict.outcome]}.")


def print_verdict(verdict: Verdict) -> None:
    """The outcome, every gated finding and every raised alarm behind it, and what can be done."""
    to = console()
    to.print(verdict_line(verdict), soft_wrap=True)
    quiet = [each for each in verdict.findings if each.question == "alarm" and not each.holds_back]
    for finding in verdict.findings:
        if finding in quiet:
            continue
        print_paragraph(to, f"{finding.outcome}: {finding.explanation}{_reach(finding)}", "- ", "  ")
    if quiet:
        names = ", ".join(each.task for each in quiet)
        print_paragraph(to, f"no alarm: {names}", "- ", "  ", style="dim")
    advice = dict.fromkeys(each for finding in verdict.open_findings for each in finding.remedies)
    if advice:
        to.print(Text("What can be done", style="bold"))
    for each in advice:
        print_paragraph(to, each, "- ", "  ")


def _reach(finding: Finding) -> str:
    """The smallest harm that the items could have ruled out, beside each kept line."""
    if finding.resolvable is None or finding.question != "keep" or finding.num_used is not None:
        return ""
    is_share = finding.unit == "points"
    amount = f"{100 * finding.resolvable:.1f}" if is_share else f"{finding.resolvable:.2g}"
    return f" Such a set can rule out {amount} {finding.unit}".rstrip() + "."
