"""The alignment tax as small multiples: for each tax base and tuned with their intervals, and what moved."""

import math
from dataclasses import dataclass

from tunesmith.plot import axis
from tunesmith.report.words import safe
from tunesmith.stats import Interval, mean_interval, paired_interval, paired_mean_interval, wilson_interval
from tunesmith.types import Report, TaskReport

LOGARITHM = "log tokens"
WIDTH, FIRST, LAST = 300, 70, 290


@dataclass(frozen=True, slots=True)
class TaxLine:
    """One tax before and after, as people read it; `word` is `better` or `worse` where 95 % leave no doubt."""

    before: TaskReport
    after: TaskReport
    difference: str
    word: str


def tax_lines(base: Report, tuned: Report) -> list[TaxLine]:
    """The taxes that both reports have, in the order of `tuned`."""
    pairs = [(base.task(after.task), after) for after in tuned.tasks if after.group == "tax" and after.scores]
    return [_line(before, after) for before, after in pairs if before is not None and before.scores]


def _line(before: TaskReport, after: TaskReport) -> TaxLine:
    change = after.mean - before.mean
    if not after.unit:
        difference = f"{100 * change:+.1f} points"
    elif after.unit == LOGARITHM:
        difference = f"x {math.exp(change):.2f}"
    else:
        difference = f"{change:+.2f}"
    return TaxLine(before, after, difference, _word(before, after))


def amount(tax: TaskReport) -> str:
    """The mean as people read it: a share in percent, a length in tokens (the geometric mean), else the number."""
    if not tax.unit:
        return f"{100 * tax.mean:.1f} %"
    if tax.unit == LOGARITHM:
        return f"{math.exp(tax.mean):.0f} tokens"
    return f"{tax.mean:.2f}"


def _word(before: TaskReport, after: TaskReport) -> str:
    low, high = _paired(before, after)
    if low <= 0 <= high:
        return ""
    return "better" if (low > 0) == (after.better == "higher") else "worse"


def _paired(before: TaskReport, after: TaskReport) -> Interval:
    """The 95 % interval of the paired difference, tuned minus base, over the items that both have."""
    changes = [value - before.scores[item] for item, value in after.scores.items() if item in before.scores]
    if before.is_binary and after.is_binary:
        return paired_interval(changes.count(-1.0), changes.count(1.0), len(changes))
    return paired_mean_interval(changes) if len(changes) > 1 else (-math.inf, math.inf)


def multiples(lines: list[TaxLine]) -> str:
    """A card for each tax, those that got worse first."""
    order = {"worse": 0, "better": 1, "": 2}
    return "\n".join(_card(line) for line in sorted(lines, key=lambda line: order[line.word]))


def _card(line: TaxLine) -> str:
    word = line.word or "no change shown"
    name = safe(line.after.task).replace("_", "_<wbr>")
    return (
        f'<figure class="card {line.word or "same"}"><figcaption><b>{name}</b> '
        f'<span class="word">{word}</span></figcaption>{_chart(line)}'
        f'<p class="quiet">{safe(line.difference)}; {line.after.better} is better. {safe(line.after.about)}</p>'
        "</figure>"
    )


def _chart(line: TaxLine) -> str:
    ends = [_interval(part) for part in (line.before, line.after)]
    values = [
        value
        for (low, high), part in zip(ends, (line.before, line.after), strict=True)
        for value in (low, high, part.mean)
    ]
    across = axis([value for value in values if math.isfinite(value)], FIRST, LAST, 3, False, is_padded=True)
    body = []
    for y, name, part, (low, high) in ((18, "base", line.before, ends[0]), (48, "tuned", line.after, ends[1])):
        left, right = (min(max(across.place(end), FIRST), LAST) for end in (low, high))
        body.append(f'<text class="under" x="0" y="{y - 2}">{name}</text>')
        body.append(f'<text class="name" x="0" y="{y + 12}">{safe(amount(part))}</text>')
        body.append(f'<path class="grid" d="M{FIRST} {y}H{LAST}"/>')
        body.append(f'<path class="reach {name}" d="M{left:.1f} {y}H{right:.1f}"/>')
        body.append(f'<circle class="dot {name}" cx="{across.place(part.mean):.1f}" cy="{y}" r="5"/>')
    label = safe(f"{line.after.task}: base {amount(line.before)}, tuned {amount(line.after)}")
    return f'<svg viewBox="0 0 {WIDTH} 66" role="img" aria-label="{label}">' + "".join(body) + "</svg>"


def _interval(task: TaskReport) -> Interval:
    values = list(task.scores.values())
    if task.is_binary:
        return wilson_interval(sum(values), len(values))
    return mean_interval(values) if len(values) > 1 else (task.mean, task.mean)
