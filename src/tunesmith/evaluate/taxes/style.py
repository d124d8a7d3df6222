"""Style per 100 words: polite phrases, hedges, Markdown structure, emoji. The phrases stand in phrases.json.

An answer of fewer than 20 words counts as one of 20, so that a lone "Sure!" is not 100 per 100 words.
"""

import json
import re
from functools import cache
from pathlib import Path

from tunesmith.evaluate.taxes.sets import WRITING
from tunesmith.evaluate.taxes.tax import Tax, each_text

PHRASES = Path(__file__).with_name("phrases.json")
FEWEST_WORDS = 20
MARKUP = re.compile(r"^[ \t]{0,8}(?:#{1,6}[ \t]|[-*+•][ \t]|\d{1,3}[.)][ \t])", re.MULTILINE)
PICTURE = "[\U0001f300-\U0001faff\u2600-\u27bf\u2b50\u2b55]"
TONE = "[\ufe0f\U0001f3fb-\U0001f3ff]"
# A flag is two letters, a family several pictures with joiners: each is one emoji.
EMOJI = re.compile(f"[\U0001f1e6-\U0001f1ff]{{2}}|{PICTURE}{TONE}*(?:\u200d{PICTURE}{TONE}*)*")


def per_100_words(pattern: re.Pattern[str], text: str) -> float:
    """How often `pattern` stands in 100 words of the text."""
    found = sum(1 for _ in pattern.finditer(text))
    return 100 * found / max(len(text.split()), FEWEST_WORDS)


@cache
def phrases(kind: str) -> re.Pattern[str]:
    """The phrases of a kind as whole words; the longest wins where several begin alike."""
    known = sorted(json.loads(PHRASES.read_text(encoding="utf-8"))[kind], key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, known))})\b")


def polite(text: str) -> float:
    """Polite phrases in 100 words."""
    return per_100_words(phrases("politeness"), _plain(text))


def hedging(text: str) -> float:
    """Hedges in 100 words."""
    return per_100_words(phrases("hedging"), _plain(text))


def markup(text: str) -> float:
    """Markdown headers and list items in 100 words."""
    return per_100_words(MARKUP, text)


def emoji(text: str) -> float:
    """Emoji in 100 words."""
    return per_100_words(EMOJI, text)


def _plain(text: str) -> str:
    return text.casefold().replace("’", "'")


UNIT = "per 100 words"
POLITENESS = Tax("politeness", WRITING, "Polite phrases in 100 words.", "lower", UNIT, each_text(polite))
HEDGING = Tax("hedging", WRITING, "Hedges such as 'perhaps' in 100 words.", "lower", UNIT, each_text(hedging))
MARKDOWN = Tax("markdown", WRITING, "Headers and list items in 100 words.", "lower", UNIT, each_text(markup))
EMOJIS = Tax("emoji", WRITING, "Emoji in 100 words.", "lower", UNIT, each_text(emoji))
