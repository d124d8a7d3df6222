"""A forest plot as SVG: each paired difference with its interval, against zero and its margin, a panel a unit."""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby

from tunesmith.plot import Axis, axis, written
from tunesmith.report.rows import Row, difference, reach, scaled
from tunesmith.report.words import cut, safe

WIDTH, ROW_HEIGHT, TOP, BOTTOM = 900, 40, 30, 40
FIRST, LAST = 250, 620
QUESTIONS: Mapping[str, str] = {"improve": "must improve", "keep": "must be kept", "alarm": "watched"}


def forest(rows: Sequence[Row]) -> str:
    """The SVG panels, one for each unit; empty where no row has a difference."""
    drawn = [row for row in rows if row.difference is not None]
    units = list(dict.fromkeys(row.unit for row in drawn))
    ordered = sorted(drawn, key=lambda row: units.index(row.unit))
    return "\n".join(_panel(unit, list(part)) for unit, part in groupby(ordered, key=lambda row: row.unit))


def _panel(unit: str, rows: Sequence[Row]) -> str:
    floor = TOP + ROW_HEIGHT * len(rows)
    across = axis(_extent(rows), FIRST, LAST, 5, False, is_padded=True)
    body = [*_grid(across, floor, unit or "score")]
    for number, row in enumerate(rows):
        body += _row(row, TOP + ROW_HEIGHT * number + ROW_HEIGHT / 2, across)
    height = floor + BOTTOM
    label = safe(f"Differences in {unit or 'score'}: " + ", ".join(row.task for row in rows))
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">' + "\n".join(body) + "</svg>"


def _extent(rows: Sequence[Row]) -> list[float]:
    """What the axis holds: intervals, margins and zero."""
    ends = [end for row in rows for end in (row.low, row.high, row.difference, *margins(row)) if end is not None]
    shown = [scaled(rows[0], end) for end in ends if math.isfinite(end)]
    return [0.0, *shown] if any(shown) else [-1.0, 0.0, 1.0]


def margins(row: Row) -> list[float]:
    """Where the margin of a line lies: the gain that is wanted, or the harm that is not."""
    if row.margin is None:
        return []
    if row.question == "improve":
        return [-row.margin if row.harm == "up" else row.margin]
    return {"down": [-row.margin], "up": [row.margin], "both": [-row.margin, row.margin]}[row.harm]


def mark(row: Row) -> str:
    """The outcome as a sign and a word; without a verdict what the interval shows."""
    if row.question == "alarm":
        return {"PASS": "✓ no alarm", "FAIL": "✗ alarm", "INCONCLUSIVE": "? not settled"}[row.outcome or "PASS"]
    return {"PASS": "✓ passes", "FAIL": "✗ fails", "INCONCLUSIVE": "? open"}[row.outcome] if row.outcome else row.word


def _grid(across: Axis, floor: float, unit: str) -> list[str]:
    lines = []
    for tick, text in zip(across.ticks, written(across.ticks), strict=True):
        x = across.place(tick)
        lines.append(f'<path class="grid" d="M{x:.1f} {TOP - 6}V{floor}"/>')
        lines.append(f'<text class="tick" x="{x:.1f}" y="{floor + 16}">{text}</text>')
    zero = across.place(0.0)
    lines.append(f'<path class="zero" d="M{zero:.1f} {TOP - 6}V{floor}"/>')
    middle = (FIRST + LAST) / 2
    lines.append(f'<text class="tick" x="{middle:g}" y="{floor + 33}">tuned − base, {safe(unit)}</text>')
    return lines


def _row(row: Row, y: float, across: Axis) -> list[str]:
    kind = (row.outcome or row.word or "plain").lower()
    middle = row.difference or 0.0
    low, high = (_place(row, across, middle if end is None else end) for end in (row.low, row.high))
    name, note = cut(row.task, 30)
    under = "; ".join(
        part for part in (QUESTIONS.get(row.question or "", f"{row.num_items:,} items"), mark(row)) if part
    )
    told = f"can rule out {reach(row)}" if row.resolvable is not None else ""
    return [
        f"<g><title>{safe(row.told)}</title>",
        f'<text class="name" x="8" y="{y - 1:.1f}">{safe(name)}{"…" if note else ""}</text>',
        f'<text class="under" x="8" y="{y + 14:.1f}">{under}</text>',
        *(_margin(_place(row, across, value), y) for value in margins(row)),
        f'<path class="reach {kind}" d="M{low:.1f} {y:.1f}H{high:.1f}{_cap(low, y)}{_cap(high, y)}"/>',
        f'<circle class="dot {kind}" cx="{_place(row, across, middle):.1f}" cy="{y:.1f}" r="5"/>',
        f'<text class="name" x="{LAST + 20}" y="{y - 1:.1f}">{safe(difference(row))}</text>',
        f'<text class="under" x="{LAST + 20}" y="{y + 14:.1f}">{safe(told)}</text></g>',
    ]


def _place(row: Row, across: Axis, value: float) -> float:
    """The pixel of a value, held within the drawing."""
    return min(max(across.place(scaled(row, value)), FIRST), LAST)


def _cap(x: float, y: float) -> str:
    return f"M{x:.1f} {y - 5:.1f}v10"


def _margin(x: float, y: float) -> str:
    return f'<path class="margin" d="M{x:.1f} {y - 14:.1f}v28"/>'
