"""Ordinary schedules whose wording comes close to what cron cannot express."""

from __future__ import annotations

NEAR_MISSES: dict[str, tuple[str, ...]] = {
    "daily": (
        "every day at {t}, holidays included", "daily at {t}, also on public holidays",
        "each day at {t}, not at sunrise but by the clock",
        "at {t} every day, this year and all the years to come", "no seconds needed: every day at {t}",
        "every day at {t}, never at random", "do not wait for an event, run every day at {t}",
        "every day at {t}, whether the last run has finished or not",
    ),
    "weekdays": (
        "weekdays at {t}, holidays or not", "every weekday at {t}, ignore holidays",
        "Monday to Friday at {t}, in every week of the year", "on weekdays at {t}, and yes, on holidays too",
    ),
    "weekend": (
        "every weekend at {t}, not every other one, both days", "Saturday and Sunday at {t} in all weeks",
    ),
    "weekly": (
        "every week on {d} at {t}, not every other week",
        "all {ds} of the month at {t}, not only the first one", "{t} every {d}, even weeks and odd weeks",
        "every {d} at {t}, not biweekly", "each {d} at {t}, including the last one of the month",
        "every single week, {d}, {t}", "every {d} at {t}, in every year",
        "{ds} at {t}, holidays do not matter",
    ),
    "monthly": (
        "on the {dom} of every month at {t}, whatever weekday that is",
        "on the {dom} of the month at {t}, not on its last day",
        "the {dom} of each month at {t}, in every year", "every month on the {dom} at {t}, even on a holiday",
    ),
    "yearly": (
        "on {mon} {dom} at {t}, every year, not just this one", "every year and forever: {mon} {domn} at {t}",
    ),
    "minutes": (
        "every {n} minutes, not seconds{on}", "every {n} minutes{on}, seconds do not matter",
        "not at random, every {n} minutes{on}", "no event, just every {n} minutes{on}",
    ),
    "hours": (
        "every {n} hours{on}, which divides a day evenly", "every {n} hours{on}, not seconds or minutes",
    ),
}  # fmt: skip
