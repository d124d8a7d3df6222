"""The types `date` and `time`.

Dates are ISO 8601, 3 March 2024, March 3rd, 2024 and their parts (March 2024, 3 March). Figures such as 03/04/2024
are read only where one order is possible, or where the answer names it (`order`: dmy, mdy or ymd).
"""

import re
from collections.abc import Iterator
from datetime import date as calendar_date

from tunesmith.verify.equivalence.numerals import prepared
from tunesmith.verify.equivalence.readings import Kind, Reading, Wanted

ORDERS = ("dmy", "mdy", "ymd")
MONTH_NAMES = "january february march april may june july august september october november december"
NAMES = MONTH_NAMES.split()
MONTHS = (
    {name: at for at, name in enumerate(NAMES, 1)} | {name[:3]: at for at, name in enumerate(NAMES, 1)} | {"sept": 9}
)
MONTH = rf"(?P<month>{'|'.join(sorted(MONTHS, key=len, reverse=True))})\.?"
DAY = r"(?P<day>0?[1-9]|[12][0-9]|3[01])(?:st|nd|rd|th)?"
YEAR = r"(?P<year>[0-9]{4})(?![0-9])(?! ?(?:km|m|kg|g|usd)\b)"
WEEKDAY = r"(?:\b(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?,? )?"
PATTERNS = [
    re.compile(rf"{WEEKDAY}(?<![\w./-])(?:the )?{DAY}[ -](?:day )?(?:of )?{MONTH}(?:,? |-|, )(?:in )?{YEAR}", re.I),
    re.compile(rf"{WEEKDAY}\b{MONTH}[ -](?:the )?{DAY}(?:, | |-|,){YEAR}", re.I),
    re.compile(rf"{WEEKDAY}\b{MONTH},?(?: of)? {YEAR}", re.I),
    re.compile(rf"{WEEKDAY}(?<![\w./-])(?:the )?{DAY} (?:of )?{MONTH}(?![a-z])", re.I),
    re.compile(rf"{WEEKDAY}\b{MONTH} (?:the )?{DAY}(?![0-9a-z])", re.I),
    re.compile(rf"(?<![\w./-]){YEAR}-(?P<month>[0-9]{{2}})-(?P<day>[0-9]{{2}})(?![0-9/-])"),
    re.compile(rf"(?<![\w./-]){YEAR}-(?P<month>[0-9]{{2}})(?![0-9/-])"),
    re.compile(r"(?<![\w./-])(?P<a>[0-9]{1,4})(?P<mark>[/.-])(?P<b>[0-9]{1,2})(?P=mark)(?P<c>[0-9]{1,4})(?![0-9/-])"),
]
COMPACT = re.compile(r"(?P<year>[12][0-9]{3})(?P<month>[01][0-9])(?P<day>[0-3][0-9])")
ONLY_YEAR = re.compile(r"(?:in |the year )?(?P<year>[12][0-9]{3})", re.I)
ZONE = (
    r"(?: ?(?P<zone>z|utc|gmt)(?P<offset>[-+][0-9]{1,2}(?::?[0-9]{2})?)?|(?P<bare>[-+][0-9]{2}:[0-9]{2}))?(?![0-9a-z])"
)
HALF_DAY = r"(?: ?(?P<half>[ap])\.?m\b\.?| (?P<part>in the morning|in the afternoon|in the evening|at night))"
CLOCK = re.compile(
    rf"(?<![\w:.])(?P<hour>[01]?[0-9]|2[0-4])(?:[:h]|\.(?=[0-5][0-9] ?[ap]\.?m))(?P<minute>[0-5][0-9])"
    rf"(?::(?P<second>[0-5][0-9])(?:\.[0-9]{{1,9}})?)?{HALF_DAY}?{ZONE}",
    re.I,
)
HOUR = re.compile(rf"(?<![\w:.])(?P<hour>1[0-2]|0?[1-9])(?P<minute>)(?P<second>){HALF_DAY}{ZONE}", re.I)
OCLOCK = re.compile(
    rf"\b(?P<hour>1[0-2]|[1-9]) o'clock{HALF_DAY}?(?P<minute>)(?P<second>)(?P<zone>)(?P<bare>)(?P<offset>)", re.I
)
NAMED = re.compile(r"\b(?:12 )?(noon|midday|midnight)\b", re.I)


def find_dates(text: str, wanted: Wanted) -> list[Reading]:
    """Dates in order; a longer spelling hides the shorter ones inside it. Values are (year, month, day), 0 for none."""
    found: list[Reading] = []
    taken: set[int] = set()
    for pattern in PATTERNS:
        for match in pattern.finditer(text):
            if match.start("mark" if "mark" in match.groupdict() else "month") not in taken:
                taken.update(range(match.start(), match.end()))
                found.append(_date(match, wanted))
    return sorted((reading for reading in found if reading.value or reading.problem), key=lambda reading: reading.start)


def read_date(text: str, wanted: Wanted) -> Reading | None:
    """A whole text as a date; also 20240303 and a year alone."""
    match = COMPACT.fullmatch(text) or ONLY_YEAR.fullmatch(text)
    if match:
        reading = _date(match, wanted)
        return reading if reading.value else None
    found = find_dates(text, wanted)
    return found[0] if len(found) == 1 and (found[0].start, found[0].end) == (0, len(text)) else None


def find_times(text: str, wanted: Wanted) -> list[Reading]:
    """Times of day in order, as (minutes and seconds since midnight in seconds, offset of the zone or None)."""
    found = [
        reading for pattern in (CLOCK, HOUR, OCLOCK) for match in pattern.finditer(text) if (reading := _time(match))
    ]
    for match in NAMED.finditer(text):
        seconds = 0 if match[1].lower() == "midnight" else 43200
        found.append(Reading((seconds, None), "named", match.start(), match.end()))
    return sorted(found, key=lambda reading: reading.start)


def read_time(text: str, wanted: Wanted) -> Reading | None:
    text = text.removeprefix("at ").removeprefix("At ")
    found = find_times(text, wanted)
    return found[0] if len(found) == 1 and (found[0].start, found[0].end) == (0, len(text)) else None


def values_differ(gold: Reading, seen: Reading, wanted: Wanted) -> str | None:
    return None if gold.value == seen.value else "differs"


def times_differ(gold: Reading, seen: Reading, wanted: Wanted) -> str | None:
    """By the clock on the wall; as instants where both name a zone."""
    (one, one_zone), (other, other_zone) = gold.value, seen.value
    if one_zone is not None and other_zone is not None:
        one, other = (one - one_zone) % 86400, (other - other_zone) % 86400
    return None if one == other else "differs"


def _date(match: re.Match[str], wanted: Wanted) -> Reading:
    groups = match.groupdict()
    if "mark" in groups:
        return _figures(match, wanted)
    month = groups.get("month") or "0"
    number = int(month) if month.isdigit() else MONTHS[month.lower()]
    value = (int(groups.get("year") or 0), number, int(groups.get("day") or 0))
    form = "ISO 8601" if month != "0" and month.isdigit() else "words" if number else "year"
    return Reading(value if _exists(*value) else None, form, match.start(), match.end())


def _figures(match: re.Match[str], wanted: Wanted) -> Reading:
    """A date such as 03/04/2024: the one date that it can be, or a problem."""
    values = set(_orders(match["a"], match["b"], match["c"], wanted.order))
    problem = "" if len(values) == 1 else "ambiguous date" if values else "no such date"
    form = f"figures, {wanted.order}" if wanted.order else "figures"
    return Reading(values.pop() if len(values) == 1 else None, form, match.start(), match.end(), problem)


def _orders(a: str, b: str, c: str, order: str) -> Iterator[tuple[int, int, int]]:
    for name in [order] if order else ORDERS:
        parts = dict(zip(name, (a, b, c), strict=True))
        value = (int(parts["y"]), int(parts["m"]), int(parts["d"]))
        if len(parts["y"]) == 4 and len(parts["d"]) <= 2 and all(value) and _exists(*value):
            yield value


def _exists(year: int, month: int, day: int) -> bool:
    """Whether the calendar has it; a part that is 0 is not named, and a day without a year is of a leap year."""
    try:
        calendar_date(year or 2000, month or 1, day or 1)
    except ValueError:
        return False
    return True


def _time(match: re.Match[str]) -> Reading | None:
    hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
    half = (match["half"] or {"in the morning": "a", None: ""}.get(match["part"], "p")).lower()
    if (half and not 1 <= hour <= 12) or (hour == 24 and (minute or second)):
        return None
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    zone = _offset(match["offset"] or match["bare"] or ("+0" if match["zone"] else ""))
    return Reading((hour % 24 * 3600 + minute * 60 + second, zone), "clock", match.start(), match.end())


def _offset(text: str) -> int | None:
    if not text:
        return None
    digits = text[1:].replace(":", "")
    hours, minutes = (digits[:-2], digits[-2:]) if len(digits) > 2 else (digits, "0")
    return (-1 if text[0] == "-" else 1) * (int(hours) * 3600 + int(minutes) * 60)


DATE = Kind(prepared, read_date, find_dates, values_differ, ("order",))
TIME = Kind(prepared, read_time, find_times, times_differ, ())
