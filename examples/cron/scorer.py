"""Score an answer by its meaning: two cron expressions are equal when they fire at the same times."""

from __future__ import annotations

import re
from datetime import date, timedelta
from functools import cache, lru_cache

from croniter import croniter

LONGEST = 400
PREFIX = "cron cannot express this"
FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")
LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MONTHS = (
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
)  # fmt: skip
DAYS = (
    "sun", "mon", "tue", "wed", "thu", "fri", "sat",
)  # fmt: skip
NAMES = ((), (), (), MONTHS, DAYS)
PART = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/([0-9]+))?", re.ASCII)

Meaning = tuple[frozenset[int], frozenset[int], frozenset[tuple[int, int, int]]]


class NotCron(ValueError):
    """The text is no standard five-field cron expression; the message says why."""


def score(item: dict, completion: str) -> tuple[float, str]:
    """1.0 or 0.0 for a completion, and one sentence that explains it."""
    if not isinstance(completion, str):
        return 0.0, "the completion is not a text."
    if len(completion) > 4 * LONGEST:
        return 0.0, f"the completion is {len(completion)} characters long, far longer than any answer."
    text = unwrap(completion)
    if not text:
        return 0.0, "the completion is empty."
    answer = item["answer"]
    if answer["type"] == "refusal":
        return score_refusal(answer, text)
    return score_cron(answer["value"], text)


def unwrap(completion: str) -> str:
    """The completion without the white space and the backticks around it."""
    text = completion.strip()
    for fence in ("```", "`"):
        if len(text) > 2 * len(fence) and text.startswith(fence) and text.endswith(fence):
            return text[len(fence) : -len(fence)].strip()
    return text


def score_refusal(answer: dict, text: str) -> tuple[float, str]:
    """Whether a text says that cron cannot express the request, and names the right reason."""
    if not normal(text).startswith(PREFIX):
        return 0.0, f"answered {shown(text)} to a request that cron cannot express."
    reasons = [normal(reason) for reason in (answer["value"], *answer.get("aliases", ()))]
    padded = f" {normal(text)} "
    if any(f" {reason} " in padded for reason in reasons):
        return 1.0, "refused for the right reason."
    return 0.0, f"refused without the right reason, which is: {answer['value']}"


def normal(text: str) -> str:
    """Lower case, without punctuation, with single spaces."""
    return " ".join(re.sub(r"[^\w\s]|_", " ", text.lower()).split())


def score_cron(value: str, text: str) -> tuple[float, str]:
    """Whether a text is a cron expression that fires when the expected one does."""
    if normal(text).startswith(PREFIX):
        return 0.0, "refused an ordinary schedule."
    try:
        got = meaning(text)
    except NotCron as error:
        return 0.0, str(error)
    expected = meaning(value)
    if got == expected:
        return 1.0, "the same expression." if text == value else f"fires at the same times as '{value}'."
    differing = [part for part, a, b in zip(("minutes", "hours", "days"), got, expected, strict=True) if a != b]
    return 0.0, f"{shown(text)} and '{value}' differ in their {' and '.join(differing)}."


def shown(text: str) -> str:
    """A text in quotation marks, cut short."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in text[:40])
    return f"'{printable}{'...' if len(text) > 40 else ''}'"


@lru_cache(maxsize=4096)
def meaning(expression: str) -> Meaning:
    """The minutes, the hours, and the days on which an expression fires."""
    fields = split(expression)
    for index, field in enumerate(fields):
        check(index, field)
    try:
        minutes, hours, dates, months, days = croniter.expand(" ".join(fields))[0]
    except Exception as error:  # croniter raises several kinds for bad input
        raise NotCron(f"{shown(expression)} is not a cron expression.") from error
    # As in cron itself, a field that starts with a star does not restrict, whatever its step.
    either = not fields[2].startswith("*") and not fields[4].startswith("*")
    date_set, day_set = opened(dates, 1, 31), opened(days, 0, 6)
    month_set = opened(months, 1, 12)
    matching = frozenset(
        (month, number, day)
        for month, number, day in calendar()
        if month in month_set
        and ((number in date_set or day in day_set) if either else (number in date_set and day in day_set))
    )
    return opened(minutes, 0, 59), opened(hours, 0, 23), matching


def split(expression: str) -> list[str]:
    """The five fields of an expression or a nickname."""
    if len(expression) > LONGEST:
        raise NotCron(f"the answer has {len(expression)} characters, too many for a cron expression.")
    if not expression.isascii():
        raise NotCron(f"{shown(expression)} has characters that no cron expression has.")
    if expression.startswith("@"):
        if expression.lower() not in NICKNAMES:
            raise NotCron(f"{shown(expression)} is not a nickname that cron knows.")
        return NICKNAMES[expression.lower()].split()
    if "\n" in expression or "\r" in expression:
        raise NotCron("the answer has several lines instead of one cron expression.")
    fields = expression.lower().split()
    if any(re.search(r"[^\w*,/-]", field) for field in fields) or fields[0][0] not in "*0123456789":
        raise NotCron(f"{shown(expression)} is prose, not a cron expression.")
    if len(fields) != 5:
        raise NotCron(f"{shown(expression)} has {len(fields)} fields instead of 5.")
    return fields


def check(index: int, field: str) -> None:
    """Raise unless every part of a field is in range."""
    for part in field.split(","):
        match = PART.fullmatch(part)
        if match is None:
            raise NotCron(f"'{shorten(part)}' is not a {FIELDS[index]}: it is no value, range, or step.")
        for name in match.group(1, 2):
            check_value(index, name)
        check_order(index, *match.group(1, 2))
        step = match.group(3)
        if step is not None and (len(step) > 4 or int(step) == 0):
            raise NotCron(f"'/{shorten(step)}' is not a step for the {FIELDS[index]}.")


def check_value(index: int, name: str | None) -> None:
    """Raise unless a name or number belongs to a field."""
    if name is None or name in NAMES[index]:
        return
    low, high = LIMITS[index]
    if not name.isdigit() or len(name) > 4 or not low <= int(name) <= high:
        raise NotCron(f"'{shorten(name)}' is not a {FIELDS[index]}: the values are {low} to {high}.")


def check_order(index: int, first: str | None, last: str | None) -> None:
    """Raise when a range runs backwards: cron refuses it, though croniter would wrap it around."""
    if first is not None and last is not None and number(index, first) > number(index, last):
        raise NotCron(f"'{first}-{last}' is not a {FIELDS[index]}: the range runs backwards.")


def number(index: int, name: str) -> int:
    """The value behind a number or a name."""
    return NAMES[index].index(name) + LIMITS[index][0] if name in NAMES[index] else int(name)


def shorten(text: str) -> str:
    """At most twenty characters of a text."""
    return text if len(text) <= 20 else text[:20] + "..."


def opened(expanded: list, low: int, high: int) -> frozenset[int]:
    """The values of an expanded field, where a star stands for all of them."""
    return frozenset(range(low, high + 1)) if "*" in expanded else frozenset(expanded)


@cache
def calendar() -> frozenset[tuple[int, int, int]]:
    """Every (month, date, day of the week) that occurs in 28 years, after which the calendar repeats."""
    start = date(2001, 1, 1)
    days = (start + timedelta(days=number) for number in range((date(2029, 1, 1) - start).days))
    return frozenset((day.month, day.day, day.isoweekday() % 7) for day in days)
