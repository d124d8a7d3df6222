"""The opening sentences of an answer, in one spelling: what refusals and abstentions are read from."""

import re
import unicodedata

READ = 4_000
LONGEST_SENTENCE = 400
QUOTED = re.compile(r"[\"“«][^\"“”«»\n]{0,300}[\"”»]")
SENTENCE_END = re.compile(r"(?<=[.!?。！？।])[\"')*]*\s+|(?<=[。！？।])|\n+")
PLAIN = str.maketrans({**dict.fromkeys("’‘ʼ`", "'"), **dict.fromkeys("—–", "-"), **dict.fromkeys("*_#")})
PIVOT = re.compile(
    r"(?:[,;:-]| )\s*(?:but|however|though|although|yet|instead|still|pero|mais|aber|ma|mas|maar|но)\b[, ]*"
)


def sentences(answer: str) -> list[tuple[int, str]]:
    """The sentences of an answer's first 4,000 characters, and where each starts.

    In lower case, with plain apostrophes, without quotations, Markdown marks and what is longer than 400 characters.
    Sentences without a letter or digit are left out.
    """
    text = unicodedata.normalize("NFKC", answer.lstrip()[:READ]).translate(PLAIN).casefold()
    text = QUOTED.sub(" ", text)
    found, start = [], 0
    for end in [*SENTENCE_END.finditer(text), None]:
        stop = len(text) if end is None else end.start()
        piece = " ".join(text[start : min(stop, start + LONGEST_SENTENCE)].split())
        if any(character.isalnum() for character in piece):
            found.append((start, piece))
        start = stop if end is None else end.end()
    return found


def after_pivot(sentence: str, match: re.Match[str] | None) -> str:
    """What a sentence says after a "but" that follows `match`; empty where there is none."""
    pivot = None if match is None else PIVOT.search(sentence, match.end())
    return "" if pivot is None else sentence[pivot.end() :]
