"""Sentences of an English text, cut where the Punkt method with its usual English model would cut.

After Kiss and Strunk, Unsupervised Multilingual Sentence Boundary Detection (2006): ends are `.`, `?` and `!` before
white space or closing punctuation, but for abbreviations, initials, ellipses and numbers. The published model knows
thousands of words by their case; here short lists stand for it, see docs/instructions.md. Linear in the text.
"""

import re
from itertools import zip_longest

WORD = re.compile(r"\S+")
ENDS = ".?!"
MAYBE = re.compile(r"[.?!]")
# What may follow an end inside a word, as in `end.)` or `**end.**`.
MARKS = frozenset(")\";}]*:@'({[!?‘’“”«»")
# A mark alone, or one character and all up to the next mark; `'`, `!` and `?` may begin a longer token.
TOKEN = re.compile(r"[)\";}\]*:@({\[‘’“”«»]|\S[^)\";}\]*:@'({\[!?‘’“”«»]*")
CLOSING = re.compile(r"\s*[\"')\]}‘’“”«»]+(?=\s|--|$)")
NUMBER = re.compile(r"-?[.,]?[0-9][0-9,.-]*\.")
ELLIPSIS = ".."


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


ABBREVIATIONS = _words(
    "mr mrs ms messrs dr prof st jr sr gen col lt maj sen rep vs u.s u.k u.n u.s.a a.m p.m ph.d a.d d.c n.y l.a inc "
    "ltd co corp cos bros jan feb aug sep sept oct nov dec wed thu fri sat sun ave ft"
)
# Letters that stand for names more often than for themselves: no sentence ends at `T.`, one may end at `A.`.
NAME_LETTERS = frozenset("cdefghklmnprstvw")
# A capital letter of these after an abbreviation or an ellipsis begins a sentence.
STARTERS = _words(
    "according although among both but despite even finally he her here however if in indeed instead it many meanwhile "
    "moreover most nevertheless nonetheless nor please separately similarly since so some still such the there these "
    "they this though thus under were when which while without yet your turn above overall remember note try think yes "
    "okay example besides therefore hence furthermore call ask imagine someone nothing anything tomorrow yesterday "
    "being doing does"
)
# After a lone letter, as in `and I.`, so does a capital letter of these.
COMMON_WORDS = STARTERS | _words(
    "a after all also an and another any are as at be because before by can could did do during each every first for "
    "from had has have his how is its just last let may might must my next no not now of on once only or other our "
    "she should that then to until was we what where who why will with would you"
)


def sentences(text: str) -> list[str]:
    """The sentences of `text`, without the white space around them. A text without an end is one sentence."""
    words = list(WORD.finditer(text))
    pieces: list[str] = []
    start = 0
    for word, after in zip_longest(words, words[1:]):
        for end in _ends_in(word[0], after[0] if after else None):
            cut = word.start() + end + 1
            closing = CLOSING.match(text, cut)
            cut = cut if closing is None else closing.end()
            pieces.append(text[start:cut].strip())
            start = cut
    return [piece for piece in [*pieces, text[start:].strip()] if piece]


def _ends_in(word: str, after: str | None) -> list[int]:
    """The places in `word` behind which a sentence ends: the last that may be one, and a first character."""
    if not MAYBE.search(word):  # most words, quickly
        return []
    may_end = [place for place in range(len(word)) if word[place] in ENDS and _may_end(word, place, after)]
    chosen = may_end[-1:] if may_end[:1] != [0] else sorted({0, may_end[-1]})
    return [place for place in chosen if _is_end(word, place, after)]


def _may_end(word: str, place: int, after: str | None) -> bool:
    """An end before a mark, or one at the end of the word with a word behind it."""
    return after is not None if place + 1 == len(word) else word[place + 1] in MARKS


def _is_end(word: str, place: int, after: str | None) -> bool:
    tokens = TOKEN.findall(word[: place + 1])
    following = TOKEN.findall(word[place + 1] if place + 1 < len(word) else after or "")[0]
    return any(_ends(token, next_one) for token, next_one in zip(tokens, [*tokens[1:], following], strict=True))


def _ends(token: str, following: str) -> bool:
    """Whether a sentence ends with this token, given the one behind it."""
    if token in ("?", "!"):
        return True
    if not token.endswith("."):
        return False
    body, starts = token[:-1].lower(), following[:1].isupper()
    next_word = following.rstrip(".,;:").lower()
    if len(body) == 1 and body.isalpha():
        may_end = (starts and next_word in COMMON_WORDS) or not (starts or _goes_on(following))
        return body not in NAME_LETTERS and may_end
    if token.endswith(ELLIPSIS) or body in ABBREVIATIONS or body.rpartition("-")[2] in ABBREVIATIONS:
        return starts and next_word in STARTERS
    return not (NUMBER.fullmatch(token) and _goes_on(following))


def _goes_on(following: str) -> bool:
    return following[:1].islower() or following in tuple(";:,.!?")
