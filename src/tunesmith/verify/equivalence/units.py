"""Units of measurement: a small table, SI prefixes, and expressions such as km/h, m/s^2 and square feet.

Capitals count (mW is not MW). Factors are exact, from the international definitions (SI brochure, 9th edition;
the international yard and pound); gallon, quart, pint, cup, fluid ounce and spoons are those of the United States.
Month and year are a dimension of their own, because they are no fixed number of days.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

Dimensions = tuple[tuple[str, int], ...]
NAME = re.compile(r"[A-Za-zμΩ°%Å]+|'{1,2}(?![A-Za-z])|\"")
EXPONENT = re.compile(r"(?:\^|\*\*)[{(]?([-+]?[1-4])[)}]?|(?<=[a-z])([23])(?![0-9.,])")
DIVISION = re.compile(r" ?/ ?| per (?:an? )?| p(?=h\b)")
PRODUCT = re.compile(r" ?[*·⋅] ?| (?=hours?\b|meters?\b|m\b|h\b|s\b)")
POWER_WORDS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
PREFIX_SYMBOLS = {
    "n": -9,
    "μ": -6,
    "u": -6,
    "m": -3,
    "c": -2,
    "d": -1,
    "h": 2,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
    "P": 15,
}
PREFIX_NAMES = {"nano": -9, "micro": -6, "milli": -3, "centi": -2, "deci": -1, "hecto": 2, "kilo": 3, "mega": 6}
PREFIX_NAMES |= {"giga": 9, "tera": 12, "peta": 15}
MOST_FACTORS = 4


@dataclass(frozen=True, slots=True)
class Unit:
    """A value in this unit is `value * factor + offset` in base units."""

    factor: Fraction
    dimensions: Dimensions
    offset: Fraction = Fraction(0)


def _dimensions(text: str) -> Dimensions:
    return tuple(
        sorted(
            (part.rstrip("-0123456789"), int(part.lstrip("abcdefghijklmnopqrstuvwxyz") or 1)) for part in text.split()
        )
    )


# Dimensions; symbols that take prefixes; names that take prefixes; factor of the plain unit in base units.
METRIC = [
    ("length", "m", "meter metre", "1"),
    ("mass", "g", "gram gramme", "1/1000"),
    ("time", "s", "second sec", "1"),
    ("current", "A", "ampere amp", "1"),
    ("temperature", "K", "kelvin", "1"),
    ("substance", "mol", "mole", "1"),
    ("light", "cd", "candela", "1"),
    ("time-1", "Hz", "hertz", "1"),
    ("length mass time-2", "N", "newton", "1"),
    ("length-1 mass time-2", "Pa", "pascal", "1"),
    ("length-1 mass time-2", "bar", "bar", "100000"),
    ("length2 mass time-2", "J", "joule", "1"),
    ("length2 mass time-2", "Wh", "", "3600"),
    ("length2 mass time-2", "cal", "calorie", "4.184"),
    ("length2 mass time-2", "eV", "electronvolt", "1.602176634e-19"),
    ("length2 mass time-3", "W", "watt", "1"),
    ("current time", "C", "coulomb", "1"),
    ("current-1 length2 mass time-3", "V", "volt", "1"),
    ("current-2 length2 mass time-3", "Ω", "ohm", "1"),
    ("current2 length-2 mass-1 time4", "F", "farad", "1"),
    ("length3", "L l", "liter litre", "1/1000"),
    ("data", "bit b", "bit", "1"),
    ("data", "B", "byte", "8"),
    ("mass", "t", "tonne", "1000"),
]
# Dimensions; names without prefixes; factor.
PLAIN = [
    ("length", "in inch inches '' \"", "0.0254"),
    ("length", "ft foot feet '", "0.3048"),
    ("length", "yd yds yard yards", "0.9144"),
    ("length", "mi mile miles", "1609.344"),
    ("length", "nmi", "1852"),
    ("length", "Å angstrom angstroms", "1e-10"),
    ("length", "ly lightyear lightyears", "9460730472580800"),
    ("mass", "oz ounce ounces", "0.028349523125"),
    ("mass", "lb lbs pound pounds", "0.45359237"),
    ("mass", "stone", "6.35029318"),
    ("time", "sec secs", "1"),
    ("time", "min mins minute minutes", "60"),
    ("time", "h hr hrs hour hours", "3600"),
    ("time", "d day days", "86400"),
    ("time", "wk wks week weeks", "604800"),
    ("time", "fortnight fortnights", "1209600"),
    ("months", "month months mo", "1"),
    ("months", "year years yr yrs", "12"),
    ("months", "decade decades", "120"),
    ("months", "century centuries", "1200"),
    ("length2", "ha hectare hectares", "10000"),
    ("length2", "acre acres", "4046.8564224"),
    ("length3", "gal gallon gallons", "0.003785411784"),
    ("length3", "qt quart quarts", "0.000946352946"),
    ("length3", "pt pint pints", "0.000473176473"),
    ("length3", "cup cups", "0.0002365882365"),
    ("length3", "tbsp tablespoon tablespoons", "0.00001478676478125"),
    ("length3", "tsp teaspoon teaspoons", "0.00000492892159375"),
    ("length time-1", "mph", "0.44704"),
    ("length time-1", "kph kmh", "5/18"),
    ("length time-1", "knot knots kn", "463/900"),
    ("length-1 mass time-2", "atm atmosphere atmospheres", "101325"),
    ("length-1 mass time-2", "mmHg", "133.322387415"),
    ("length-1 mass time-2", "psi", "6894.757293168361"),
    ("length mass time-2", "lbf", "4.4482216152605"),
    ("length2 mass time-3", "hp horsepower", "745.69987158227022"),
    ("time-1", "rpm", "1/60"),
    ("angle", "° degree degrees deg", "1"),
    ("data", "KiB", "8192"),
    ("data", "MiB", "8388608"),
    ("data", "GiB", "8589934592"),
    ("data", "TiB", "8796093022208"),
]
# Spelled in two words.
DOUBLE = {
    "nautical mile": Unit(Fraction(1852), _dimensions("length")),
    "fluid ounce": Unit(Fraction("0.0000295735295625"), _dimensions("length3")),
    "fl oz": Unit(Fraction("0.0000295735295625"), _dimensions("length3")),
    "light year": Unit(Fraction(9460730472580800), _dimensions("length")),
    "metric ton": Unit(Fraction(1000), _dimensions("mass")),
    "degree celsius": Unit(Fraction(1), _dimensions("temperature"), Fraction("273.15")),
    "degree centigrade": Unit(Fraction(1), _dimensions("temperature"), Fraction("273.15")),
    "degree fahrenheit": Unit(Fraction(5, 9), _dimensions("temperature"), Fraction("459.67") * Fraction(5, 9)),
    "degree c": Unit(Fraction(1), _dimensions("temperature"), Fraction("273.15")),
    "degree f": Unit(Fraction(5, 9), _dimensions("temperature"), Fraction("459.67") * Fraction(5, 9)),
    "° c": Unit(Fraction(1), _dimensions("temperature"), Fraction("273.15")),
    "° f": Unit(Fraction(5, 9), _dimensions("temperature"), Fraction("459.67") * Fraction(5, 9)),
}
SINGLE = {
    "°C": DOUBLE["degree celsius"],
    "°F": DOUBLE["degree fahrenheit"],
    "celsius": DOUBLE["degree celsius"],
    "fahrenheit": DOUBLE["degree fahrenheit"],
}
# Careless capitals that can mean nothing else.
CARELESS = {
    "KM": "km",
    "Km": "km",
    "KG": "kg",
    "Kg": "kg",
    "CM": "cm",
    "Cm": "cm",
    "ML": "mL",
    "Ml": "mL",
    "MPH": "mph",
}
CARELESS |= {
    "Hrs": "h",
    "LB": "lb",
    "LBS": "lb",
    "Lbs": "lb",
    "FT": "ft",
    "Ft": "ft",
    "KB": "kB",
    "KW": "kW",
    "KWh": "kWh",
}


def unit_at(text: str, position: int) -> tuple[Unit, int] | None:
    """The longest unit expression that begins at a position, and where it ends; None where there is none."""
    first = _factor_at(text, position)
    if first is None:
        return None
    unit, end = first
    for _ in range(MOST_FACTORS - 1):
        divides = DIVISION.match(text, end)
        joint = divides or PRODUCT.match(text, end)
        following = _factor_at(text, joint.end()) if joint else None
        if following is None or unit.offset or following[0].offset:
            break
        unit, end = _combined(unit, following[0], -1 if divides else 1), following[1]
    return unit, end


def unit_named(text: str) -> Unit | None:
    """The unit that the whole text names."""
    found = unit_at(text, 0) if len(text) <= 100 else None
    return found[0] if found is not None and found[1] == len(text) else None


def _factor_at(text: str, position: int) -> tuple[Unit, int] | None:
    name = NAME.match(text, position)
    if name is None:
        return None
    if name[0].lower() in POWER_WORDS and text[name.end() : name.end() + 1] in (" ", "."):
        inner = NAME.match(text, name.end() + (2 if text.startswith(". ", name.end()) else 1))
        unit = _single(inner[0]) if inner else None
        return None if inner is None or unit is None else (_raised(unit, POWER_WORDS[name[0].lower()]), inner.end())
    second = NAME.match(text, name.end() + 1) if text[name.end() : name.end() + 1] in (" ", "-") else None
    if second is not None and (unit := _double(name[0], second[0])):
        return unit, second.end()
    unit = _single(name[0])
    if unit is None:
        return None
    power = EXPONENT.match(text, name.end())
    return (unit, name.end()) if power is None else (_raised(unit, int(power[1] or power[2])), power.end())


def _combined(one: Unit, other: Unit, sign: int) -> Unit:
    totals = dict(one.dimensions)
    for name, power in other.dimensions:
        totals[name] = totals.get(name, 0) + sign * power
    return Unit(
        one.factor * other.factor**sign, tuple(sorted((name, power) for name, power in totals.items() if power))
    )


def _raised(unit: Unit, power: int) -> Unit:
    return Unit(unit.factor**power, tuple((name, old * power) for name, old in unit.dimensions))


def _double(first: str, second: str) -> Unit | None:
    one, other = first.lower().removesuffix("s"), second.lower()
    return DOUBLE.get(f"{one} {other}") or DOUBLE.get(f"{one} {other.removesuffix('s')}")


def _single(name: str) -> Unit | None:
    name = CARELESS.get(name, name)
    table = _table()
    return table.get(name) or (table.get(name.lower()) if len(name) >= 3 else None)


@lru_cache(maxsize=1)
def _table() -> dict[str, Unit]:
    """Every single name; names that take prefixes come with them."""
    table = dict(SINGLE)
    for dimensions, symbols, names, factor in METRIC:
        unit = Unit(Fraction(factor), _dimensions(dimensions))
        for symbol in symbols.split():
            table |= {f"{prefix}{symbol}": _scaled(unit, power) for prefix, power in PREFIX_SYMBOLS.items()}
        for name in names.split():
            for prefix, power in {"": 0, **PREFIX_NAMES}.items():
                table |= dict.fromkeys((f"{prefix}{name}", f"{prefix}{name}s"), _scaled(unit, power))
    for dimensions, symbols, _, factor in METRIC:
        table |= dict.fromkeys(symbols.split(), Unit(Fraction(factor), _dimensions(dimensions)))
    for dimensions, names, factor in PLAIN:
        table |= dict.fromkeys(names.split(), Unit(Fraction(factor), _dimensions(dimensions)))
    return table | {
        "hertz": table["Hz"],
        "kilohertz": table["kHz"],
        "megahertz": table["MHz"],
        "gigahertz": table["GHz"],
    }


def _scaled(unit: Unit, power: int) -> Unit:
    return Unit(unit.factor * Fraction(10) ** power, unit.dimensions)
