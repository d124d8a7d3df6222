"""Fill the slots of a phrasing template from a schedule."""

from __future__ import annotations

import re
import string
from functools import cache
from random import Random

import wording
from schedules import WEEKDAYS, WEEKEND, Schedule

PAST = {15: "quarter past", 30: "half past", 45: "quarter to"}
# The slots that say the step of a schedule.
COUNTS = frozenset({"n", "nf", "nth", "k"})


@cache
def names(template: str) -> frozenset[str]:
    """The slot names that a template uses."""
    return frozenset(name for _, name, _, _ in string.Formatter().parse(template) if name)


def fits(template: str, schedule: Schedule) -> bool:
    """Whether the template says everything about the schedule, and nothing else."""
    used = names(template)
    days_named = not schedule.day or schedule.kind in ("daily", "weekdays", "weekend", "weekly", "days")
    if not days_named and "on" not in used:
        return False
    if used & {"domn", "domw"} and len(schedule.date) != 1:
        return False
    if used & {"m", "mm"} and schedule.minute == (0,):
        return False
    if "pw" in used and schedule.minute[0] not in PAST:
        return False
    if schedule.kind == "hours" and not used & {"m", "mm"} and schedule.minute != (0,):
        return False
    if schedule.kind == "minutes" and schedule.every == 1:
        return not used & COUNTS
    if schedule.kind == "window":
        return bool(used & COUNTS) == (schedule.every < 60)
    return not (schedule.kind == "minutes" and not used & COUNTS)


def on_days(days: tuple[int, ...], rng: Random) -> str:
    """The days as an adverbial with a leading space, or nothing."""
    if not days:
        return ""
    if days == WEEKDAYS:
        choices = ("on weekdays", "Monday to Friday", "Mon-Fri", "Monday through Friday", "every weekday")
    elif days == WEEKEND:
        choices = ("on weekends", "at the weekend", "on Saturdays and Sundays", "on Saturday and Sunday")
    else:
        name = wording.DAY_NAMES[days[0]]
        choices = (f"on {name}s", f"on {name}s", f"every {name}", f"on {name[:3]}", f"each {name}")
    return " " + rng.choice(choices)


def fill(template: str, schedule: Schedule, rng: Random) -> str:
    """The template with its slots filled."""
    used = names(template)
    values: dict[str, str] = {}
    if schedule.hour:
        values["t"] = wording.times(schedule.times, rng)[0]
    if schedule.hour and used & {"part", "c"}:
        values["part"] = str(wording.part_of_day(schedule.hour[0])).split()[-1]
        values["c"] = str(wording.dial(*schedule.times[0], rng))
    if schedule.minute:
        values |= {"m": wording.number(schedule.minute[0], rng), "mm": f"{schedule.minute[0]:02d}"}
        values["pw"] = PAST.get(schedule.minute[0], "")
    if schedule.day:
        plural = wording.day_list(schedule.day, rng, plural=True)
        values |= {"dl": wording.day_list(schedule.day, rng), "dls": plural}
        values |= {"d": wording.day(schedule.day[0], rng), "ds": wording.DAY_NAMES[schedule.day[0]] + "s"}
        values["d3"] = wording.DAY_NAMES[schedule.day[0]][:3].lower()
    if schedule.date:
        values["dom"] = wording.join(wording.ordinals(schedule.date, rng), rng)
        values["domn"] = str(schedule.date[0])
    if schedule.month:
        name = wording.MONTH_NAMES[schedule.month[0] - 1]
        values["mon"] = name[:3] if rng.random() < 0.12 else name
    if schedule.every:
        values["n"] = wording.number(schedule.every, rng)
        values["nf"] = str(schedule.every)
        values["nth"] = wording.ordinal(schedule.every)
        values["k"] = str(60 // schedule.every)
    if schedule.kind == "window":
        first, last = schedule.window
        values["a"], values["b"] = wording.times(((first, 0), (last, 0)), rng)
    if "on" in used:
        values["on"] = on_days(schedule.day, rng)
    # A dotted "p.m." brings its own full stop.
    return re.sub(r"(?<=m)\.\.$|(?<=[ap]\.m)\.\.(?= )", ".", template.format(**values))
