"""The built-in scorers, listed in `BUILT_IN`.

Each is `score(item, completion) -> (value, explanation)`: 1.0 or 0.0 and one short sentence; a third value names the
rule that decided, where there are several. They raise SkippedError where this machine cannot judge. They read
hostile text in linear time. Raise a scorer's version when its judgment changes, so that old scores are not reused.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from tunesmith.errors import EvaluateError
from tunesmith.verify.abstention import abstention
from tunesmith.verify.calls import tool_call
from tunesmith.verify.instructions.scorers import ifeval_loose, ifeval_strict
from tunesmith.verify.labels import label
from tunesmith.verify.refusals import refusal

Scorer = Callable[[dict[str, Any], str], tuple[float, str] | tuple[float, str, str]]
SHOWN_LENGTH = 60
LONGEST_NUMBER = 1000
END_PUNCTUATION = ".,;:!?。、 "
NUMBER = re.compile(
    r"(?P<sign>(?<![\w)\]])[-+])?[$€£¥]?"
    r"(?<!\w)(?<![0-9]\.)(?P<digits>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
    r"(?P<exponent>[eE][-+]?[0-9]{1,4}(?![0-9]))?"
    r"(?P<percent>\s?(?:%|percent\b|per cent\b))?",
    re.IGNORECASE,
)
MINUS_SIGNS = str.maketrans({"−": "-", "‐": "-", "‑": "-"})


def exact(item: dict[str, Any], completion: str) -> tuple[float, str]:
    """Right when the completion is the answer or an alias, but for case, white space and end punctuation."""
    seen = _normalized(completion)
    if any(seen == _normalized(answer) for answer in _answers(item, "exact")):
        return 1.0, f"it is {cut(completion)}, as expected."
    return 0.0, f"it is {cut(completion)}, not {cut(_answers(item, 'exact')[0])}."


def contains(item: dict[str, Any], completion: str) -> tuple[float, str]:
    """Right when the answer or an alias stands in the completion as whole words, whatever their case."""
    text = _folded(completion)
    for answer in _answers(item, "contains"):
        if re.search(_whole_words(_normalized(answer)), text):
            return 1.0, f"it contains {cut(answer)}."
    return 0.0, f"{cut(completion)} does not contain {cut(_answers(item, 'contains')[0])}."


def number(item: dict[str, Any], completion: str) -> tuple[float, str]:
    """Right when the last number of the completion equals that of the answer, within `answer.tolerance`.

    English notation: 1,234.5. What follows a last `####` comes first. A percentage equals only a percentage.
    """
    tolerance = _tolerance(item)
    expected = [_last_number(answer) for answer in _answers(item, "number")]
    if expected[0] is None:
        raise EvaluateError(f"the answer {cut(_answers(item, 'number')[0])} holds no number; mend the item")
    seen = _last_number(completion)
    if seen is None:
        return 0.0, f"there is no number in {cut(completion)}."
    if any(wanted is not None and seen.equals(wanted, tolerance) for wanted in expected):
        return 1.0, f"the last number is {cut(seen.text)}, as expected."
    return 0.0, f"the last number is {cut(seen.text)}, not {cut(expected[0].text)}."


def words(item: dict[str, Any], completion: str) -> tuple[float, str]:
    """How many words the completion has: for open questions, where nothing is right or wrong."""
    number = len(completion.split())
    return float(number), f"it has {number:,} words."


def cut(text: str) -> str:
    """A text in quotes, on one line, shortened when it is long."""
    line = " ".join(text[: 4 * SHOWN_LENGTH].split())
    return repr(line if len(line) <= SHOWN_LENGTH and len(text) <= 4 * SHOWN_LENGTH else f"{line[:SHOWN_LENGTH]}…")


# Name -> (scorer, declared version).
BUILT_IN: Mapping[str, tuple[Scorer, int]] = {
    "exact": (exact, 1),
    "contains": (contains, 1),
    "number": (number, 1),
    "tool_call": (tool_call, 1),
    "refusal": (refusal, 1),
    "abstention": (abstention, 1),
    "words": (words, 1),
    "label": (label, 1),
    "ifeval_strict": (ifeval_strict, 1),
    "ifeval_loose": (ifeval_loose, 1),
}


@dataclass(frozen=True, slots=True)
class _Number:
    """A number as it stands in a text; `is_percent` keeps 26 % and 26 apart."""

    text: str
    value: Decimal
    is_percent: bool

    def equals(self, other: "_Number", tolerance: Decimal) -> bool:
        return self.is_percent == other.is_percent and abs(self.value - other.value) <= tolerance


def _answers(item: dict[str, Any], scorer: str) -> list[str]:
    """The expected answer and its aliases as text."""
    answer = item["answer"]
    values = [answer["value"], *answer.get("aliases", [])]
    for value in values:
        if not isinstance(value, str | int | float) or isinstance(value, bool) or not str(value).strip():
            raise EvaluateError(
                f"the scorer {scorer!r} needs answers that are texts or numbers, not {cut(repr(value))}"
            )
    return [str(value) for value in values]


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _normalized(text: str) -> str:
    """NFKC, without case, white space and end punctuation; a text of punctuation alone stays as it is."""
    folded = _folded(text)
    return folded.rstrip(END_PUNCTUATION) or folded


def _whole_words(words: str) -> str:
    before = r"(?<!\w)(?<![0-9][.,])" if words[0].isdigit() else r"(?<!\w)" if _is_spaced(words[0]) else ""
    after = r"(?!\w|[.,][0-9])" if words[-1].isdigit() else r"(?!\w)" if _is_spaced(words[-1]) else ""
    return before + re.escape(words) + after


def _is_spaced(character: str) -> bool:
    """Whether words are set apart by spaces in this script; Thai, Lao, Chinese and Japanese do not do so."""
    return character.isalnum() and not ("\u0e00" <= character <= "\u0eff" or "\u3040" <= character <= "\u9fff")


def _last_number(text: str) -> _Number | None:
    plain = unicodedata.normalize("NFKC", text).translate(MINUS_SIGNS)
    _, marked, tail = plain.rpartition("####")
    after_mark = NUMBER.search(tail) if marked else None
    last = after_mark
    if last is None:
        for last in NUMBER.finditer(plain):  # noqa: B007 - the last one is wanted
            pass
    return None if last is None else _number(last)


def _number(match: re.Match[str]) -> _Number | None:
    digits = match["digits"].replace(",", "")
    if len(digits) > LONGEST_NUMBER:
        return None
    try:
        value = Decimal(f"{match['sign'] or ''}{digits}{match['exponent'] or ''}")
    except InvalidOperation:
        return None
    return _Number(match[0].strip(), value, match["percent"] is not None)


def _tolerance(item: dict[str, Any]) -> Decimal:
    raw = item["answer"].get("tolerance") or 0
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw < float("inf"):
        raise EvaluateError(f"answer.tolerance must be a number of zero or more, not {raw!r}")
    return Decimal(str(raw))
