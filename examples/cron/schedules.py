"""Schedules as values, and the one cron expression that each of them maps to."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

WEEKDAYS = (1, 2, 3, 4, 5)
WEEKEND = (0, 6)
MINUTE_STEPS = (2, 3, 4, 5, 6, 10, 12, 15, 20, 30)
HOUR_STEPS = (2, 3, 4, 6, 8, 12)
MONTH_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True)
class Schedule:
    """A set of moments. An empty tuple leaves that field open, as `*` does in cron.

    `every` is the step of the kinds "minutes" and "window" (in minutes, 60 meaning once an hour) and of
    the kind "hours" (in hours). `window` holds the first and the last hour, both included.
    """

    kind: str
    minute: tuple[int, ...] = ()
    hour: tuple[int, ...] = ()
    date: tuple[int, ...] = ()
    month: tuple[int, ...] = ()
    day: tuple[int, ...] = ()
    every: int = 0
    window: tuple[int, int] = (0, 23)

    @property
    def cron(self) -> str:
        """The canonical five-field cron expression."""
        return " ".join((minute_field(self), hour_field(self), values(self.date), values(self.month), values(self.day)))

    @property
    def times(self) -> tuple[tuple[int, int], ...]:
        """The times of day as (hour, minute) pairs, in order."""
        return tuple((hour, minute) for hour in self.hour for minute in self.minute)


def minute_field(schedule: Schedule) -> str:
    """The first field of the expression."""
    if schedule.kind in ("minutes", "window") and schedule.every < 60:
        return "*" if schedule.every == 1 else f"*/{schedule.every}"
    return values(schedule.minute)


def hour_field(schedule: Schedule) -> str:
    """The second field of the expression."""
    if schedule.kind == "window":
        return f"{schedule.window[0]}-{schedule.window[1]}"
    if schedule.kind == "hours":
        return f"*/{schedule.every}"
    return values(schedule.hour)


def values(numbers: tuple[int, ...]) -> str:
    """`*` for no restriction, `a-b` for an unbroken run of three or more, otherwise a list."""
    if not numbers:
        return "*"
    ordered = sorted(set(numbers))
    if len(ordered) >= 3 and ordered[-1] - ordered[0] == len(ordered) - 1:
        return f"{ordered[0]}-{ordered[-1]}"
    return ",".join(str(number) for number in ordered)


def sample_time(rng: Random) -> tuple[int, int]:
    """A time of day: any hour, a minute that is a multiple of five."""
    hour = rng.choice((*range(24), *range(5, 23), *range(6, 20)))
    roll = rng.random()
    if roll < 0.45:
        return hour, 0
    if roll < 0.65:
        return hour, 30
    if roll < 0.85:
        return hour, rng.choice((15, 45))
    return hour, rng.randrange(5, 60, 5)


def sample_days(rng: Random) -> tuple[int, ...]:
    """Several days of the week or a run of them, but neither the working days nor the weekend."""
    while True:
        if rng.random() < 0.2:
            first, last = sorted(rng.sample(range(7), 2))
            days = tuple(range(first, last + 1))
        else:
            days = tuple(sorted(rng.sample(range(7), 2)))
        if len(days) in range(2, 7) and days not in (WEEKDAYS, WEEKEND):
            return days


def sample_date(rng: Random) -> tuple[int, int]:
    """A month and a day that exists in it, every year."""
    month = rng.randint(1, 12)
    return month, rng.randint(1, MONTH_LENGTHS[month - 1])


def some_days(rng: Random, open_share: float) -> tuple[int, ...]:
    """No restriction with the given probability, otherwise weekdays, the weekend, or one day."""
    if rng.random() < open_share:
        return ()
    return rng.choice((WEEKDAYS, WEEKDAYS, WEEKEND, (rng.randrange(7),)))


def at_time(kind: str, rng: Random, **fields: tuple[int, ...]) -> Schedule:
    """A schedule of the given kind at one sampled time of day."""
    hour, minute = sample_time(rng)
    return Schedule(kind, (minute,), (hour,), **fields)


def sample_hourly(rng: Random) -> Schedule:
    """One fixed minute of every hour, sometimes on certain days only."""
    return Schedule("hourly", (rng.randrange(0, 60, 5),), day=some_days(rng, 0.8))


def sample_hours(rng: Random) -> Schedule:
    """Every N hours, on the hour, sometimes on certain days only."""
    return Schedule("hours", (0,), every=rng.choice(HOUR_STEPS), day=some_days(rng, 0.5))


def sample_minutes(rng: Random) -> Schedule:
    """Every N minutes, sometimes on certain days only."""
    return Schedule("minutes", every=rng.choice((1, *MINUTE_STEPS)), day=some_days(rng, 0.5))


def sample_window(rng: Random) -> Schedule:
    """Every N minutes, or once an hour, from one hour of the day through another."""
    first = rng.randint(1, 19)
    last = rng.randint(first + 2, 23)
    every = rng.choice((5, 10, 15, 20, 30, 60))
    minute = (0,) if every == 60 else ()
    return Schedule("window", minute, day=some_days(rng, 0.4), every=every, window=(first, last))


def sample_monthly(rng: Random) -> Schedule:
    """One date of every month."""
    return at_time("monthly", rng, date=(rng.randint(1, 28),))


def sample_yearly(rng: Random) -> Schedule:
    """One date of every year."""
    month, date = sample_date(rng)
    return at_time("yearly", rng, date=(date,), month=(month,))


SAMPLERS = {
    "daily": lambda rng: at_time("daily", rng),
    "weekdays": lambda rng: at_time("weekdays", rng, day=WEEKDAYS),
    "weekend": lambda rng: at_time("weekend", rng, day=WEEKEND),
    "weekly": lambda rng: at_time("weekly", rng, day=(rng.randrange(7),)),
    "days": lambda rng: at_time("days", rng, day=sample_days(rng)),
    "monthly": sample_monthly,
    "yearly": sample_yearly,
    "minutes": sample_minutes,
    "hours": sample_hours,
    "hourly": sample_hourly,
    "window": sample_window,
}
KINDS = tuple(SAMPLERS)


def sample(kind: str, rng: Random) -> Schedule:
    """A random schedule of one kind."""
    return SAMPLERS[kind](rng)
