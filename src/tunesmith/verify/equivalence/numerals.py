"""Numbers in digits: where they stand in a text, and what they are worth.

A number is read in one notation (English 1,234.5 unless the answer names a locale): what is not written in it,
such as 1,5 in English, a version 3.5.2 or a time 10:30, is no number. Values are exact fractions.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from tunesmith.verify.equivalence.texts import plain

LONGEST_DIGITS = 1000
LARGEST_EXPONENT = 1000
POINT_GROUPS = ("da", "de", "el", "es", "id", "it", "nl", "pt", "ro", "sl", "tr", "vi")
SPACE_GROUPS = ("bg", "cs", "fi", "fr", "hu", "nb", "no", "pl", "ru", "sk", "sv", "uk")
# Locale -> (thousands separator, decimal separator).
NOTATIONS = {
    "en": (",", "."),
    **dict.fromkeys(POINT_GROUPS, (".", ",")),
    **dict.fromkeys(SPACE_GROUPS, (" ", ",")),
    "de-ch": ("'", "."),
}
SCALES = {
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "quadrillion": 10**15,
    "dozen": 12,
    "dozens": 12,
    "k": 10**3,
    "mn": 10**6,
    "bn": 10**9,
}
CURRENCY_CODES = "USD|EUR|GBP|JPY|INR|CHF|CNY|CAD|AUD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|KRW|RUB|BRL|MXN|ZAR|SGD|HKD|TRY|THB"
PREFIX = re.compile(
    r"(?P<sign>(?<![\w)\].])[-+]|(?<![0-9)] )\b(?i:minus|negative) )?"
    rf"(?:(?P<money>(?:\b(?:US|CA|C|AU|A|NZ|HK|S|R))?\$ ?|[€£¥₹₩₽₺₿¢] ?|\b(?:{CURRENCY_CODES}) )(?P<inner>[-+])?)?\Z"
)
LONGEST_PREFIX = 14
RUN = r"[0-9]+(?:[.,:_][0-9]+|'[0-9]{3}(?![0-9]))*%s|[.,][0-9]+"
SPACED_GROUPS = r"(?: [0-9]{3}(?![0-9]))*(?:,[0-9]+)?"
EXPONENT = re.compile(
    r"[eE](?P<plain>[-+]?[0-9]+)(?!\w)| ?(?:[x×*·]|\\times|\\cdot) ?10(?:\^|\*\*)[{(]?(?P<ten>[-+]?[0-9]+)[)}]?"
)
POWER = re.compile(r"(?:\^|\*\*)[{(]?(?P<power>[-+]?[0-9]+)[)}]?")
OVER = re.compile(r" ?/ ?(?P<bottom>[0-9]+(?:\.[0-9]+)?)(?![0-9]*[/.,:^][0-9])")
MIXED = re.compile(r"(?: | and )(?P<top>[0-9]{1,9}) ?/ ?(?P<bottom>[0-9]{1,9})(?![0-9/])")
SCALE = re.compile(
    r" (hundred|thousand|million|billion|trillion|quadrillion|dozens?|mn|bn)\b|(k|mn|bn)\b", re.IGNORECASE
)
PERCENT = re.compile(r" ?(?:%|percent\b|per cent\b|pct\b)", re.IGNORECASE)
ORDINAL = re.compile(r"(?:st|nd|rd|th)\b", re.IGNORECASE)
FRACTION_COMMAND = re.compile(r"\\[dt]?frac ?(?:\{([0-9.,]{1,40})\} ?\{([0-9.,]{1,40})\}|([0-9]) ?([0-9]))")
WRAPPERS = re.compile(r"\\(?:text|mathrm|mathbf|textbf|operatorname) ?\{([^{}\\]{0,80})\}")
SPACE_COMMANDS = re.compile(r"\\[,;:! ]|\\quad\b|~")
DELIMITERS = re.compile(r"\\[()\[\]]|\\left\b|\\right\b|\\displaystyle\b")
DOLLARS = re.compile(r"(?<!\\)\$([^$\n]{1,200}(?<!\s))\$(?![0-9])")
OTHER_BASE = re.compile(r"0[xXbo][0-9A-Fa-f]")
DATE_LIKE = re.compile(r" ?/ ?[0-9]")
REST_OF_RUN = re.compile(r"[0-9.,:'/eE^+{}()*-]*")
CIRCLE = re.compile(r"\^\{?\\circ\}?")


@dataclass(frozen=True, slots=True)
class Number:
    """A number at `text[start:end]`; `money` is the currency sign before it, `form` says how it is written."""

    value: Fraction
    start: int
    end: int
    form: str = "digits"
    is_percent: bool = False
    is_ordinal: bool = False
    money: str = ""


def prepared(text: str) -> str:
    """A plain text without simple LaTeX."""
    return without_latex(plain(text))


def without_latex(text: str) -> str:
    r"""Simple LaTeX as plain text: \frac{3}{4} is 3/4, 1{,}234 is 1,234, \text{km} is km, \$ is $."""
    if "\\" not in text and "$" not in text and "{" not in text:
        return text
    text = CIRCLE.sub("°", SPACE_COMMANDS.sub(" ", text.replace("{,}", ",")))
    text = FRACTION_COMMAND.sub(lambda found: f" {found[1] or found[3]}/{found[2] or found[4]}", text)
    text = DELIMITERS.sub("", DOLLARS.sub(r"\1", WRAPPERS.sub(r" \1", text)))
    text = text.replace("\\%", "%").replace("\\$", "$")
    return "\n".join(" ".join(line.split()) for line in text.split("\n")).strip()


def notation_of(locale: str) -> tuple[str, str] | None:
    """The separators of a locale such as `de`, `de-CH` or `en_US`; None where it is not known."""
    name = locale.lower().replace("_", "-")
    return NOTATIONS.get(name) or NOTATIONS.get(name.split("-")[0])


def find_numbers(text: str, locale: str = "en", letters: bool = True) -> list[Number]:
    """The numbers of a plain text, in order; linear in its length. With `letters`, 10k is ten thousand."""
    return list(_numbers(text, locale, letters))


def read_number(text: str, locale: str = "en") -> Number | None:
    """The number that the whole text is, but for wrapping marks; None where it is anything else."""
    text = text.strip("*_`\"'() ")
    if len(text) > 2 * LONGEST_DIGITS:
        return None
    if re.fullmatch(r"[-+]?[0-9]{1,3}(?: [0-9]{3})+(?:[.,][0-9]+)?(?: ?%)?", text):
        text = text.replace(" ", "")
    elif re.fullmatch(r"[-+]?[0-9]{1,3}(?:_[0-9]{3})+(?:\.[0-9]+)?", text):
        text = text.replace("_", "")
    found = next(_numbers(text, locale), None)
    return found if found is not None and (found.start, found.end) == (0, len(text)) else None


def _numbers(text: str, locale: str, letters: bool = True) -> Iterator[Number]:
    position, pattern = 0, _pattern(locale)
    while match := pattern.search(text, position):
        prefix = PREFIX.search(text, max(position, match.start() - LONGEST_PREFIX), match.start())
        start = prefix.start() if prefix else match.start()
        is_foreign = _is_inside_a_word(text, start) or OTHER_BASE.match(text, match.start())
        value = None if is_foreign else _worth(match[0], locale)
        number = None
        if value is not None:
            money = ((prefix and prefix["money"]) or "").strip()
            number = _with_suffixes(Number(value, start, match.end(), money=money), text, prefix, letters)
        position = max(match.end(), _end_of_run(text, match.end()) if number is None else number.end)
        if number is not None:
            yield number


def _is_inside_a_word(text: str, start: int) -> bool:
    """Whether a number that begins here belongs to what is before it, as in GPT4, x^2 and x^{-2}."""
    if not start:
        return False
    before = text[max(0, start - 2) : start]
    return before[-1].isalnum() or before[-1] in "_^.," or (before[0] == "^" and before[-1] in "{(+-")


@lru_cache(maxsize=64)
def _pattern(locale: str) -> re.Pattern[str]:
    spaced = notation_of(locale) == (" ", ",")
    return re.compile(RUN % (SPACED_GROUPS if spaced else ""))


def _worth(run: str, locale: str) -> Fraction | None:
    """What a run of digits and separators is worth in a notation; None where it is not written in it."""
    group, point = notation_of(locale) or NOTATIONS["en"]
    whole, _, decimals = run.partition(point)
    if len(run) > LONGEST_DIGITS or (not whole and not decimals) or (decimals and not decimals.isdigit()):
        return None
    if not whole.isdigit() and whole:
        head, *groups = whole.split(group)
        if not (0 < len(head) <= 3 and head.isdigit() and all(len(part) == 3 and part.isdigit() for part in groups)):
            return None
        whole = head + "".join(groups)
    return Fraction(f"{whole or 0}.{decimals or 0}")


def _with_suffixes(number: Number, text: str, prefix: re.Match[str] | None, letters: bool) -> Number | None:
    """The number with exponent, power, fraction, scale word, percent sign and minus; None beyond the bounds."""
    grown = _powered(number, text)
    grown = None if grown is None else _over(grown, text)
    if grown is None or text[grown.end : grown.end + 1] == "^":
        return None
    if (scale := SCALE.match(text, grown.end)) and (letters or scale[1]):
        worth = SCALES[(scale[1] or scale[2]).lower()]
        grown = replace(grown, value=grown.value * worth, end=scale.end(), form="digits and words")
    if percent := PERCENT.match(text, grown.end):
        grown = replace(grown, end=percent.end(), is_percent=True, form="percent")
    elif ordinal := ORDINAL.match(text, grown.end):
        grown = replace(grown, end=ordinal.end(), is_ordinal=True, form="ordinal")
    signs = f"{prefix['sign'] or ''}{prefix['inner'] or ''}".lower() if prefix else ""
    is_negative = signs.startswith(("-", "minus", "negative")) or signs.endswith("-")
    return replace(grown, value=-grown.value) if is_negative else grown


def _powered(number: Number, text: str) -> Number | None:
    if match := EXPONENT.match(text, number.end):
        digits = match["plain"] or match["ten"]
        base = Fraction(10)
    elif match := POWER.match(text, number.end):
        digits, base = match["power"], number.value
    else:
        return number
    power = int(digits) if len(digits) <= 5 else LARGEST_EXPONENT + 1
    size = len(str(base.numerator)) + len(str(base.denominator)) - 2
    if abs(power) * max(1, size) > LARGEST_EXPONENT or (power < 0 and not base):
        return None
    times = number.value if base == 10 and match.re is EXPONENT else Fraction(1)
    return replace(number, value=times * base**power, end=match.end(), form="scientific")


def _over(number: Number, text: str) -> Number | None:
    """A fraction 3/4 or a mixed number 1 1/2; None for a division by zero and for chains such as 3/4/2024."""
    if number.value.denominator == 1 and (mixed := MIXED.match(text, number.end)):
        top, bottom = int(mixed["top"]), int(mixed["bottom"])
        if top < bottom:
            return replace(number, value=number.value + Fraction(top, bottom), end=mixed.end(), form="fraction")
    if over := OVER.match(text, number.end):
        bottom_value = Fraction(over["bottom"]) if len(over["bottom"]) <= LONGEST_DIGITS else Fraction(0)
        if not bottom_value:
            return None
        return replace(number, value=number.value / bottom_value, end=over.end(), form="fraction")
    return None if DATE_LIKE.match(text, number.end) else number


def _end_of_run(text: str, position: int) -> int:
    """Where the digits and slashes end that belong to something which is no number, such as a date."""
    match = REST_OF_RUN.match(text, position)
    return match.end() if match else position
