"""Words and n-grams of a text, after a normalization that makes spellings of the same text equal."""

import re
import unicodedata
from collections.abc import Iterator, Sequence

# Scripts that write words without spaces: one character is one token there, or a sentence would be one word.
UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Myanmar, Khmer
    "\u3040-\u30ff"  # Hiragana, Katakana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
)
WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")


def normalize(text: str) -> str:
    """NFKC and casefold: full-width and half-width, upper and lower case become one spelling."""
    return unicodedata.normalize("NFKC", text).casefold()


def words(text: str) -> list[str]:
    """The word tokens of a text: normalized, without punctuation."""
    return WORD.findall(normalize(text))


def ngrams(tokens: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    """Every run of `size` tokens, in order; none when there are fewer tokens."""
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    return (tuple(tokens[start : start + size]) for start in range(len(tokens) - size + 1))
