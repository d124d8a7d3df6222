"""The types `int`, `float`, `number`, `fraction`, `ordinal` and `percent`."""

from dataclasses import replace
from fractions import Fraction

from tunesmith.verify.equivalence.number_words import find_words, read_roman, read_words
from tunesmith.verify.equivalence.numerals import Number, find_numbers, prepared, read_number
from tunesmith.verify.equivalence.readings import Kind, Reading, Wanted

FLOAT_TOLERANCE = Fraction(1, 10**9)  # relative: what rounding to float64 and printing may change


def read_amount(text: str, wanted: Wanted) -> Reading | None:
    """One number in digits, words or capital Roman numerals."""
    number = read_number(text, wanted.locale) or read_words(text, wanted.type == "ordinal") or read_roman(text)
    return None if number is None else _reading(number, wanted)


def find_amounts(text: str, wanted: Wanted) -> list[Reading]:
    """The numbers in digits; spelled ones only where there is no digit at all, since "one" is mostly no number."""
    numbers = find_numbers(text, wanted.locale)
    if not numbers and not any(character.isdigit() for character in text):
        numbers = find_words(text, wanted.type == "ordinal")
    readings = [_reading(number, wanted) for number in numbers]
    return [reading for reading in readings if reading is not None]


def amounts_differ(gold: Reading, seen: Reading, wanted: Wanted) -> str | None:
    (wanted_value, wanted_percent), (value, is_percent) = gold.value, seen.value
    if is_percent != wanted_percent:
        return "one is a percentage"
    bound = wanted.tolerance
    if wanted.type == "float":
        bound = max(bound, FLOAT_TOLERANCE * max(abs(value), abs(wanted_value)))
    return None if abs(value - wanted_value) <= bound else "differs"


def percents_differ(gold: Reading, seen: Reading, wanted: Wanted) -> str | None:
    """26 % equals 26 percent, 0.26 and 13/50; a bare 26 only where the answer names the unit %."""
    worths = [value / 100 if is_percent else value for value, is_percent in (gold.value, seen.value)]
    if abs(worths[0] - worths[1]) <= wanted.tolerance / 100:
        return None
    return "differs" if seen.value[1] else "not a percentage"


def _reading(number: Number, wanted: Wanted) -> Reading | None:
    if number.is_ordinal and wanted.type != "ordinal":
        return None
    if wanted.type == "percent" and wanted.unit:
        number = replace(number, is_percent=True)
    return Reading((number.value, number.is_percent), number.form, number.start, number.end)


NUMBER = Kind(prepared, read_amount, find_amounts, amounts_differ, ("tolerance", "locale"))
PERCENT = Kind(prepared, read_amount, find_amounts, percents_differ, ("tolerance", "locale", "unit"))
