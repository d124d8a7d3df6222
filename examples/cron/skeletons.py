"""What remains of a phrasing once its numbers, times, days, and months are masked."""

from __future__ import annotations

import re
from collections.abc import Iterable

NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty", "thirty",
    "forty", "fifty", "sixty", "ninety",
)  # fmt: skip
ORDINAL_WORDS = (
    r"(?:(?:twenty|thirty)-)?(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth)|"
    r"tenth|eleventh|twelfth|(?:thir|four|fif|six|seven|eigh|nine)teenth|twentieth|thirtieth"
)
DAYS = r"(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?s?"
MONTHS = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
NUMBER = rf"(?:\d+|{'|'.join(NUMBER_WORDS)})"
HALF = r"(?:a\.m\.|p\.m\.|[ap]m\b|(?:in the (?:morning|afternoon|evening))|at night)"
RULES = (
    (r"[\u2018\u2019]", "'"),
    (r"\b(?:12 )?(?:noon|midnight|midday)\b", "<time>"),
    (rf"\b(?:half|quarter|{NUMBER}(?: {NUMBER})?(?: minutes)?) (?:past|to) (?={NUMBER}\b|<time>)", "<past> "),
    (r"\b\d{1,2}h\d{2}\b|\b\d{3,4} ?(?:h|hrs|hours)\b", "<time>"),
    (r"\b\d+(?:st|nd|rd|th)\b", "<ord>"),
    (rf"\b(?:{ORDINAL_WORDS})\b", "<ord>"),
    (rf"\b{NUMBER}(?:(?: oh)?[:. -]{NUMBER})*(?: o'clock)? ?{HALF}", "<time>"),
    (r"\b\d{1,2}[:.]\d{2}\b", "<time>"),
    (r"\b\d{1,2} o'clock\b", "<time>"),
    (rf"\b{NUMBER}(?:(?: oh)?[ -]{NUMBER})*", "<num>"),
    (rf"\b{DAYS}\b", "<day>"),
    (rf"\b{MONTHS}\b", "<month>"),
    (rf"<past> (?:<time>|<num>)(?: ?{HALF})?", "<time>"),
    (rf"<time> ?{HALF}", "<time>"),
    (r"(?<![<\w])[^\w<>\s]+|[^\w<>\s]+", " "),
)
COMPILED = tuple((re.compile(pattern), slot) for pattern, slot in RULES)


def mask_slots(text: str) -> str:
    """The slot-masked skeleton: lower case, no punctuation, every value replaced by its slot."""
    text = text.lower()
    for pattern, slot in COMPILED:
        text = pattern.sub(slot, text)
    return " ".join(text.split())


def shingles(text: str, size: int = 5) -> frozenset[str]:
    """The set of lower-cased character n-grams of a text."""
    text = " ".join(text.lower().split())
    return frozenset(text[start : start + size] for start in range(max(1, len(text) - size + 1)))


def jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    """The size of the intersection over the size of the union."""
    return len(left & right) / (len(left | right) or 1)


def skeletons(conversations: Iterable[dict]) -> set[str]:
    """The skeletons of all user messages that follow a system message."""
    return {
        mask_slots(message["content"])
        for conversation in conversations
        if conversation["messages"][0]["role"] == "system"
        for message in conversation["messages"]
        if message["role"] == "user"
    }


class NearDuplicates:
    """Answers whether a text comes close to any of the texts added, by exact Jaccard of 5-grams."""

    def __init__(self, threshold: float = 0.85) -> None:
        self.threshold = threshold
        self.by_length: dict[int, list[frozenset[str]]] = {}

    def add(self, text: str) -> None:
        """Remember a text."""
        grams = shingles(text)
        self.by_length.setdefault(len(grams), []).append(grams)

    def close(self, text: str) -> bool:
        """Whether some remembered text has at least the threshold's similarity."""
        grams = shingles(text)
        # Sets whose sizes differ by more than the threshold cannot reach it, so they are not compared.
        low, high = int(len(grams) * self.threshold), int(len(grams) / self.threshold) + 1
        return any(
            jaccard(grams, other) >= self.threshold
            for size in range(low, high + 1)
            for other in self.by_length.get(size, ())
        )
