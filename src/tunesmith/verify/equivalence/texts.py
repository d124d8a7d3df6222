"""Plain text for comparing: Unicode forms, invisible characters, white space, end punctuation.

Everything here is linear in the length of the text. NFKC alone is not: it sorts runs of combining marks by
insertion, and it turns 5² into 52 and 1½ into 11⁄2, so both are taken care of before it.
"""

import re
import unicodedata

SHOWN_LENGTH = 60
LONGEST_MARKS = 30  # Unicode's Stream-Safe Text Format, UAX 15
MARK = "\u0301"
END_PUNCTUATION = ".,;:!?。、 "
INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb]"
)
SURROGATES = re.compile("[\ud800-\udfff]")
CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
SUPERSCRIPTS = re.compile("[⁺⁻]?[⁰¹²³⁴-⁹]+")
FROM_SUPERSCRIPT = str.maketrans("⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "+-0123456789")
VULGAR_FRACTIONS = re.compile("(?<=[0-9])(?=[¼-¾⅐-⅞↉])")
DASHES = str.maketrans({"−": "-", "‐": "-", "‑": "-", "‒": "-", "–": "-", "⁄": "/", "’": "'", "‘": "'"})
QUOTES = {('"', '"'), ("'", "'"), ("“", "”"), ("„", "“"), ("«", "»")}
SPACES = re.compile(r"[^\S\n]+")


def plain(text: str) -> str:
    """The text in NFKC without invisible characters, its lines kept and each with single spaces.

    5² becomes 5^2 and 1½ becomes 1 1/2; typographic minus signs, dashes and apostrophes become ASCII.
    """
    if not text.isascii():
        text = VULGAR_FRACTIONS.sub(" ", SUPERSCRIPTS.sub(_power, INVISIBLE.sub("", text)))
        text = unicodedata.normalize("NFKC", _with_few_marks(SURROGATES.sub("\ufffd", text))).translate(DASHES)
    text = CONTROLS.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))
    return "\n".join(line.strip() for line in SPACES.sub(" ", text).split("\n")).strip()


def folded(text: str) -> str:
    """The plain text on one line, without case."""
    return " ".join(plain(text).casefold().split())


def trimmed(text: str, punctuation: str = END_PUNCTUATION) -> str:
    """Without end punctuation; a text of punctuation alone stays as it is."""
    return text.rstrip(punctuation) or text


def normalized(text: str) -> str:
    """NFKC, without case, white space and end punctuation."""
    return trimmed(folded(text))


def cased(text: str) -> str:
    """Like `normalized`, but 5 mW stays apart from 5 MW."""
    return trimmed(" ".join(plain(text).split()))


def bare(text: str) -> str:
    """A plain text without the emphasis, quotes and end punctuation around it."""
    text = trimmed(text.strip("*_` \n")).strip("*_` \n")
    quoted = len(text) > 2 and (text[0], text[-1]) in QUOTES and text[0] not in text[1:-1]
    return trimmed(text[1:-1]) if quoted else text


def cut(text: str) -> str:
    """A text in quotes, on one line, shortened when it is long."""
    line = " ".join(text[: 4 * SHOWN_LENGTH].split())
    return repr(line if len(line) <= SHOWN_LENGTH and len(text) <= 4 * SHOWN_LENGTH else f"{line[:SHOWN_LENGTH]}…")


def _power(match: re.Match[str]) -> str:
    power = match[0].translate(FROM_SUPERSCRIPT)
    return f"^{power} " if match.string[match.end() : match.end() + 1].isdigit() else f"^{power}"


def _with_few_marks(text: str) -> str:
    """Without the combining marks after the 30th of a run."""
    kinds = {ord(character): MARK if unicodedata.combining(character) else "a" for character in set(text)}
    if MARK * (LONGEST_MARKS + 1) not in text.translate(kinds):
        return text
    kept, run = [], 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) else 0
        if run <= LONGEST_MARKS:
            kept.append(character)
    return "".join(kept)
