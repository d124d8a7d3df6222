"""Numbers in English words (twenty-six, two dozen and two, three quarters, minus one point five) and Roman numerals.

The grammar is strict: "twenty twelve" and "one two three" are no numbers. Words are read at most 60 at a time.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from tunesmith.verify.equivalence.numerals import SCALES, Number

LONGEST_RUN = 60
ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
SMALL = {word: value for value, word in enumerate(f"{ONES} eighteen nineteen".split())} | {"nought": 0}
TENS_IN_ORDER = "twenty thirty forty fifty sixty seventy eighty ninety"
TENS = {word: 10 * value for value, word in enumerate(TENS_IN_ORDER.split(), 2)}
LARGE = {word: SCALES[word] for word in ("thousand", "million", "billion", "trillion", "quadrillion")}
DOZENS = ("dozen", "dozens")
PARTS = {"half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8}
PARTS |= {"ninth": 9, "tenth": 10, "hundredth": 100, "thousandth": 1000}
PLURAL_PARTS = {f"{word}s": value for word, value in PARTS.items()} | {"halves": 2}
FIRST_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth"
ORDINALS = dict(zip(FIRST_ORDINALS.split(), ONES.split()[1:11], strict=True))
ORDINALS |= {f"{word}th": word for word in [*SMALL, "hundred", *LARGE] if word not in ORDINALS.values()}
ORDINALS |= {"twelfth": "twelve"} | {f"{word[:-1]}ieth": word for word in TENS}
VOCABULARY = {*SMALL, *TENS, *LARGE, *DOZENS, *PARTS, *PLURAL_PARTS, *ORDINALS, "hundred", "point", "percent", "minus"}
JOINERS = {"a", "an", "and", "of", "negative", "per", "cent"}
WORD = re.compile(r"[a-z]+", re.IGNORECASE)
ROMAN = re.compile(r"(?=[MDCLXVI])M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def read_words(text: str, ordinals: bool = False) -> Number | None:
    """The number that the whole text spells; with `ordinals`, also "third" and "twenty-sixth"."""
    words = text.lower().replace("-", " ").strip("*_`\"'() ").split()
    value = _Reader(words, ordinals).number() if 0 < len(words) <= LONGEST_RUN and len(text) < 1000 else None
    return None if value is None else _number(value, words, (0, len(text)), ordinals)


def find_words(text: str, ordinals: bool = False) -> list[Number]:
    """The spelled numbers of a text, in order; a lone "one" or "a half" only where there is nothing else."""
    found: list[Number] = []
    run: list[re.Match[str]] = []
    for match in WORD.finditer(text):
        word = match[0].lower()
        if run and text[run[-1].end() : match.start()] not in (" ", "-"):
            found, run = [*found, *_of_run(run, ordinals)] if _speaks(run) else found, []
        if word in VOCABULARY or word in JOINERS:
            run.append(match)
        elif run:
            found.extend(_of_run(run, ordinals))
            run = []
    found.extend(_of_run(run, ordinals))
    strong = [number for number in found if number.value not in (1, Fraction(1, 2)) or number.is_percent]
    return strong or found


def read_roman(text: str) -> Number | None:
    """A Roman numeral in capital letters, 1 to 3999, in its one correct spelling."""
    if len(text) > 15 or not ROMAN.fullmatch(text):
        return None
    values = [ROMAN_VALUES[letter] for letter in text]
    signed = [-one if one < after else one for one, after in zip(values, [*values[1:], 0], strict=True)]
    return Number(Fraction(sum(signed)), 0, len(text), "roman")


def _speaks(run: list[re.Match[str]]) -> bool:
    return any(match[0].lower() in VOCABULARY for match in run)


def _of_run(run: list[re.Match[str]], ordinals: bool) -> list[Number]:
    """The number of a run of number words, without the joiners at its ends; none where it is no number."""
    if not _speaks(run):
        return []
    while run and run[-1][0].lower() in ("a", "an", "and", "of", "per", "negative"):
        run = run[:-1]
    while run and run[0][0].lower() in ("and", "of", "per", "cent"):
        run = run[1:]
    words = [match[0].lower() for match in run]
    value = _Reader(words, ordinals).number() if 0 < len(words) <= LONGEST_RUN else None
    return [] if value is None else [_number(value, words, (run[0].start(), run[-1].end()), ordinals)]


def _number(value: Fraction, words: list[str], span: tuple[int, int], ordinals: bool) -> Number:
    is_percent = words[-1] in ("percent", "cent")
    return Number(value, *span, "percent" if is_percent else "words", is_percent, ordinals and words[-1] in ORDINALS)


@dataclass(slots=True)
class _Reader:
    """Recursive descent without recursion: `at` is the next word; each method eats what it reads."""

    words: list[str]
    ordinals: bool
    at: int = 0

    def number(self) -> Fraction | None:
        sign = -1 if self._eat("minus", "negative") else 1
        if self.ordinals and self.words[-1] in ORDINALS:
            self.words = [*self.words[:-1], ORDINALS[self.words[-1]]]
        value = self._quantity()
        if value is not None and (self._eat("percent") or (self._eat("per") and self._eat("cent"))):
            pass
        return None if value is None or self.at < len(self.words) else sign * value

    def _quantity(self) -> Fraction | None:
        if (part := self._part()) is not None:
            return part
        if (whole := self._cardinal()) is None:
            return None
        if self._eat("point"):
            return self._decimals(whole)
        before = self.at
        if self._eat("and"):
            if (part := self._part()) is not None:
                return whole + part
            self.at = before
        return Fraction(whole)

    def _part(self) -> Fraction | None:
        """Half, a half, half a dozen, one third, three quarters; None, with nothing eaten, for anything else."""
        start = self.at
        if self._eat("half"):
            return Fraction(1, 2) * self._unit_after_half()
        top = 1 if self._eat("a", "an", "one") else None
        if top and self._peek() in PARTS:
            return Fraction(1, PARTS[self._next()])
        self.at = start
        top = self._below_hundred()
        if top is not None and self._peek() in PLURAL_PARTS:
            return Fraction(top, PLURAL_PARTS[self._next()])
        self.at = start
        return None

    def _unit_after_half(self) -> int:
        start = self.at
        if self._eat("a", "of") and self._eat("dozen", "hundred", "thousand", "million", "billion"):
            return SCALES[self.words[self.at - 1]]
        self.at = start
        return 1

    def _cardinal(self) -> int | None:
        """Groups of thousands, falling; or dozens with a rest: two dozen and two."""
        total, ceiling = 0, 10**18
        while (group := self._group()) is not None:
            if self._peek() in DOZENS and not total:
                self.at += 1
                return self._dozens(group)
            scale = LARGE.get(self._peek(), 1)
            if scale >= ceiling or (total and not group):
                return None
            self.at += scale > 1
            total, ceiling = total + group * scale, scale
            start = self.at
            if scale == 1 or not (self._eat("and") or self._peek() in SMALL or self._peek() in TENS):
                return total
            if self._peek() not in SMALL and self._peek() not in TENS:
                self.at = start
                return total
        return None

    def _dozens(self, dozens: int) -> int:
        start = self.at
        if self._eat("and") and (rest := self._below_hundred()) is not None and self._peek() not in PLURAL_PARTS:
            return 12 * dozens + rest
        self.at = start
        return 12 * dozens

    def _group(self) -> int | None:
        """A number below ten thousand without a scale: five, a hundred and five, nineteen hundred."""
        start = self.at
        head = 1 if self._eat("a", "an") else self._below_hundred()
        is_article = self.words[start : start + 1] in (["a"], ["an"])
        if head is None or (is_article and self._peek() not in ("hundred", *LARGE, *DOZENS)):
            self.at = start
            return None
        if not self._eat("hundred"):
            return head
        before = self.at
        self._eat("and")
        rest = self._below_hundred()
        if rest is None or self._peek() in PLURAL_PARTS:
            self.at = before
            rest = 0
        return 100 * head + rest

    def _below_hundred(self) -> int | None:
        word = self._peek()
        if word in SMALL:
            return SMALL[self._next()]
        if word not in TENS:
            return None
        tens = TENS[self._next()]
        return tens + (SMALL[self._next()] if 0 < SMALL.get(self._peek(), 0) < 10 else 0)

    def _decimals(self, whole: int) -> Fraction | None:
        digits = ""
        while SMALL.get(self._peek(), 10) < 10:
            digits += str(SMALL[self._next()])
        return Fraction(f"{whole}.{digits}") if digits else None

    def _peek(self) -> str:
        return self.words[self.at] if self.at < len(self.words) else ""

    def _next(self) -> str:
        self.at += 1
        return self.words[self.at - 1]

    def _eat(self, *words: str) -> bool:
        if self._peek() not in words:
            return False
        self.at += 1
        return True
