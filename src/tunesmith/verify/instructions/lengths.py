"""Instructions about length: words, sentences, paragraphs, and the word that begins a paragraph."""

import re

from tunesmith.verify.instructions import words
from tunesmith.verify.instructions.findings import Finding, compared, exactly, shown
from tunesmith.verify.instructions.sentences import sentences

DIVIDER = re.compile(r"\s?\*\*\*\s?")
WORD_END = re.compile("[.,?!'\"]")


def number_words(text: str, *, relation: str, num_words: int) -> Finding:
    """At least, or less than, so many words."""
    return compared(words.num_words(text), relation, num_words, "words")


def number_sentences(text: str, *, relation: str, num_sentences: int) -> Finding:
    """At least, or less than, so many sentences."""
    return compared(len(sentences(text)), relation, num_sentences, "sentences")


def number_paragraphs(text: str, *, num_paragraphs: int) -> Finding:
    """Exactly so many paragraphs with `***` between them; only the first and the last piece may be empty."""
    pieces = [piece.strip() for piece in DIVIDER.split(text)]
    if not all(pieces[1:-1]):
        return Finding(False, "an empty paragraph between two ***")
    # A text that is one empty piece is its first and its last.
    empty = (not pieces[0]) + (len(pieces) > 1 and not pieces[-1])
    return exactly(len(pieces) - empty, num_paragraphs, "paragraphs divided by ***")


def nth_paragraph_first_word(text: str, *, num_paragraphs: int, nth_paragraph: int, first_word: str) -> Finding:
    """Exactly so many paragraphs with a blank line between them, and one begins with a given word.

    As published, empty pieces are left out of the number of paragraphs but not of their numbering.
    """
    pieces = text.split("\n\n")
    count = sum(1 for piece in pieces if piece.strip())
    if nth_paragraph > count:
        return Finding(False, f"{count} paragraphs, number {nth_paragraph} is asked for")
    found = pieces[nth_paragraph - 1].split(maxsplit=1)
    if not found:
        return Finding(False, f"paragraph {nth_paragraph} is empty")
    word = WORD_END.split(found[0].lstrip("'").lstrip('"'), maxsplit=1)[0]
    begin = "".join(letter.lower() for letter in word)
    if begin != first_word.lower():
        return Finding(False, f"paragraph {nth_paragraph} begins with {shown(begin)}, not {shown(first_word)}")
    return exactly(count, num_paragraphs, "paragraphs")


def exact_words(text: str, *, num_words: int) -> Finding:
    """Exactly so many words, white space between them."""
    return exactly(len(text.split()), num_words, "words")


def exact_sentences(text: str, *, num_sentences: int) -> Finding:
    """Exactly so many sentences."""
    return exactly(len(sentences(text)), num_sentences, "sentences")


def exact_lines(text: str, *, num_lines: int) -> Finding:
    """Exactly so many lines that are not blank."""
    return exactly(sum(1 for line in text.splitlines() if line.strip()), num_lines, "lines")
