"""What a user changes in a second turn, and how the training data say it."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import wording
from schedules import MINUTE_STEPS, WEEKDAYS, WEEKEND, Schedule, sample_time

# Which kinds of schedule each change applies to.
APPLIES: dict[str, tuple[str, ...]] = {
    "time": ("daily", "weekdays", "weekend", "weekly", "days", "monthly", "yearly"),
    "day": ("weekly", "days", "weekdays", "daily"),
    "weekdays": ("daily",),
    "weekend": ("daily", "weekdays"),
    "daily": ("weekdays", "weekend"),
    "step": ("minutes", "window"),
    "date": ("monthly",),
}
FAMILIES: dict[str, tuple[str, ...]] = {
    "time": (
        "{t}", "at {t}", "make it {t}", "make that {t}", "change the time to {t}", "{t} instead",
        "at {t} instead", "move it to {t}", "set the time to {t}", "I would rather have {t}", "use {t}",
        "same days, but at {t}", "{t} is better", "do it at {t}", "rather {t}", "same thing at {t}",
        "it should be {t}", "start at {t} instead", "the time is {t}", "let's say {t}",
    ),
    "day": (
        "make it {ds}", "make it {ds} instead", "on {ds} instead", "change the day to {d}", "only on {ds}",
        "{d} instead", "move it to {d}", "use {d}", "rather on {ds}", "same time, but on {ds}",
        "not then, on {ds}", "{ds} only", "it should be {d}", "every {d} instead", "switch to {d}",
        "{ds} are better", "just on {d}",
    ),
    "weekdays": (
        "and skip weekends", "skip the weekend", "only on weekdays", "not on weekends", "weekdays only",
        "but not on Saturday and Sunday", "Monday to Friday only", "without the weekend", "exclude weekends",
        "limit it to weekdays", "just Mon-Fri", "no weekends",
    ),
    "weekend": (
        "only on weekends", "weekends only", "on Saturday and Sunday instead", "make it weekends",
        "just Saturday and Sunday", "move it to the weekend", "not on weekdays, on weekends",
        "limit it to weekends",
    ),
    "daily": (
        "every day instead", "make it daily", "all seven days", "include every day", "run it every day",
        "every day of the week", "daily, please", "on all days instead",
    ),
    "step": (
        "every {n} minutes instead", "make it every {n} minutes", "change it to {n} minutes",
        "{n} minutes instead", "use {n} minutes", "each {n} minutes", "better every {n} minutes",
        "set the interval to {n} minutes", "only every {n} minutes", "every {n} min", "rather {n} minutes",
    ),
    "date": (
        "make it the {dom}", "on the {dom} instead", "move it to the {dom}", "the {dom} instead",
        "change the date to the {dom}", "use the {dom}", "rather on the {dom}", "the {dom} is better",
        "same time on the {dom}", "not then, on the {dom}",
    ),
}  # fmt: skip
FRAMES = (
    "{c}", "{c}", "{c}", "no, {c}", "actually {c}", "Actually, {c}.", "sorry, {c}", "{c} please",
    "please, {c}", "hm, {c}", "ok, {c}", "wait, {c}", "thanks, now {c}", "one change: {c}",
    "I changed my mind: {c}", "better: {c}", "correction: {c}", "on second thought, {c}", "{c}, sorry",
    "good, but {c}", "almost, {c}", "not quite: {c}", "could you change that? {c}",
    "{c}, everything else stays", "now {c}",
)  # fmt: skip


def revise(change: str, schedule: Schedule, rng: Random) -> tuple[Schedule, dict[str, str]] | None:
    """The schedule after a change, and the slots that say it; None where the change does not apply."""
    if schedule.kind not in APPLIES[change]:
        return None
    if change == "time":
        hour, minute = sample_time(rng)
        revised = replace(schedule, hour=(hour,), minute=(minute,))
        return None if revised == schedule else (revised, {"t": wording.time(hour, minute, rng)})
    if change == "day":
        day = rng.choice([day for day in range(7) if (day,) != schedule.day])
        revised = replace(schedule, kind="weekly", day=(day,))
        return revised, {"d": wording.DAY_NAMES[day], "ds": wording.DAY_NAMES[day] + "s"}
    if change == "step":
        step = rng.choice(MINUTE_STEPS)
        if schedule.every in (1, 60, step):
            return None
        return replace(schedule, every=step), {"n": str(step)}
    if change == "date":
        date = rng.choice([date for date in range(1, 29) if date not in schedule.date])
        return replace(schedule, date=(date,)), {"dom": wording.ordinal(date)}
    days = {"weekdays": WEEKDAYS, "weekend": WEEKEND, "daily": ()}[change]
    return replace(schedule, kind=change, day=days), {}


def framed(change: str, values: dict[str, str], rng: Random) -> str:
    """A correction as the training data word it."""
    text = rng.choice(FRAMES).format(c=rng.choice(FAMILIES[change]).format(**values))
    return text[0].upper() + text[1:] if rng.random() < 0.3 else text
