"""The type `text`: words, equal but for case, white space, articles, quotes and emphasis."""

import re

from tunesmith.verify.equivalence.numerals import prepared
from tunesmith.verify.equivalence.readings import Kind, Reading, Wanted
from tunesmith.verify.equivalence.texts import bare, normalized

LONGEST_PHRASE = 300
ARTICLE = re.compile(r"(?:the|an|a) (?=\S)")
SAYS = re.compile(r"(?: is| are| was| were|:) +(?=\S)")
DOUBT = re.compile(
    r"\b(?:not|never|no|neither|nor|if|whether|maybe|perhaps|possibly|might|could|or|unless|unsure|think)\b|n't|\?"
)


def read_phrase(text: str, wanted: Wanted) -> Reading | None:
    """A text without its first article, quotes and emphasis."""
    phrase = without_article(text)
    return Reading(phrase, "without articles, quotes and emphasis", 0, len(text)) if phrase else None


def find_phrases(text: str, wanted: Wanted) -> list[Reading]:
    """What one short sentence without doubt or negation ends with: "The capital of France is Paris." """
    line = " ".join(bare(text[: LONGEST_PHRASE + 1]).split())
    if len(text) > LONGEST_PHRASE or DOUBT.search(line.lower()) or re.search(r"[.!?] [A-Z]", line):
        return []
    says = list(SAYS.finditer(line))
    end = line[says[-1].end() :] if says else ""
    return [Reading(without_article(end), "end of the sentence", 0, len(text))] if end else []


def without_article(text: str) -> str:
    phrase = normalized(bare(text))
    return normalized(bare(ARTICLE.sub("", phrase, count=1) if ARTICLE.match(phrase) else phrase))


def phrases_differ(gold: Reading, seen: Reading, wanted: Wanted) -> str | None:
    return None if gold.value == seen.value else "differs"


TEXT = Kind(prepared, read_phrase, find_phrases, phrases_differ)
