"""Requests that five-field cron cannot express, with the fixed reason that answers each of them."""

from __future__ import annotations

from random import Random

import frames
import intervals
import wording
from schedules import sample_time

PREFIX = "Cron cannot express this: "
# The first text is the reason as trained; the others are accepted as naming the same reason.
REASONS: dict[str, tuple[str, ...]] = {
    "seconds": ("its smallest step is one minute.", "smallest unit is one minute", "no field for seconds"),
    "weeks": ("it cannot count weeks.", "cannot skip weeks"),
    "sun": ("it knows no sunrise or sunset.", "does not know sunrise or sunset"),
    "holidays": ("it cannot skip holidays.", "it knows no holidays", "does not know holidays"),
    "lastday": ("it cannot find the last day of a month.", "no last day of a month"),
    "nth": ("it cannot count weekdays within a month.", "cannot count weekdays in a month"),
}

FAMILIES: dict[str, tuple[str, ...]] = {
    "seconds": (
        "every {s} seconds", "every second", "each {s} seconds", "once per second", "every {s} sec",
        "every half minute", "every {s}s", "at {t} and {s} seconds", "twice a minute", "{s} seconds apart",
        "once every {s} seconds", "every day at {t} plus {s} seconds", "in steps of {s} seconds",
        "several times per minute", "interval: {s} seconds", "at second {s} of every minute",
    ),
    "weeks": (
        "every other week on {d} at {t}", "every two weeks on {ds} at {t}", "biweekly on {d} at {t}",
        "every second {d} at {t}", "every 3 weeks on {d} at {t}", "every fortnight at {t}",
        "every other {d} at {t}", "in even weeks on {d} at {t}", "on {ds} of odd weeks at {t}",
        "once in two weeks, {d}, {t}", "at {t} every fourth week on {d}", "{d} every 2nd week, {t}",
        "in calendar week {weekno} on {d} at {t}", "{t} on alternate {ds}",
    ),
    "sun": (
        "at sunrise", "at sunset", "every day at sunset", "{off} before sunrise", "{off} after sunset",
        "daily at dusk", "each day at dawn", "on weekdays at sunrise", "every {d} at sunset",
        "on {ds} {off} before sunset", "when the sun rises", "when the sun sets",
        "at the moment of sunrise in {mon}", "every evening when it gets dark",
        "every day, {off} after sunrise",
    ),
    "holidays": (
        "every weekday at {t} except holidays", "at {t} on weekdays, but not on public holidays",
        "every {d} at {t} unless it is a holiday", "daily at {t}, skip holidays",
        "Monday to Friday at {t}, no bank holidays", "on working days at {t}, excluding holidays",
        "at {t} every day that is not a holiday", "{ds} at {t} except on holidays",
        "on weekdays at {t}, leaving out national holidays", "every day at {t}, not on public holidays",
        "weekdays {t} without holidays",
    ),
    "lastday": (
        "on the last day of every month at {t}", "at {t} on the last day of the month",
        "at the end of every month, {t}", "every month on the last day at {t}",
        "on the last day of each month, at {t}", "monthly on the last day, {t}",
        "{t} on the final day of the month", "last day of the month, {t}",
        "on the day before the 1st of every month at {t}", "at {t} every last day of a month",
        "every month at its end, {t}", "two days before the end of each month at {t}",
    ),
    "nth": (
        "on the {nth} {d} of every month at {t}", "every {nth} {d} of the month at {t}",
        "at {t} on the last {d} of each month", "on the last {d} of the month at {t}",
        "monthly on the {nth} {d}, {t}", "the {nth} {d} of each month at {t}",
        "on the first working day of the month at {t}", "at {t}, {nth} {d} of the month",
        "each month's {nth} {d} at {t}", "every month on its {nth} {d} at {t}",
        "on the last weekday of every month at {t}", "at {t} every {nth} {d} in a month",
    ),
}  # fmt: skip


def details(rng: Random) -> dict[str, str]:
    """A value for every slot that a request beyond cron may use."""
    first = rng.randint(5, 15)
    window = wording.times(((first, 0), (first + rng.randint(2, 8), 0)), rng)
    day = rng.randrange(7)
    return {
        "t": wording.time(*sample_time(rng), rng),
        "a": window[0],
        "b": window[1],
        "d": wording.DAY_NAMES[day],
        "ds": wording.DAY_NAMES[day] + "s",
        "mon": rng.choice(wording.MONTH_NAMES),
        "dom": wording.ordinal(rng.randint(1, 28)),
        "domn": str(rng.randint(1, 28)),
        "s": str(rng.choice((2, 3, 4, 5, 10, 12, 15, 20, 25, 30, 35, 40, 45, 50))),
        "nth": rng.choice(("first", "second", "third", "fourth", "1st", "2nd", "3rd", "4th")),
        "off": rng.choice(("an hour", "half an hour", "ten minutes", "20 minutes", "two hours", "five minutes")),
        "weekno": str(rng.randint(2, 51)),
    }


def request(reason: str, template: str, rng: Random) -> tuple[str, list[str]]:
    """A request from a template, and the texts that name the reason, the trained one first."""
    values = details(rng)
    return template.format(**values), [text.format(**values) for text in REASONS[reason]]


def framed(reason: str, rng: Random) -> tuple[str, list[str]]:
    """A training request in one of the frames that ordinary schedules use too."""
    text, reasons = request(reason, rng.choice(FAMILIES[reason]), rng)
    text = frames.whole_frame(text, rng)
    return intervals.finish(text, rng), reasons
