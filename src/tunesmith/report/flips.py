"""What was lost and gained: how many items of each task, and the answers before and after."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tunesmith.evaluate.flips import Flips, flips, flips_by_cluster
from tunesmith.report.words import block, cut, safe, word_diff
from tunesmith.types import Report, Sample

MOST_CLUSTERS = 12
MOST_LOST, MOST_GAINED = 40, 10
FRAGILE = 0.1
"""An answer with a top-2 logit gap below this, in nats, could read otherwise on another machine."""
PARTS = ("kept", "gained", "lost", "still_wrong")
Answers = Mapping[tuple[str, str], Sample]


class Told(NamedTuple):
    """The first answer of each item, before and after."""

    before: Answers
    after: Answers


def told(base: Iterable[Sample], tuned: Iterable[Sample]) -> Told:
    first = [{(each.task, each.item_id): each for each in samples if not each.number} for samples in (base, tuned)]
    return Told(*first)


def matrix(base: Report, tuned: Report) -> str:
    """A table: kept, gained, lost and still wrong for each right-or-wrong task, and its clusters where they are few."""
    lines = []
    for task in flips(base, tuned):
        lines.append(_line(task, task.task, ""))
        parts = flips_by_cluster(base, tuned, task.task)
        if 1 < len(parts) <= MOST_CLUSTERS:
            lines += [_line(part, part.cluster, ' class="part"') for part in parts]
    if not lines:
        return ""
    head = "".join(
        f'<th scope="col"{" class=number" * (number > 0)}>{name}</th>'
        for number, name in enumerate(("task", "items", "kept", "gained", "lost", "still wrong"))
    )
    return (
        f'<div class="wide"><table><thead><tr>{head}<td></td></tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )


def _line(each: Flips, name: str, kind: str) -> str:
    counts = [len(getattr(each, part)) for part in PARTS]
    cells = "".join(f'<td class="number">{count:,}</td>' for count in (each.num_items, *counts))
    return f'<tr{kind}><th scope="row">{safe(cut(name, 60)[0])}</th>{cells}<td>{_bar(counts)}</td></tr>'


def _bar(counts: Sequence[int]) -> str:
    """The four parts as one bar, 160 pixels wide."""
    total, x, body = sum(counts) or 1, 0.0, []
    for part, count in zip(PARTS, counts, strict=True):
        width = 160 * count / total
        body.append(f'<rect class="{part}" x="{x:.2f}" y="0" width="{width:.2f}" height="12"/>')
        x += width
    return f'<svg class="bar" viewBox="0 0 160 12" width="160" height="12" aria-hidden="true">{"".join(body)}</svg>'


def changes(base: Report, tuned: Report, answers: Told) -> str:
    """The lost items of all tasks, then some of the gained ones, each with both answers side by side."""
    found = flips(base, tuned)
    lost = [(each.task, item) for each in found for item in each.lost]
    gained = [(each.task, item) for each in found for item in each.gained]
    return _list("Lost", lost, MOST_LOST, answers, True) + _list("Gained", gained, MOST_GAINED, answers, False)


def _list(title: str, items: Sequence[tuple[str, str]], most: int, answers: Told, is_open: bool) -> str:
    known = [key for key in items if key in answers.before and key in answers.after]
    step = max(1, -(-len(known) // most))
    shown = known[::step]
    note = f": {len(shown):,} of {len(items):,} shown" if len(shown) < len(items) else f": {len(items):,}"
    body = "".join(
        _item(answers.before[key], answers.after[key], is_open and number < 3) for number, key in enumerate(shown)
    )
    return f"<h3>{title}{note}</h3>{body or '<p>none</p>'}" if not items or body else f"<h3>{title}{note}</h3>"


def _item(before: Sample, after: Sample, is_open: bool) -> str:
    first, second = word_diff(before.completion, after.completion)
    head = safe(cut(" ".join(after.prompt.split()), 110)[0])
    return (
        f"<details{' open' * is_open}><summary><b>{safe(cut(after.task, 60)[0])}</b> {head}"
        f"{_fragile(before, after)}</summary>"
        f'<p class="quiet">item {safe(cut(after.item_id, 120)[0])}</p><pre class="prompt">{block(after.prompt)}</pre>'
        f'{_expected(after)}<div class="sides">{_side("base", before, first)}{_side("tuned", after, second)}</div>'
        "</details>"
    )


def _fragile(before: Sample, after: Sample) -> str:
    gaps = [each.gap for each in (before, after) if each.gap is not None]
    if not gaps or min(gaps) >= FRAGILE:
        return ""
    return f' <span class="fragile" title="smallest top-2 logit gap, in nats">fragile: {min(gaps):.3f}</span>'


def _expected(sample: Sample) -> str:
    return f'<p>expected: <bdi class="answer">{block(sample.expected)}</bdi></p>' if sample.expected else ""


def _side(name: str, sample: Sample, completion: str) -> str:
    why = f"{sample.rule}: {sample.explanation}" if sample.rule else sample.explanation
    ending = "" if sample.stopped else " (cut at the limit)"
    return (
        f"<section><h4>{name}: {sample.score:g}{ending}</h4><pre>{completion}</pre>"
        f'<p class="quiet">{safe(cut(why, 300)[0])}</p></section>'
    )
