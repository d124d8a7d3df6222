"""Instructions about case, language, punctuation, and how the text begins and ends."""

import re
from collections.abc import Sequence

from tunesmith.verify.instructions.findings import Finding, compared, shown
from tunesmith.verify.instructions.languages import language_of
from tunesmith.verify.instructions.words import capital_words

# How a chat answer announces itself instead of beginning.
PREAMBLE = re.compile(
    r"\W*(?:sure|certainly|of course|absolutely|okay|ok|alright|great|good question|great question|no problem|"
    r"happy to|i'd be happy|i would be happy|i'm happy|i can help|i'd love to|let me|let's|thank you|thanks|hello|hi|"
    r"as an ai|as a language model|i'm sorry|i am sorry|sorry|i can't|i cannot|here is|here are|here's|below is|"
    r"below are|the following is|the following are|to answer your|you asked|you're asking|the answer is|"
    r"my answer is|assistant:)(?!\w)",
    re.IGNORECASE,
)
FANCY_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"'})


def response_language(text: str, *, language: str) -> Finding:
    """The text is in this language; as published, a text without letters is in any."""
    found = language_of(text)
    return Finding(found in (None, language), f"the language is {found or 'not told by any letter'}")


def english_capital(text: str) -> Finding:
    """English, without a lower-case letter."""
    return _english(text) if text.isupper() else Finding(False, "letters that are not capitals")


def english_lowercase(text: str) -> Finding:
    """English, without a capital letter."""
    return _english(text) if text.islower() else Finding(False, "letters that are not lower-case")


def capital_word_frequency(text: str, *, capital_relation: str, capital_frequency: int) -> Finding:
    """At least, or less than, so many words in capitals."""
    return compared(len(capital_words(text)), capital_relation, capital_frequency, "words in capitals")


def no_comma(text: str) -> Finding:
    """No comma."""
    return Finding("," not in text, "a comma" if "," in text else "no comma")


def quotation(text: str) -> Finding:
    """The whole text stands in straight double quotation marks."""
    body = text.strip()
    wrapped = len(body) > 1 and body[0] == body[-1] == '"'
    return Finding(wrapped, "quotation marks around it" if wrapped else "no quotation marks around it")


def end_checker(text: str, *, end_phrase: str) -> Finding:
    """The text ends with this phrase, whatever its case and with or without a last quotation mark."""
    ends = text.strip().strip('"').lower().endswith(end_phrase.strip().lower())
    return Finding(ends, f"it ends {'with' if ends else 'without'} {shown(end_phrase)}")


def repeat_prompt(text: str, *, prompt_to_repeat: str) -> Finding:
    """The text begins with the request, word for word but for case."""
    begins = text.strip().lower().startswith(prompt_to_repeat.strip().lower())
    return Finding(begins, f"it {'repeats' if begins else 'does not repeat'} the request")


def lower_case(text: str) -> Finding:
    """No capital letter, and a letter at all; in any language."""
    return Finding(text.islower(), "lower-case letters" if text.islower() else "capitals, or no letters")


def upper_case(text: str) -> Finding:
    """No lower-case letter, and a letter at all; in any language."""
    return Finding(text.isupper(), "capital letters" if text.isupper() else "lower-case letters, or no letters")


def start_phrase(text: str, *, phrase: str) -> Finding:
    """The text begins with exactly this phrase."""
    begins = text.lstrip().translate(FANCY_QUOTES).startswith(phrase)
    return Finding(begins, f"it begins {'with' if begins else 'without'} {shown(phrase)}")


def end_phrase(text: str, *, phrase: str) -> Finding:
    """The text ends with exactly this phrase."""
    ends = text.rstrip().translate(FANCY_QUOTES).endswith(phrase)
    return Finding(ends, f"it ends {'with' if ends else 'without'} {shown(phrase)}")


def no_preamble(text: str) -> Finding:
    """The text does not announce itself, as with `Sure!` or `Here is`."""
    found = preamble(text)
    return Finding(found is None, "no preamble" if found is None else f"the preamble {shown(found)}")


def wrapped(text: str, *, opening: str, closing: str) -> Finding:
    """The whole text stands between two marks, with something inside and neither mark once more."""
    body = text.strip()
    inside = body[len(opening) : len(body) - len(closing)] if len(body) > len(opening) + len(closing) else ""
    is_wrapped = body.startswith(opening) and body.endswith(closing) and bool(inside.strip())
    followed = is_wrapped and opening not in inside and closing not in inside
    return Finding(followed, f"{'' if followed else 'not '}once between {opening} and {closing}")


def one_of(text: str, *, options: Sequence[str]) -> Finding:
    """The whole text is one of these, but for case, quotation marks and an end mark."""
    body = text.strip().strip("\"'*` ").rstrip(".!").casefold()
    found = any(body == option.rstrip(".!").casefold() for option in options)
    return Finding(found, f"it is {shown(text)}" + ("" if found else f", not one of {', '.join(options)[:80]}"))


def preamble(text: str) -> str | None:
    """The words with which a chat answer announces itself, where the text begins with such."""
    found = PREAMBLE.match(text[:200].translate(FANCY_QUOTES))
    return None if found is None else found[0]


def _english(text: str) -> Finding:
    return response_language(text, language="en")
