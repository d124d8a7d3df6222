"""Histograms: bins of round width, as SVG for a page and as bars for a terminal."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

NUM_BINS = 24
WIDTH, HEIGHT, BOTTOM, TOP = 480, 150, 20, 16
ROUND = (1, 2, 5)
MAX_EMPTY = 2


class Bin(NamedTuple):
    """How many values lie from `low` to `high`, both included."""

    low: int
    high: int
    num: int


def bins(values: Iterable[int], num_bins: int = NUM_BINS) -> list[Bin]:
    """At most `num_bins` + 1 bins of equal, round width that hold all values; none for no values."""
    numbers = list(values)
    if not numbers:
        return []
    width = _round_width(max(numbers) + 1, num_bins)
    counts = [0] * (max(numbers) // width + 1)
    for number in numbers:
        counts[number // width] += 1
    return [Bin(index * width, (index + 1) * width - 1, count) for index, count in enumerate(counts)]


def _round_width(extent: int, num_bins: int) -> int:
    """The least of 1, 2, 5, 10, 20, ... of which `num_bins` cover the extent."""
    power = 1
    while True:
        for step in ROUND:
            if step * power * num_bins >= extent:
                return step * power
        power *= 10


def histogram(values: Sequence[int], caption: str, limit: int | None = None, style: str = "") -> str:
    """A figure with an SVG of bars; a dashed line where the limit lies inside of what is drawn."""
    found = bins(values)
    if not found:
        return ""
    most = max(each.num for each in found)
    extent = found[-1].high + 1
    bars = "".join(_bar(each, extent, most, style) for each in found if each.num)
    line = _limit(limit, extent) if limit is not None and limit < extent else ""
    ordered = sorted(values)
    told = f"least {ordered[0]:,}, median {ordered[len(ordered) // 2]:,}, most {ordered[-1]:,}"
    floor = HEIGHT - BOTTOM
    return (
        f"<figure><figcaption>{caption}: {told}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{caption}: {told}">{bars}'
        f'<line class="axis" x1="0" y1="{floor}" x2="{WIDTH}" y2="{floor}"/>{line}'
        f'<text x="0" y="{HEIGHT - 6}">0</text><text x="{WIDTH}" y="{HEIGHT - 6}" text-anchor="end">{extent:,}</text>'
        f'<text x="0" y="10">{most:,}</text></svg></figure>'
    )


def _bar(each: Bin, extent: int, most: int, style: str) -> str:
    x, width = WIDTH * each.low / extent, WIDTH * (each.high + 1 - each.low) / extent
    # A single conversation among thousands must still be seen.
    height = max((HEIGHT - BOTTOM - TOP) * each.num / most, 1.5)
    return (
        f'<rect class="bar {style}" x="{x + 0.75:.2f}" y="{HEIGHT - BOTTOM - height:.2f}" '
        f'width="{max(width - 1.5, 1):.2f}" height="{height:.2f}">'
        f"<title>{each.low:,} to {each.high:,}: {each.num:,}</title></rect>"
    )


def _limit(limit: int, extent: int) -> str:
    x = WIDTH * limit / extent
    side, anchor = (x - 4, "end") if x > WIDTH / 2 else (x + 4, "start")
    return (
        f'<line class="limit" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}"/>'
        f'<text x="{side:.1f}" y="10" text-anchor="{anchor}">max_tokens {limit:,}</text>'
    )


def bars(values: Iterable[int], num_bins: int = 12, width: int = 32) -> list[str]:
    """The same for a terminal: a line for each bin, `low to high  number  bar`; an ellipsis for many empty ones."""
    found = bins(values, num_bins)
    most = max((each.num for each in found), default=0)
    labels = [f"{each.low:,} to {each.high:,}" for each in found]
    wide, numbers = max(map(len, labels), default=0), len(f"{most:,}")
    lines: list[str] = []
    for is_empty, group in groupby(zip(labels, found, strict=True), key=lambda pair: pair[1].num == 0):
        some = [
            f"{label:>{wide}}  {each.num:>{numbers},}  {_blocks(each.num / most, width)}".rstrip()
            for label, each in group
        ]
        lines += [f"{'...':>{wide}}"] if is_empty and len(some) > MAX_EMPTY else some
    return lines


def _blocks(share: float, width: int) -> str:
    eighths = round(share * width * 8) or (1 if share else 0)
    return "█" * (eighths // 8) + ("▏▎▍▌▋▊▉"[eighths % 8 - 1] if eighths % 8 else "")
