"""What a running chat template may use: how much it makes, and how long it takes.

A template is a program that somebody else wrote. Two counters run while it does:

- `volume`, in units of four bytes, counts what it makes: a character is one unit, an item of a list is ITEM units.
  Nothing is ever taken off again, so the volume bounds the memory, whatever the template keeps.
- `work` counts steps, a few nanoseconds each. It has a bound of its own, and says when to look at the clock.

The bounds grow with the conversation: those below are the least, and each unit of what the template is given adds to
them. Real templates make up to ten units of one; Gemma 4's goes through all messages for each message.
"""

import sys
import time
from collections.abc import ItemsView, KeysView, ValuesView
from typing import Any

from jinja2.utils import Namespace

VOLUME, VOLUME_EACH = 32_000_000, 256
"""Units, so 128 MB at most for a conversation of up to 125,000 characters."""
OUTPUT, OUTPUT_EACH = 16_000_000, 128
"""Characters of the text that comes out, so 64 MB at most."""
WORK, WORK_EACH = 4_000_000_000, 160_000
SECONDS, SECONDS_EACH = 2.0, 0.000_08
"""Processor seconds of the thread that renders, so that a busy machine refuses nothing that an idle one accepts."""
ITEM = 24
"""The volume of an item of a list or mapping beside its characters: the reference, and an object of its own."""
WIDTH = 10_000
"""The longest padding, in characters, that a format may ask for."""
BITS = 16_384
"""The longest whole number."""

_STEP = 1_000_000
_NUMBERS = frozenset({int, float, bool, type(None)})
_COLLECTIONS = (tuple, set, frozenset, KeysView, ValuesView, ItemsView)


class LimitReached(Exception):
    """A template asks for more than it may have. Nothing in Jinja catches this one."""


class Meter:
    """Counts what one rendering uses; `start` begins the next."""

    __slots__ = ("_given", "_inputs", "_started", "_volume_mark", "_work_mark", "volume", "work")

    def __init__(self) -> None:
        self.start(None)

    def start(self, inputs: Any) -> None:
        """Begin a rendering of `inputs`, which are weighed only where the least bounds do not do."""
        self.volume = self.work = 0
        self._volume_mark = self._work_mark = _STEP
        self._given: int | None = None
        self._started: float | None = None
        self._inputs = inputs

    def hold(self, units: int) -> None:
        """Count what is made."""
        self.volume += units
        if self.volume > self._volume_mark:
            self._look()

    def spend(self, steps: int) -> None:
        """Count steps."""
        self.work += steps
        if self.work > self._work_mark:
            self._look()

    def room(self, units: int) -> None:
        """Refuse now what would be too much if it were made; counts nothing."""
        if self.volume + units > VOLUME:
            self._keep_volume(self.volume + units)

    def weigh(self, value: Any) -> int:
        """The volume of a value written out, contents of contents included; raises LimitReached beyond the bound."""
        units = weigh(value, VOLUME)
        if units > VOLUME and self._bound(VOLUME, VOLUME_EACH) > VOLUME:
            units = weigh(value, int(self._bound(VOLUME, VOLUME_EACH)))
        if units > VOLUME:
            self._keep_volume(units)
        return units

    def keep_output(self, length: int) -> None:
        """Refuse a text that is too long."""
        self._keep(length, OUTPUT, OUTPUT_EACH, "characters of text")

    def _keep_volume(self, units: int) -> None:
        self._keep(units, VOLUME, VOLUME_EACH, "units of memory, of four bytes each")

    def _keep(self, amount: float, least: float, each: float, what: str) -> None:
        if amount > least and amount > self._bound(least, each):
            raise LimitReached(f"it asks for more than {self._bound(least, each):,.0f} {what}")

    def _bound(self, least: float, each: float) -> float:
        if self._given is None:
            self._given = weigh(self._inputs, sys.maxsize)
        return max(least, self._given * each)

    def _look(self) -> None:
        now = time.thread_time()
        self._started = now if self._started is None else self._started
        self._keep(now - self._started, SECONDS, SECONDS_EACH, "seconds")
        self._keep_volume(self.volume)
        self._keep(self.work, WORK, WORK_EACH, "steps")
        self._volume_mark = self.volume + _STEP
        self._work_mark = self.work + _STEP


def weigh(value: Any, limit: int) -> int:
    """The volume of a value written out, in units, or some number above `limit`.

    What stands in a list several times counts several times, as in its text: a few lists in lists can stand for
    more text than any machine can hold. So this never goes on beyond the limit.
    """
    if type(value) is str:
        return len(value)
    units = 0
    waiting = [value]
    while waiting and units <= limit:
        item = waiting.pop()
        units += ITEM
        kind = type(item)
        if kind is str:
            units += len(item)
        elif kind is int:
            units += item.bit_length() // 3
        elif kind is range:
            units += len(item) * ITEM
        elif kind not in _NUMBERS:
            parts = item if kind is list or kind is tuple else _parts(item)
            if units + len(parts) * ITEM > limit:
                return units + len(parts) * ITEM
            waiting += parts
    return units


def _parts(item: Any) -> Any:
    """What a value other than a text, a number, a list or a tuple is made of."""
    if isinstance(item, dict):
        return [*item, *item.values()]
    if isinstance(item, Namespace):
        return [*object.__getattribute__(item, "_Namespace__attrs").values()]
    if isinstance(item, str):  # text marked as HTML, whose operators escape what they are given
        return [str(item)] * 6
    return item if isinstance(item, _COLLECTIONS) else ()
