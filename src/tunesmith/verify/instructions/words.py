"""Words of a text: how many, and which stand in capitals as the usual treebank tokenizer would cut them."""

import re

from tunesmith.verify.instructions.sentences import sentences

WORD = re.compile(r"\w+")
# Marks that stand alone wherever they are; a colon or comma does unless a digit follows.
ALONE = re.compile(r"[«»“”„‘’`\"‒–—―;@#$%&?!*\[\](){}<>]|''|\.{2,}|--|[:,](?![0-9])")
SHORT_ENDING = re.compile(r"(?<=[^'\s])('[sSmMdD]|')\Z")
LONG_ENDING = re.compile(r"(?<=[^'\s])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T)\Z")
# Two words written as one, and what is cut off at the end of the first.
JOINED = re.compile(r"\b(can(?=not\b)|gim(?=me\b)|gon(?=na\b)|got(?=ta\b)|lem(?=me\b)|wan(?=na(?!\S)))", re.IGNORECASE)


def num_words(text: str) -> int:
    """How many runs of letters, digits and underscores the text has; `don't` is two."""
    return sum(1 for _ in WORD.finditer(text))


def capital_words(text: str) -> list[str]:
    """The tokens without a lower-case letter and with an upper-case one; `CO-OP` is one, `DON'T` is two."""
    return [token for sentence in sentences(text) for token in _tokens(sentence) if token.isupper()]


def _tokens(sentence: str) -> list[str]:
    spaced = ALONE.sub(" ", _without_final_period(sentence))
    return [token for chunk in spaced.split() for token in _parts(chunk)]


def _without_final_period(sentence: str) -> str:
    closing = sentence.rstrip(")]}>\"'»”’ \n\t\r")
    return closing[:-1] if closing.endswith(".") and not closing.endswith("..") else sentence


def _parts(chunk: str) -> list[str]:
    """A chunk between spaces without its clitics: `IT'S` is `IT` and `'S`."""
    endings: list[str] = []
    for pattern in (SHORT_ENDING, LONG_ENDING):
        ending = pattern.search(chunk)
        if ending is not None:
            chunk, endings = chunk[: ending.start()], [ending[0], *endings]
    return [*JOINED.sub(r"\1 ", chunk).split(), *endings]
