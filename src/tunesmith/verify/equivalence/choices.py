"""The types `choice` (A, (B), option C, or the option's own words) and `boolean` (yes, no, true, false)."""

import re
from dataclasses import replace

from tunesmith.verify.equivalence.numerals import prepared
from tunesmith.verify.equivalence.readings import Kind, Reading, Wanted
from tunesmith.verify.equivalence.texts import bare, normalized

LETTER = re.compile(r"[(\[{]?([A-Za-z])[)\]}]?[.:]?")
LABELED = re.compile(r"[(\[{]?([A-Z])(?:[)\]}][.:]?|[.:]) ?\S.*|([A-Z]) ?[-:=] ?\S.*", re.DOTALL)
NAMED = re.compile(
    r"\b(?i:options?|choices?|answers?|letters?)(?:[ *_]{0,4}(?:is|:))?[ *_]{1,4}[(\[]?([A-Z])\b[)\]]?(?!')"
    r"|[(\[]([A-Z])[)\]]"
    r"|(?m:^)\**([A-Z])(?:\*\*|[.):](?= |\*|$))"
)
ALONE = re.compile(r"(?<![\w'&-])([B-HJ-Z])(?![\w'&+#-])")
PAIR = re.compile(
    r"(?<![\w'])\(?([A-Z])\)?[*_]{0,2} ?"
    r"(?:/|&|and|or|,(?= ?\(?[A-Z]\)?[.!*)]{0,3}(?:$|,| and\b| or\b)))"
    r" ?[*_]{0,2}\(?([A-Z])\)?(?![\w'])"
)
NAMING = re.compile(r"(?:the )?(?:correct |right |best )?(?:option|choice|answer|letter)s?(?: is)?:? ", re.IGNORECASE)
YES = {"yes", "true", "correct", "yep", "yeah", "right", "affirmative"}
NO = {"no", "false", "incorrect", "nope", "wrong", "negative", "untrue"}
SHORT = {"y": True, "t": True, "n": False, "f": False}
FIRST_WORD = re.compile(
    r"[*_\"'` ]{0,6}(yes|no|true|false|correct|incorrect|yep|yeah|nope)\b"
    r"(?! (?:one|matter|longer|more|doubt|problem|way)\b)",
    re.IGNORECASE,
)
HEDGE = re.compile(r"[*_ ]{0,4}(?:,|/)? ?(?:and|or|&|/) ?[*_ ]{0,4}(?:yes|no|true|false)\b", re.I)
LAST_WORD = re.compile(
    r"\b(not |n't )?(yes|no|true|false|correct|incorrect|right|wrong|untrue)[*_\"'.!) ]{0,6}\Z", re.I
)
MARKED = re.compile(
    r"\b(?:the )?(?:statement|claim|sentence|assertion|answer) is[*_ ]{1,4}(not )?[*_ ]{0,3}"
    r"(true|false|correct|incorrect|yes|no)\b",
    re.IGNORECASE,
)


def read_choice(text: str, wanted: Wanted) -> Reading | None:
    """One letter in its usual spellings, a letter with the option's words after it, or these words alone."""
    text = bare(text)
    if (by_words := _by_words(text, wanted)) is not None:
        return by_words
    naming = NAMING.match(text)
    rest = bare(text[naming.end() :]) if naming else text
    if match := LETTER.fullmatch(rest):
        return _choice(match[1].upper(), "letter", (0, len(text)), wanted)
    match = LABELED.match(rest)
    if match is None or len(rest) > 300:
        return None
    letter = match[1] or match[2]
    if any(letter not in named.groups() for named in NAMED.finditer(rest)):
        return None
    other = _by_words(bare(re.sub(r"^\W*\w\W*", "", rest)), wanted)
    problem = "contradiction" if other is not None and other.value != letter else ""
    reading = _choice(letter, "letter and words", (0, len(text)), wanted)
    return None if reading is None else replace(reading, problem=problem)


def find_choices(text: str, wanted: Wanted) -> list[Reading]:
    """Letters that are named as options or stand in brackets; else capital letters alone, but not A and I.

    Two letters side by side, such as A or B, are a problem.
    """
    pairs = [match for match in PAIR.finditer(text) if match[1] != match[2] and _are_letters(match, wanted)]
    for pattern in (NAMED, ALONE):
        found = []
        for match in pattern.finditer(text):
            group = next(at for at in (1, 2, 3) if match.re.groups < at or match[at]) if match.re.groups > 1 else 1
            reading = _choice(match[group], "letter", match.span(), wanted)
            if reading is not None:
                found.append(reading)
        if found:
            last = found[-1]
            is_pair = any(match.start() < last.end and last.start < match.end() for match in pairs)
            return [*found[:-1], replace(last, problem="contradiction")] if is_pair else found
    if pairs:
        return [Reading(None, "letter", *pairs[-1].span(), "contradiction")]
    words = [(normalized(option), at) for at, option in enumerate(wanted.options)]
    folded = normalized(text)
    inside = [at for option, at in words if option and re.search(rf"(?<!\w){re.escape(option)}(?!\w)", folded)]
    return [Reading(chr(65 + inside[0]), "words", 0, len(text))] if len(inside) == 1 else []


def read_boolean(text: str, wanted: Wanted) -> Reading | None:
    word = bare(text).lower().strip("().")
    if word in YES | NO:
        return Reading(word in YES, "word", 0, len(text))
    return Reading(SHORT[word], "letter", 0, len(text)) if word in SHORT else None


def find_booleans(text: str, wanted: Wanted) -> list[Reading]:
    """The first word; then "the statement is true"; then the last word. "Yes and no" is a problem."""
    first = FIRST_WORD.match(text)
    if first and HEDGE.match(text, first.end()):
        return [Reading(None, "word", *first.span(), "contradiction")]
    found = [_boolean(match, 2, 1) for match in MARKED.finditer(text)]
    if first and not found:
        found = [Reading(first[1].lower() in YES, "first word", *first.span())]
    elif first and found[-1].value != (first[1].lower() in YES):
        return [Reading(None, "word", *first.span(), "contradiction")]
    last = LAST_WORD.search(text, max(0, len(text) - 40)) if not found else None
    return [_boolean(last, 2, 1)] if last else found


def same_or_not(gold: Reading, seen: Reading, wanted: Wanted) -> str | None:
    return None if gold.value == seen.value else "differs"


def _boolean(match: re.Match[str], word: int, negation: int) -> Reading:
    return Reading((match[word].lower() in YES) != bool(match[negation]), "statement", *match.span())


def _choice(letter: str, form: str, span: tuple[int, int], wanted: Wanted) -> Reading | None:
    last = 64 + len(wanted.options) if wanted.options else 90
    return Reading(letter, form, *span) if ord(letter) <= last else None


def _are_letters(match: re.Match[str], wanted: Wanted) -> bool:
    last = 64 + (len(wanted.options) or 10)
    return ord(match[1]) <= last and ord(match[2]) <= last


def _by_words(text: str, wanted: Wanted) -> Reading | None:
    plain_text = normalized(text)
    for at, option in enumerate(wanted.options):
        if normalized(option) == plain_text:
            return Reading(chr(65 + at), "words", 0, len(text))
    return None


CHOICE = Kind(prepared, read_choice, find_choices, same_or_not, ("options",))
BOOLEAN = Kind(prepared, read_boolean, find_booleans, same_or_not)
