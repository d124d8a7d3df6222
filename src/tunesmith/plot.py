"""Line charts as self-contained SVG text: no script, no font, no network, no library.

`line_chart` draws one chart, `page` puts several under each other in one file. Text is escaped, so names may come
from data. Sizes are pixels of the SVG, which scales.
"""

import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from itertools import groupby, pairwise
from typing import NamedTuple

Points = Sequence[tuple[float, float]]

WIDTH, PLOT_HEIGHT = 880, 300
LEFT, RIGHT, BOTTOM = 66, 26, 52
LINE_HEIGHT = 18
COLORS = ("#0072b2", "#d55e00", "#009e73", "#a0559b", "#b8860b", "#3b9dd2", "#5f6b7a")
"""After Okabe and Ito (2008): told apart with any color vision; two shades darker, for thin lines on white."""
DASHES = ("", ' stroke-dasharray="7 4"', ' stroke-dasharray="2 4"')
NUM_DOTTED = 40
"""A series of at most this many points shows each as a dot."""
LARGEST = 1e100
"""Values beyond this are left out like infinity: nothing could be told from their chart."""
_FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
_STYLE = (
    f"text {{ font: 12px {_FONT}; fill: #5f6b7a; }} .title {{ font-size: 16px; font-weight: 600; fill: #1b2430; }} "
    ".name { fill: #1b2430; } .mark { stroke: #ffffff; stroke-width: 4px; paint-order: stroke; } "
    "path { fill: none; stroke-linejoin: round; stroke-linecap: round; }"
)


class Axis(NamedTuple):
    """From `low` to `high`, with ticks in between, on pixels `first` to `last`."""

    low: float
    high: float
    ticks: tuple[float, ...]
    first: float
    last: float
    is_log: bool = False

    def place(self, value: float) -> float:
        """The pixel of a value."""
        scale: Callable[[float], float] = math.log10 if self.is_log else float
        share = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))
        return self.first + share * (self.last - self.first)


def line_chart(
    series: Mapping[str, Points],
    *,
    title: str,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    marks: Mapping[str, float] = {},
    raw: Mapping[str, Points] = {},
    height: int = PLOT_HEIGHT,
) -> str:
    """One chart of named lines of (x, y) points, as SVG text.

    `marks` are labeled vertical lines at x. `raw` are lines by the name of their series, drawn faint beneath it: what
    it was before smoothing. `height` is that of the plot itself. Points that are not finite are left out, and with
    `log_x` those whose x is not positive; a chart without points says so.
    """
    drawn = {name: _drawable(points, log_x) for name, points in series.items()}
    faint = {name: _drawable(points, log_x) for name, points in raw.items() if name in series}
    everything = [point for points in (*drawn.values(), *faint.values()) for point in points]
    shown = {label: x for label, x in marks.items() if abs(x) < LARGEST and (x > 0 or not log_x)}
    xs = [x for x, _ in everything] + list(shown.values()) * bool(everything)
    legend = _legend_lines(list(series)) if len(series) > 1 else []
    across = axis(xs, LEFT, WIDTH - RIGHT, 8, log_x)
    labels = _mark_levels(shown, across) if everything else []
    label_y = 52 + LINE_HEIGHT * len(legend) + 4 * bool(legend)
    top = label_y + 14 + 15 * (1 + max((level for *_, level in labels), default=-1))
    up = axis([y for _, y in everything], top + height, top, max(3, height // 55), False, is_padded=True)
    body = [
        f'<text class="title" x="24" y="30">{escape(title)}</text>',
        *_legend(legend, list(series)),
        f'<text x="24" y="{label_y}">{escape(y_label)}</text>',
        *(_axes(across, up, x_label) if everything else _no_points(across, up)),
        *(_marks(labels, across, up)),
        *(_line(faint[name], number, across, up, is_faint=True) for number, name in enumerate(series) if name in faint),
        *(_line(points, number, across, up) for number, points in enumerate(drawn.values())),
    ]
    return _svg(body, top + height + BOTTOM, title)


def page(charts: Sequence[str]) -> str:
    """Several charts of this module under each other, as one SVG text."""
    heights = [int(chart.split('height="', 1)[1].split('"', 1)[0]) for chart in charts]
    starts = [sum(heights[:number]) for number in range(len(charts))]
    moved = [chart.replace("<svg ", f'<svg y="{start}" ', 1) for chart, start in zip(charts, starts, strict=True)]
    return _svg(moved, sum(heights), "")


def _svg(body: Iterable[str], height: int, title: str) -> str:
    named = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'role="img">{named}<style>{_STYLE}</style><rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _drawable(points: Points, log_x: bool) -> list[tuple[float, float]]:
    """The finite points, in order of x; of many that share a pixel column, the lowest and the highest."""
    kept = sorted((float(x), float(y)) for x, y in points if abs(x) < LARGEST and abs(y) < LARGEST)
    kept = [point for point in kept if point[0] > 0 or not log_x]
    if len(kept) <= 2 * WIDTH:
        return kept
    scale: Callable[[float], float] = math.log10 if log_x else float
    low, high = scale(kept[0][0]), scale(kept[-1][0])
    columns = groupby(kept, lambda point: int((scale(point[0]) - low) / ((high - low) or 1) * WIDTH))
    thinned = []
    for _, group in columns:
        column = list(group)
        ends = {min(column, key=lambda point: point[1]), max(column, key=lambda point: point[1])}
        thinned += sorted(ends)
    return thinned


def axis(values: Sequence[float], first: float, last: float, num: int, is_log: bool, is_padded: bool = False) -> Axis:
    """An axis that holds the values, with about `num` round ticks; a single value stands in the middle."""
    low, high = (min(values), max(values)) if values else (1.0, 2.0)
    if is_log:
        low, high = (low, high) if high > low * 1.0001 else (low / 2, high * 2)
        return Axis(low, high, _log_ticks(low, high), first, last, True)
    spread = high - low
    if spread <= 1e-9 * max(abs(low), abs(high)):
        spread = abs(low) or 1.0
        low, high = low - spread / 2, high + spread / 2
    elif is_padded:
        low = 0.0 if 0 <= low < 0.3 * high else low - 0.05 * spread
        high += 0.05 * spread * (high != 0)
    step = _round_step((high - low) / num)
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ticks = tuple(float(f"{number * step:.12g}") for number in numbers)
    return Axis(low, high, ticks, first, last)


def _round_step(rough: float) -> float:
    """The smallest of 1, 2, 2.5, 5, 10 times a power of ten that is not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))


def _log_ticks(low: float, high: float) -> tuple[float, ...]:
    """Powers of ten in the range, with 2 and 5 times them where there are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if math.log10(high / low) < 3 else (1,)
    ticks = [float(f"{factor}e{power}") for power in powers for factor in factors]
    return tuple(tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9))


def written(ticks: Sequence[float], is_log: bool = False) -> list[str]:
    """The ticks as text: as many decimals as they need, and the same for all; powers where they are far from 1."""
    largest = max(map(abs, ticks), default=0.0)
    if 0 < largest < 1e-3 or largest >= 1e7 or (is_log and (min(ticks, default=1) < 1e-3 or largest >= 1e5)):
        return [_power(tick) for tick in ticks]
    if is_log:
        return [f"{tick:,.10g}" for tick in ticks]
    gap = min((b - a for a, b in pairwise(ticks)), default=largest or 1.0)
    decimals = next((d for d in range(13) if abs(round(gap, d) - gap) < 1e-9 * gap), 13) if gap < 1e6 else 0
    return [f"{tick:,.{decimals}f}".replace("-", "−") for tick in ticks]


def _power(value: float) -> str:
    """`2e-4`; 0 and 1 as they are."""
    if value in (0, 1):
        return f"{value:g}"
    mantissa, power = f"{value:.11e}".split("e")
    return f"{float(mantissa):.11g}e{int(power)}"


def _width(text: str) -> float:
    """About how wide a text is, at 12 pixels."""
    return sum(12.5 if unicodedata.east_asian_width(letter) in "WF" else 6.9 for letter in text)


def _axes(across: Axis, up: Axis, x_label: str) -> list[str]:
    """Horizontal grid lines, short vertical ticks, and what they say."""
    lines = []
    for tick, text in zip(up.ticks, written(up.ticks), strict=True):
        y = up.place(tick)
        lines.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e6e9ed"/>')
        lines.append(f'<text x="{LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    lines.append(f'<path d="M{LEFT} {up.first:.1f}H{WIDTH - RIGHT}" stroke="#9aa4b0"/>')
    for tick, text in zip(across.ticks, written(across.ticks, across.is_log), strict=True):
        x = across.place(tick)
        lines.append(f'<path d="M{x:.1f} {up.first:.1f}v5" stroke="#9aa4b0"/>')
        lines.append(f'<text x="{x:.1f}" y="{up.first + 20:.1f}" text-anchor="middle">{text}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    return [*lines, f'<text x="{middle:g}" y="{up.first + 40:.1f}" text-anchor="middle">{escape(x_label)}</text>']


def _no_points(across: Axis, up: Axis) -> list[str]:
    x, y = (across.first + across.last) / 2, (up.first + up.last) / 2
    return [f'<text x="{x:g}" y="{y:g}" text-anchor="middle">no points to draw</text>']


def _legend_lines(names: Sequence[str]) -> list[list[tuple[int, float]]]:
    """(number of the series, x) of each entry, in lines that fit the width."""
    lines: list[list[tuple[int, float]]] = [[]]
    x = 24.0
    for number, name in enumerate(names):
        width = 30 + _width(name) + 22
        if lines[-1] and x + width > WIDTH - RIGHT:
            lines.append([])
            x = 24.0
        lines[-1].append((number, x))
        x += width
    return lines


def _legend(lines: list[list[tuple[int, float]]], names: Sequence[str]) -> list[str]:
    entries = []
    for row, line in enumerate(lines):
        y = 52 + LINE_HEIGHT * row
        for number, x in line:
            entries.append(f'<path d="M{x:.1f} {y - 4}h22" {_stroke(number)} stroke-width="3"/>')
            entries.append(f'<text class="name" x="{x + 30:.1f}" y="{y}">{escape(names[number])}</text>')
    return entries


def _mark_levels(marks: Mapping[str, float], across: Axis) -> list[tuple[str, float, float, int]]:
    """(label, pixel of the line, left end of the label, level) of each mark: labels that would touch are stacked."""
    ends: list[float] = []
    placed = []
    for label, value in sorted(marks.items(), key=lambda mark: mark[1]):
        x, width = across.place(value), _width(label)
        left = min(max(x - width / 2, 24.0), WIDTH - 8 - width)
        level = next((level for level, end in enumerate(ends) if end + 8 <= left), len(ends))
        ends[level : level + 1] = [left + width]
        placed.append((label, x, left, level))
    return placed


def _marks(labels: Iterable[tuple[str, float, float, int]], across: Axis, up: Axis) -> list[str]:
    lines, texts = [], []
    for label, x, left, level in labels:
        y = up.last - 6 - 15 * level
        lines.append(f'<path d="M{x:.1f} {y + 3:.1f}V{up.first:.1f}" stroke="#9aa4b0" stroke-dasharray="3 3"/>')
        texts.append(f'<text class="mark" x="{left:.1f}" y="{y:.1f}">{escape(label)}</text>')
    return lines + texts


def _stroke(number: int) -> str:
    dash = DASHES[number // len(COLORS) % len(DASHES)]
    return f'stroke="{COLORS[number % len(COLORS)]}"{dash}'


def _line(points: Points, number: int, across: Axis, up: Axis, is_faint: bool = False) -> str:
    places = [(across.place(x), up.place(y)) for x, y in points]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    look = 'stroke-width="1" stroke-opacity="0.3"' if is_faint else 'stroke-width="2"'
    drawn = f'<path d="{path}" {_stroke(number)} {look}/>' if len(places) > 1 else ""
    if is_faint or not 0 < len(places) <= NUM_DOTTED:
        return drawn
    color = COLORS[number % len(COLORS)]
    return drawn + "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places)
