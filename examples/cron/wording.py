"""Ways to write times of day, days, dates, and numbers in English."""

from __future__ import annotations

from random import Random

DAY_NAMES = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
MONTH_NAMES = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip
ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = {20: "twenty", 30: "thirty", 40: "forty", 50: "fifty", 60: "sixty"}


def number_word(number: int) -> str:
    """A number below 70 in words."""
    if number < 20:
        return ONES[number]
    ten, one = number - number % 10, number % 10
    return TENS[ten] + (f"-{ONES[one]}" if one else "")


def number(value: int, rng: Random) -> str:
    """A number in figures, or now and then in words."""
    return number_word(value) if rng.random() < 0.25 else str(value)


def ordinal(value: int) -> str:
    """1st, 2nd, 3rd, ..."""
    if value % 100 in (11, 12, 13):
        return f"{value}th"
    return f"{value}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(value % 10, 'th') }"


def ordinal_word(value: int) -> str:
    """First, second, ... thirty-first."""
    if value >= 20 and value % 10:
        return f"{TENS[value - value % 10]}-{ordinal_word(value % 10)}"
    irregular = {1: "first", 2: "second", 3: "third", 5: "fifth", 8: "eighth", 9: "ninth", 12: "twelfth"}
    irregular |= {20: "twentieth", 30: "thirtieth"}
    return irregular.get(value) or f"{number_word(value)}th"


def ordinals(values: tuple[int, ...], rng: Random) -> list[str]:
    """Dates as 1st and 15th, or now and then as first and fifteenth."""
    write = ordinal_word if rng.random() < 0.18 else ordinal
    return [write(value) for value in values]


def join(parts: list[str], rng: Random, last: str = "and") -> str:
    """A list in prose: "a, b and c"."""
    if len(parts) == 1:
        return parts[0]
    comma = "," if len(parts) > 2 and rng.random() < 0.3 else ""
    return f"{', '.join(parts[:-1])}{comma} {last} {parts[-1]}"


def part_of_day(hour: int) -> str | None:
    """The part of the day that names an hour without doubt, if there is one."""
    if 1 <= hour <= 11:
        return "in the morning"
    if 12 <= hour <= 16:
        return "in the afternoon"
    if 17 <= hour <= 20:
        return "in the evening"
    return "at night" if 21 <= hour <= 23 else None


def clock12(hour: int) -> int:
    """The hour on a twelve-hour dial."""
    return hour % 12 or 12


def meridiem(hour: int, minute: int, template: str) -> str | None:
    """Fill a twelve-hour template; {om} stands for minutes that are left out on the hour.

    The hour after midnight, which many people read wrongly as 12 am, is left to other styles.
    """
    if hour == 0:
        return None
    half = "am" if hour < 12 else "pm"
    minutes = f":{minute:02d}" if minute else ""
    return template.format(h=clock12(hour), om=minutes, half=half)


def spoken(hour: int, minute: int) -> str | None:
    """Half past seven in the morning, and the like."""
    if hour in (0, 11, 12, 23):
        return None
    part = part_of_day(hour)
    if minute == 0:
        return f"{number_word(clock12(hour))} {part}"
    if minute == 45:
        return f"quarter to {number_word(clock12(hour + 1))} {part}"
    past = {15: "quarter", 30: "half"}.get(minute)
    return f"{past} past {number_word(clock12(hour))} {part}" if past else None


def military(hour: int, minute: int) -> str | None:
    """07:30 or 19:30; hours that also read as twelve-hour times are left to other styles."""
    return None if hour in (10, 11, 12) else f"{hour:02d}:{minute:02d}"


def figure_and_part(hour: int, minute: int) -> str | None:
    """7:30 in the morning."""
    part = part_of_day(hour)
    if part is None or hour == 12:
        return None
    return f"{clock12(hour)}{f':{minute:02d}' if minute else ''} {part}"


def dial(hour: int, minute: int, rng: Random) -> str | None:
    """7:30 or half past seven, for a phrase that names the part of the day elsewhere."""
    part = part_of_day(hour)
    if part is None or hour == 12:
        return None
    words = spoken(hour, minute)
    if words and rng.random() < 0.3:
        return words.removesuffix(f" {part}")
    return f"{clock12(hour)}:{minute:02d}" if minute or rng.random() < 0.4 else str(clock12(hour))


def landmark(hour: int, minute: int) -> str | None:
    """Noon and midnight."""
    return {(0, 0): "midnight", (12, 0): "noon"}.get((hour, minute))


STYLES = {
    "military": (military, 6),
    "spaced": (lambda h, m: meridiem(h, m, "{h}{om} {half}"), 5),
    "joined": (lambda h, m: meridiem(h, m, "{h}{om}{half}"), 5),
    "spoken": (spoken, 3),
    "part": (figure_and_part, 3),
}


def times(moments: tuple[tuple[int, int], ...], rng: Random) -> list[str]:
    """All the given times in one style."""
    if len(moments) == 1 and landmark(*moments[0]) and rng.random() < 0.6:
        return [str(landmark(*moments[0]))]
    usable = {}
    for name, (style, weight) in STYLES.items():
        texts = [style(hour, minute) for hour, minute in moments]
        if all(texts):
            usable[name] = ([str(text) for text in texts], weight)
    return rng.choices([u[0] for u in usable.values()], [u[1] for u in usable.values()])[0]


def time(hour: int, minute: int, rng: Random) -> str:
    """One time of day in a random style."""
    return times(((hour, minute),), rng)[0]


def day(value: int, rng: Random) -> str:
    """A day's name in full, or now and then its first three letters."""
    return DAY_NAMES[value][:3] if rng.random() < 0.15 else DAY_NAMES[value]


def is_run(days: tuple[int, ...]) -> bool:
    """Whether three or more days follow each other."""
    return len(days) >= 3 and days[-1] - days[0] == len(days) - 1


def day_list(days: tuple[int, ...], rng: Random, plural: bool = False) -> str:
    """Several days as a list, or as a range where they follow each other."""
    if is_run(days):
        return day_range(days[0], days[-1], rng)
    short = rng.random() < 0.25 and not plural
    names = [DAY_NAMES[value][: 3 if short else None] + ("s" if plural else "") for value in days]
    if short and rng.random() < 0.4:
        return "/".join(names)
    return join(names, rng, rng.choice(("and", "and", "and", "&")))


def day_range(first: int, last: int, rng: Random) -> str:
    """Monday to Thursday, Mon-Thu, ..."""
    if rng.random() < 0.3:
        return f"{DAY_NAMES[first][:3]}-{DAY_NAMES[last][:3]}"
    return f"{DAY_NAMES[first]} {rng.choice(('to', 'through', 'through'))} {DAY_NAMES[last]}"
