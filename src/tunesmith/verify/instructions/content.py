"""Instructions about what stands in the text: keywords, letters, placeholders, postscripts, codes that stay secret."""

import re
from collections.abc import Sequence

from tunesmith.verify.instructions.findings import Finding, at_least, compared, shown

# As published: `P.S.` with its last period, `P.P.S` with or without.
POSTSCRIPTS = {"P.S.": re.compile(r"p\.\s?s\."), "P.P.S": re.compile(r"p\.\s?p\.\s?s")}


def existence(text: str, *, keywords: Sequence[str]) -> Finding:
    """Every keyword, whatever its case, also inside longer words."""
    missing = [keyword for keyword in keywords if not _found(keyword, text)]
    return Finding(not missing, f"without {shown(missing[0])}" if missing else "all keywords")


def frequency(text: str, *, keyword: str, relation: str, frequency: int) -> Finding:
    """A keyword at least, or less than, so many times, whatever its case, also inside longer words."""
    count = sum(1 for _ in re.finditer(re.escape(keyword.strip()), text, re.IGNORECASE))
    return compared(count, relation, frequency, f"times {shown(keyword)}")


def forbidden_words(text: str, *, forbidden_words: Sequence[str]) -> Finding:
    """None of these as a whole word, whatever the case."""
    for word in forbidden_words:
        if re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE):
            return Finding(False, f"with {shown(word)}")
    return Finding(True, "no forbidden word")


def letter_frequency(text: str, *, letter: str, let_relation: str, let_frequency: int) -> Finding:
    """A letter, or any one character, at least, or less than, so many times, whatever its case."""
    return compared(text.lower().count(letter.lower()), let_relation, let_frequency, f"times {shown(letter)}")


def number_placeholders(text: str, *, num_placeholders: int) -> Finding:
    """At least so many `[placeholders]`, each on one line."""
    count = sum(_num_placeholders(line) for line in text.split("\n"))
    return at_least(count, num_placeholders, "placeholders")


def postscript(text: str, *, postscript_marker: str) -> Finding:
    """A postscript with this marker, anywhere."""
    marker = postscript_marker.strip()
    pattern = POSTSCRIPTS.get(marker) or re.compile(re.escape(marker.lower()))
    found = pattern.search(text.lower()) is not None
    return Finding(found, f"a postscript {marker}" if found else f"no postscript {marker}")


def secret_kept(text: str, *, secret: str) -> Finding:
    """The code word does not appear, not even spaced out, hyphenated or written backwards."""
    letters, code = _letters(text), _letters(secret)
    told = code in letters or code[::-1] in letters
    return Finding(not told, f"the code word {shown(secret)} is told" if told else "the code word is not told")


def no_digits(text: str) -> Finding:
    """No digit."""
    found = re.search(r"\d", text)
    return Finding(found is None, "no digit" if found is None else f"the digit {found[0]}")


def mentions(text: str, *, words: Sequence[str]) -> Finding:
    """At least one of these words or phrases, whole, whatever the case."""
    for word in words:
        if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE):
            return Finding(True, f"with {shown(word)}")
    return Finding(False, f"without {shown(words[0])}")


def _found(keyword: str, text: str) -> bool:
    return re.search(re.escape(keyword), text, re.IGNORECASE) is not None


def _num_placeholders(line: str) -> int:
    """How often `[` has a `]` behind it, each pair behind the one before."""
    count, place = 0, 0
    while (opening := line.find("[", place)) >= 0 and (closing := line.find("]", opening)) >= 0:
        count, place = count + 1, closing + 1
    return count


def _letters(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())
