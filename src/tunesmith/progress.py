"""One event becomes one line of metrics.jsonl and one refresh of the console bar.

Long work reports through a Progress; what it looks like is decided here and nowhere else. On a terminal it is a
bar that redraws itself; in a log file it is a plain line every few seconds.
"""

import json
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

LINE_SECONDS = 15.0
BAR_WIDTH = 24
NARROW_BAR = 8


def format_seconds(seconds: float) -> str:
    """`42s`, `3m05s` or `1h02m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def count(number: int, noun: str) -> str:
    """`1 step`, `1,200 steps`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def format_value(value: Any) -> str:
    """Counts with thousands separators, small floats in scientific notation, others with three decimals."""
    if isinstance(value, float):
        return f"{value:.1e}" if value != 0 and abs(value) < 1e-3 else f"{value:,.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


class Progress:
    """A bar for `total` units of work, with an optional metrics file.

    Use as a context manager; call `advance(units, **metrics)` for each event. `start` is where a resumed run
    begins, so that the time left is estimated from this process's own speed.
    """

    def __init__(
        self,
        label: str,
        total: int,
        *,
        start: int = 0,
        metrics_path: Path | None = None,
        stream: IO[str] | None = None,
    ) -> None:
        self.label = label
        self.total = total
        self.done = start
        self._start = start
        self._began = time.monotonic()
        self._last_line = self._began
        self._metrics_path = metrics_path
        self._metrics: IO[str] | None = None
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()

    def __enter__(self) -> Self:
        if self._metrics_path is not None:
            self._metrics_path.parent.mkdir(parents=True, exist_ok=True)
            self._metrics = self._metrics_path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._metrics is not None:
            self._metrics.close()
        if self._is_terminal:
            self._stream.write("\n")
            self._stream.flush()

    def advance(self, units: int = 1, shown: Mapping[str, Any] | None = None, **metrics: Any) -> None:
        """Record one event. `metrics` go to the file; `shown` (default: all metrics) goes to the console."""
        self.done += units
        if self._metrics is not None:
            self._metrics.write(json.dumps(metrics) + "\n")
            self._metrics.flush()
        self._draw(shown if shown is not None else metrics)

    def note(self, text: str) -> None:
        """Say one thing, on a line of its own."""
        self._stream.write(f"\r\x1b[2K{text}\n" if self._is_terminal else f"{text}\n")
        self._stream.flush()

    def _draw(self, shown: Mapping[str, Any]) -> None:
        now = time.monotonic()
        is_last = self.done >= self.total
        if not self._is_terminal and not is_last and now - self._last_line < LINE_SECONDS:
            return
        self._last_line = now
        line = self._line(now, shown)
        self._stream.write(f"\r\x1b[2K{line}" if self._is_terminal else line + "\n")
        self._stream.flush()

    def _line(self, now: float, shown: Mapping[str, Any]) -> str:
        """One line; on a narrow terminal the bar gets shorter, then the last facts are left out."""
        elapsed = now - self._began
        here = self.done - self._start
        left = elapsed / here * (self.total - self.done) if here else 0.0
        clock = f"{format_seconds(left)} left" if self.done < self.total else f"in {format_seconds(elapsed)}"
        done = f"{self.done:,}/{self.total:,}"
        width = shutil.get_terminal_size().columns - 1 if self._is_terminal else sys.maxsize
        facts = [f"{name} {format_value(value)}" for name, value in shown.items()]
        while facts and len("  ".join([f"{self.label:<9} {'':{NARROW_BAR}} {done}", clock, *facts])) > width:
            facts.pop()
        rest = "  ".join([done, clock, *facts])
        bar = self._bar(min(max(width - len(f"{self.label:<9}  {rest}"), NARROW_BAR), BAR_WIDTH))
        return f"{self.label:<9} {bar} {rest}"

    def _bar(self, width: int) -> str:
        filled = width * self.done // max(self.total, 1)
        return "━" * filled + "╌" * (width - filled)
