"""The types `quantity` (a number and a unit), `duration` and `currency`."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from tunesmith.verify.equivalence.number_words import find_words
from tunesmith.verify.equivalence.numerals import CURRENCY_CODES, Number, find_numbers, prepared
from tunesmith.verify.equivalence.readings import Kind, Reading, Wanted
from tunesmith.verify.equivalence.texts import cased
from tunesmith.verify.equivalence.units import Dimensions, Unit, unit_at, unit_named

TIME, MONTHS = (("time", 1),), (("months", 1),)
JOINTS = ("", " ", " and ", ", ", ", and ")
TIME_WORD = r"(seconds?|minutes?|hours?|days?|weeks?|fortnights?|months?|years?|decades?|century|centuries)"
HALF_AN = re.compile(rf"\bhalf (?:an?|of an?) {TIME_WORD}\b", re.IGNORECASE)
AND_A_HALF = re.compile(rf"\b(an?|one|[0-9]{{1,6}}) {TIME_WORD} and a half\b", re.IGNORECASE)
AN = re.compile(rf"\ban? {TIME_WORD}\b", re.IGNORECASE)
ISO_DURATION = re.compile(
    r"\bP(?=[0-9T])(?:(\d{1,6})Y)?(?:(\d{1,6})M)?(?:(\d{1,6})W)?(?:(\d{1,6})D)?"
    r"(?:T(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,6}(?:\.\d{1,9})?)S)?)?\b"
)
CLOCK = re.compile(r"(?<![\d:.])(\d{1,4}):([0-5]\d):([0-5]\d(?:\.\d{1,9})?)(?![\d:])")
CODES = {"US$": "USD", "CA$": "CAD", "C$": "CAD", "AU$": "AUD", "A$": "AUD", "NZ$": "NZD", "HK$": "HKD", "S$": "SGD"}
CODES |= {"R$": "BRL", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR", "₩": "KRW", "₽": "RUB", "₺": "TRY", "$": "$"}
CODES |= {"dollar": "$", "dollars": "$", "buck": "$", "bucks": "$", "euro": "EUR", "euros": "EUR", "yen": "JPY"}
CODES |= {"rupee": "INR", "rupees": "INR", "yuan": "CNY", "won": "KRW", "franc": "CHF", "francs": "CHF", "pound": "GBP"}
CODES |= {"pounds": "GBP", "quid": "GBP"}
CODES |= {
    "us dollar": "USD",
    "us dollars": "USD",
    "u.s. dollars": "USD",
    "canadian dollars": "CAD",
    "pounds sterling": "GBP",
}
CODES |= {"australian dollars": "AUD", "swiss francs": "CHF", "british pounds": "GBP"}
CODES |= {code: code for code in CURRENCY_CODES.split("|")}
HUNDREDTHS = {
    "cent": "",
    "cents": "",
    "¢": "",
    "c": "",
    "p": "GBP",
    "pence": "GBP",
    "penny": "GBP",
    "euro cents": "EUR",
}
DOLLARS = ("USD", "CAD", "AUD", "NZD", "HKD", "SGD")
MONEY_NAME = re.compile(
    r" ?-?((?:US|CA|C|AU|A|NZ|HK|S|R)?\$|[€£¥₹₩₽₺¢]"
    r"|(?:u\.s\. |us |canadian |australian |swiss |british )?[a-z]+(?: sterling| cents)?)"
    r"(?![a-z])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Measured:
    """A number with its unit at `text[start:end]`: `value` in base units of `what`, dimensions or a currency."""

    value: Fraction
    what: Dimensions | str
    start: int
    end: int
    factor: Fraction = Fraction(1)
    may_join: bool = True


def with_articles_counted(text: str) -> str:
    """Half an hour is 1/2 hour, an hour and a half is 1 1/2 hour, a week is 1 week."""
    text = AND_A_HALF.sub(lambda found: f"{found[1] if found[1].isdigit() else 1} 1/2 {found[2]}", prepared(text))
    return AN.sub(r"1 \1", HALF_AN.sub(r"1/2 \1", text))


def find_quantities(text: str, wanted: Wanted) -> list[Reading]:
    """Numbers with a known unit; 5 ft 3 in is one. Bare numbers carry the unit that the answer names."""
    pairs = _with_units(text, wanted)
    return [
        Reading(
            (sum((pair.value for pair in group), Fraction(0)), group[0].what, group[0].factor),
            "unit",
            group[0].start,
            group[-1].end,
        )
        for group in _neighbors(pairs, text)
    ]


def quantities_differ(gold: Reading, seen: Reading, wanted: Wanted) -> str | None:
    """Equal after conversion, within a tolerance in the unit of the expected answer."""
    if gold.value[1] != seen.value[1]:
        return "other dimension"
    return None if abs(gold.value[0] - seen.value[0]) <= wanted.tolerance * gold.value[2] else "differs"


def find_durations(text: str, wanted: Wanted) -> list[Reading]:
    """1 h 30 min, PT1H30M, 1:30:00 and numbers with units of time. Values are (months, seconds, unit)."""
    found = [_iso(match) for match in ISO_DURATION.finditer(text)] + [_clock(match) for match in CLOCK.finditer(text)]
    pairs = [pair for pair in _with_units(text, wanted) if pair.what in (TIME, MONTHS)]
    for group in _neighbors(pairs, text, across=True):
        months = sum((pair.value for pair in group if pair.what == MONTHS), Fraction(0))
        seconds = sum((pair.value for pair in group if pair.what == TIME), Fraction(0))
        found.append(Reading((months, seconds, group[-1].factor), "unit", group[0].start, group[-1].end))
    return sorted(found, key=lambda reading: reading.start)


def durations_differ(gold: Reading, seen: Reading, wanted: Wanted) -> str | None:
    (months, seconds, factor), (seen_months, seen_seconds, _) = gold.value, seen.value
    if bool(months) != bool(seen_months) and (seconds or seen_seconds):
        return "a month has no fixed length"
    bound = wanted.tolerance * factor
    return None if abs(months - seen_months) <= bound and abs(seconds - seen_seconds) <= bound else "differs"


def find_money(text: str, wanted: Wanted) -> list[Reading]:
    """Amounts with a currency: $5, 5 EUR, 5 dollars and 20 cents. Bare numbers carry the unit of the answer."""
    pairs = [pair for number in _numbers(text, wanted, True) if (pair := _with_currency(number, text, wanted.unit))]
    readings = []
    for group in _neighbors(pairs, text):
        value = sum((pair.value for pair in group), Fraction(0))
        readings.append(Reading((value, group[0].what), "amount", group[0].start, group[-1].end))
    return readings


def money_differs(gold: Reading, seen: Reading, wanted: Wanted) -> str | None:
    """The sign $ is any dollar, and cents are those of any currency."""
    one, other = gold.value[1], seen.value[1]
    is_same = (
        one == other or "" in (one, other) or any(a == "$" and b in DOLLARS for a, b in ((one, other), (other, one)))
    )
    if not is_same:
        return "other currency"
    return None if abs(gold.value[0] - seen.value[0]) <= wanted.tolerance else "differs"


def currency_named(name: str) -> str | None:
    """The code of a currency's sign, name or code; "$" for dollars of no known country."""
    return CODES.get(name) or CODES.get(name.lower())


def _numbers(text: str, wanted: Wanted, letters: bool = False) -> list[Number]:
    numbers = find_numbers(text, wanted.locale, letters)
    if not numbers and not any(character.isdigit() for character in text):
        numbers = find_words(text)
    return [number for number in numbers if not number.is_percent and not number.is_ordinal]


def _with_units(text: str, wanted: Wanted) -> list[Measured]:
    default = unit_named(wanted.unit) if wanted.unit else None
    return [pair for number in _numbers(text, wanted) if (pair := _with_unit(number, text, default))]


def _with_unit(number: Number, text: str, default: Unit | None) -> Measured | None:
    position = number.end + (text[number.end : number.end + 1] in (" ", "-"))
    if found := unit_at(text, position):
        unit, end = found
        if not (text[end - 1].isalpha() and text[end : end + 1].isalnum()):
            return Measured(
                number.value * unit.factor + unit.offset,
                unit.dimensions,
                number.start,
                end,
                unit.factor,
                not unit.offset,
            )
    if default is None or text[number.end : number.end + 1].isalpha():
        return None
    value = number.value * default.factor + default.offset
    return Measured(value, default.dimensions, number.start, number.end, default.factor, False)


def _with_currency(number: Number, text: str, default: str) -> Measured | None:
    """The number as money: by the sign before it, by the name after it, or by the answer's unit."""
    name = MONEY_NAME.match(text, number.end)
    after = name[1].strip().lower() if name else ""
    if number.money:
        code = currency_named(number.money) or ""
        follows = currency_named(after)  # $5 USD
        end = name.end() if name and follows and (code == "$" or follows == code) else number.end
        return Measured(
            number.value, follows if end != number.end and follows else code, number.start, end, Fraction(1)
        )
    if name and (code := currency_named(name[1]) or ""):
        return Measured(number.value, code, number.start, name.end(), Fraction(1))
    if name and after in HUNDREDTHS:
        return Measured(number.value / 100, HUNDREDTHS[after], number.start, name.end(), Fraction(1, 100))
    return Measured(number.value, currency_named(default) or "", number.start, number.end) if default else None


def _neighbors(pairs: list[Measured], text: str, across: bool = False) -> list[list[Measured]]:
    """Pairs that together are one value, such as 5 ft 3 in: nothing but a joint between, and falling units."""
    groups: list[list[Measured]] = []
    for pair in pairs:
        last = groups[-1][-1] if groups else None
        if last is not None and _joins(last, pair, text, across):
            groups[-1].append(pair)
        else:
            groups.append([pair])
    return groups


def _joins(last: Measured, pair: Measured, text: str, across: bool) -> bool:
    if not (last.may_join and pair.may_join and text[last.end : pair.start] in JOINTS):
        return False
    if last.what == pair.what or (pair.what == "" and isinstance(last.what, str)):
        return pair.factor < last.factor
    return across and (last.what, pair.what) == (MONTHS, TIME)


def _iso(match: re.Match[str]) -> Reading:
    years, months, weeks, days, hours, minutes, seconds = (Fraction(part or 0) for part in match.groups())
    total = ((weeks * 7 + days) * 24 + hours) * 3600 + minutes * 60 + seconds
    return Reading((12 * years + months, total, Fraction(1)), "ISO 8601", match.start(), match.end())


def _clock(match: re.Match[str]) -> Reading:
    seconds = Fraction(match[1]) * 3600 + Fraction(match[2]) * 60 + Fraction(match[3])
    return Reading((Fraction(0), seconds, Fraction(1)), "hours:minutes:seconds", match.start(), match.end())


def _reader(find: Callable[[str, Wanted], list[Reading]]) -> Callable[[str, Wanted], Reading | None]:
    """Reads a whole text as the one value that `find` finds in it."""

    def read(text: str, wanted: Wanted) -> Reading | None:
        found = find(text, wanted)
        return found[0] if len(found) == 1 and (found[0].start, found[0].end) == (0, len(text)) else None

    return read


OPTIONS = ("tolerance", "locale", "unit")
QUANTITY = Kind(prepared, _reader(find_quantities), find_quantities, quantities_differ, OPTIONS, cased)
DURATION = Kind(with_articles_counted, _reader(find_durations), find_durations, durations_differ, OPTIONS)
CURRENCY = Kind(prepared, _reader(find_money), find_money, money_differs, OPTIONS)
