"""The phrasing families for training: a frame, a frequency, a time of day, and a task, freely combined."""

from __future__ import annotations

from random import Random

import frames
import slots
import wording
from schedules import Schedule

# How often, for the kinds that fire at times of day. Each entry can stand before or after the time.
FREQUENCIES: dict[str, tuple[str, ...]] = {
    "daily": (
        "every day", "each day", "daily", "once a day", "all days of the week", "every day of the week",
        "on every day", "every single day", "once every day", "on a daily basis", "day after day",
        "Monday through Sunday", "on all seven days of the week", "seven days out of seven", "on any day",
        "every day including weekends", "on weekdays and weekends alike", "every day, rain or shine",
        "every day, holidays included", "once per day", "without a day off",
        "on weekdays, Saturdays and Sundays", "on each day of the week", "on all days", "the whole week",
        "from Monday to Sunday", "no matter which day", "every day of every week",
    ),
    "weekdays": (
        "every weekday", "on weekdays", "each weekday", "weekdays", "Monday to Friday",
        "Monday through Friday", "Mon-Fri", "from Monday to Friday", "Mondays to Fridays", "on every weekday",
        "on weekdays only", "every working day", "on all work days", "Monday till Friday",
        "five days a week, Monday to Friday", "every day except Saturday and Sunday",
        "every day except on weekends", "on every business day", "during the week, Monday to Friday",
        "on days Monday through Friday", "M-F", "every day of the working week", "Mon to Fri",
        "on each workday", "every day but Saturday and Sunday", "daily without weekends",
        "daily, weekends excluded,", "not on Saturdays, not on Sundays, but on all other days,",
        "on the five working days", "on school days", "Monday, Tuesday, Wednesday, Thursday and Friday",
        "Mon, Tue, Wed, Thu, Fri", "on weekdays, not on weekends,", "each day from Monday to Friday",
    ),
    "weekend": (
        "every weekend day", "on weekends", "at the weekend", "Saturday and Sunday",
        "on Saturdays and Sundays", "each Saturday and Sunday", "Sat and Sun", "Sat/Sun", "on weekend days",
        "weekends", "weekends only", "every Saturday and Sunday", "on both Saturday and Sunday",
        "Saturday & Sunday", "on weekends only", "on Sat and Sun", "on the two days of the weekend",
        "every Sunday and Saturday", "during weekends", "all weekend long, so Saturday and Sunday,",
        "not on weekdays, only on the weekend,", "on days off, Saturday and Sunday,",
        "on Saturday and on Sunday", "on Sat + Sun", "never Monday to Friday, only Saturday and Sunday,",
        "on Saturday, and on Sunday too,",
    ),
    "weekly": (
        "every {d}", "on {ds}", "each {d}", "{ds}", "weekly on {d}", "once a week on {d}",
        "every week on {d}", "on {d} every week", "on every {d}", "on {d}", "each week on {d}",
        "on a weekly basis on {ds}", "on {ds} only", "every single {d}", "weekly on {ds}",
        "one day a week, {d},", "once every {d}", "whenever it is {d}", "all {ds}", "every {d} of the month",
        "{d} of every week", "on each {d} of the year", "only on {ds}", "this and every {d}",
        "not daily, only on {ds}", "{d}, weekly,", "once per week, {d},", "on no day but {d}",
        "every week when it is {d}", "{ds}, every week,", "always on {ds}", "as always on {d}",
    ),
    "days": (
        "on {dl}", "every {dl}", "on {dls}", "{dls}", "each {dl}", "on {dl} every week", "every week on {dl}",
        "on {dl} only", "only on {dls}", "weekly on {dl}", "on the days {dl}", "every {dl} of the week",
        "from the days of the week only {dl}", "each week on {dl}", "{dl}", "{dl} each week",
        "on these days: {dl},", "every single {dl}", "all {dls}", "for {dl}", "not daily, only on {dl}",
        "always on {dl}", "on no other days than {dls}", "whenever it is {dl}", "weekly: {dl},",
        "these days: {dl};", "for every {dl}",
    ),
    "monthly": (
        "on the {dom} of every month", "on the {dom} of each month", "every month on the {dom}",
        "monthly on the {dom}", "on the {dom} of the month", "each month on the {dom}",
        "every {dom} of the month", "on the {dom}, every month,", "once a month on the {dom}",
        "the {dom} of every month", "on day {domn} of every month", "on the {dom} monthly",
        "on day {domn} of the month", "every month, on the {dom}", "on every {dom} of the month",
        "on the {dom}", "on the {dom} day of each month", "on day number {domn} of each month",
        "each {dom} of the month", "on a monthly basis, on the {dom},", "in every month on the {dom}",
        "monthly, day {domn},", "the {dom}, monthly,", "{dom} of the month",
        "on the {dom}, no matter which month,", "twelve times a year, on the {dom},", "when it is the {dom}",
        "not weekly but monthly, on the {dom},", "always on the {dom}", "the {dom} of each month",
        "the {dom} of the month", "on date {domn} of each month",
    ),
    "yearly": (
        "every year on {mon} {dom}", "on {mon} {domn} every year", "on {mon} {dom} each year",
        "every {mon} {dom}", "yearly on the {dom} of {mon}", "once a year on {mon} {domn}",
        "on the {dom} of {mon}", "each year on {domn} {mon}", "annually on {mon} {dom}",
        "every year on the {dom} of {mon}", "on {mon} {domn}", "each {mon} {domn}",
        "on {domn} {mon} every year", "every {dom} of {mon}", "once every year, on {mon} {dom},",
        "yearly on {mon} {domn}", "in {mon} on the {dom}", "in {mon}, day {domn},",
        "one day a year, {mon} {dom},", "on {domn} {mon} of any year", "{mon} {dom}", "{domn} {mon}",
        "{mon} {domn}, yearly,", "when it is {mon} {dom}", "not monthly, only on {mon} {dom},",
        "always on {mon} {domn}", "on the {dom} day of {mon}", "every {domn} {mon}", "yearly: {mon} {domn},",
    ),
}  # fmt: skip

# Where the part of the day belongs to the day: "every Monday evening at 7".
PARTS_OF_DAY: dict[str, tuple[str, ...]] = {
    "daily": (
        "every {part} at {c}", "each {part} at {c}", "{c} every {part}", "{c} each {part}",
        "daily, {part}, {c}", "at {c} every single {part}",
    ),
    "weekdays": (
        "every weekday {part} at {c}", "weekday {part}s at {c}", "on weekday {part}s at {c}",
        "{c} each weekday {part}", "Monday to Friday, {part}s at {c}", "at {c} on every working day {part}",
    ),
    "weekend": (
        "weekend {part}s at {c}", "on weekend {part}s at {c}", "Saturday and Sunday {part}s at {c}",
        "{c} each weekend {part}", "at {c} on Saturday and Sunday {part}",
    ),
    "weekly": (
        "every {d} {part} at {c}", "{d} {part}s at {c}", "on {d} {part}s at {c}", "each {d} {part} at {c}",
        "{c} on {d} {part}s", "at {c} each {d} {part}", "{d} {part}, {c}, every week",
    ),
    "days": (
        "{dl} {part}s at {c}", "on {dl} {part}s at {c}", "{c} on {dl} {part}s", "every {dl} {part} at {c}",
    ),
}  # fmt: skip

TIMES = (
    "at {t}", "at {t}", "at {t}", "at {t}", "at {t}", "at {t}", "at {t} sharp", "at exactly {t}", "@ {t}",
    "for {t}", "at {t} on the dot", "when it is {t}", "when the clock shows {t}", "{t}", "{t}",
    "at the time {t}", "at precisely {t}", "start time {t}", "when it's {t}", "once it is {t}",
    "as the clock strikes {t}", "{t} exactly", "time {t}", "{t} on the clock", "start {t}",
)  # fmt: skip


def whole(frequency: str, moment: str, rng: Random) -> str:
    """Frequency and time in one phrase, in either order, with or without a comma."""
    first, second = (frequency, moment) if rng.random() < 0.55 else (moment, frequency)
    separator = ", " if rng.random() < 0.15 else " "
    return f"{first}{separator}{second}".strip(" ,")


def timed(schedule: Schedule, rng: Random) -> str:
    """A request for a schedule that fires at times of day."""
    merged = PARTS_OF_DAY.get(schedule.kind, ())
    if merged and wording.dial(schedule.hour[0], schedule.minute[0], rng) and rng.random() < 0.13:
        return frames.whole_frame(slots.fill(rng.choice(merged), schedule, rng), rng)
    frequencies = [text for text in FREQUENCIES[schedule.kind] if slots.fits(text, schedule)]
    frequency = slots.fill(rng.choice(frequencies), schedule, rng).strip()
    template = rng.choice(TIMES)
    moment, plain = slots.fill(template, schedule, rng), slots.fill("{t}", schedule, rng)
    text = frames.frame(rng, parted=bool(frequency)).format(
        w=whole(frequency, moment, rng),
        F=frequency.strip(","),
        T=moment,
        t=plain,
        task=rng.choice(frames.TASKS),
        noun=rng.choice(frames.NOUNS),
    )
    return text.replace(",,", ",").replace(",.", ".").replace(",?", "?").replace(",:", ":")
