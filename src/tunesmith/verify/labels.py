"""The scorer `label`: which of a fixed set of labels does an answer name?"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from tunesmith.errors import EvaluateError

READ = 2000
WORD = re.compile(r"\w+")


def label(item: dict[str, Any], completion: str) -> tuple[float, str]:
    """Right when the answer names the expected label of the item's `choices`, and no other.

    Case, punctuation and the marks between words do not count; a label within a longer one that is named, such as
    "date" in "pay date", is not named. Only the first 2,000 characters are read.
    """
    expected = item["answer"]["value"]
    if expected not in item.get("choices", ()):
        raise EvaluateError(f"the label {expected!r} is none of the item's choices")
    seen = read_label(item, completion)
    if seen is None:
        return 0.0, "it names none of the labels, or several."
    return float(seen == expected), f"it names {seen!r}" + (
        ", as expected." if seen == expected else f", not {expected!r}."
    )


def read_label(item: Mapping[str, Any], completion: str) -> str | None:
    """The only label that an answer names; None where it names none or several."""
    words = _words(completion[:READ])
    spelled = {str(choice): _words(choice) for choice in item["choices"]}
    whole = [choice for choice, named in spelled.items() if named == words]
    if len(whole) == 1:
        return whole[0]
    spans = [
        (start, start + len(named), choice) for choice, named in spelled.items() for start in _places(named, words)
    ]
    widest = {
        choice
        for start, end, choice in spans
        if not any(a <= start and end <= b and b - a > end - start for a, b, _ in spans)
    }
    return widest.pop() if len(widest) == 1 else None


def _words(text: str) -> list[str]:
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold().replace("_", " "))


def _places(named: list[str], words: list[str]) -> list[int]:
    """Where a label's words stand in the answer's."""
    return [at for at in range(len(words) - len(named) + 1) if named and words[at : at + len(named)] == named]
