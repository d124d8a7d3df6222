"""The built-in scorers: the simple words `exact`, `contains` and `number` stand here, the others in their rooms.

Each is `score(item, completion) -> (value, explanation)`: 1.0 or 0.0 and one short sentence; a third value names the
rule that decided, where there are several. They raise SkippedError where this machine cannot judge. They read
hostile text in linear time. Raise a scorer's version when its judgment changes, so that old scores are not reused.
"""

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from tunesmith.errors import EvaluateError
from tunesmith.verify.abstention import abstention
from tunesmith.verify.accepted_call import accepted_call
from tunesmith.verify.calls import tool_call
from tunesmith.verify.continuing import continues
from tunesmith.verify.equivalence import equal
from tunesmith.verify.equivalence.answers import tolerance_of
from tunesmith.verify.equivalence.numerals import Number, find_numbers, prepared
from tunesmith.verify.equivalence.texts import cut, folded, normalized
from tunesmith.verify.instructions.scorers import ifeval_loose, ifeval_strict
from tunesmith.verify.labels import label
from tunesmith.verify.python_tests import python_tests
from tunesmith.verify.refusals import refusal
from tunesmith.verify.verbatim import verbatim

Scorer = Callable[[dict[str, Any], str], tuple[float, str] | tuple[float, str, str]]


def exact(item: dict[str, Any], completion: str) -> tuple[float, str]:
    """Right when the completion is the answer or an alias, but for case, white space and end punctuation."""
    seen = normalized(completion)
    if any(seen == normalized(answer) for answer in _answers(item, "exact")):
        return 1.0, f"it is {cut(completion)}, as expected."
    return 0.0, f"it is {cut(completion)}, not {cut(_answers(item, 'exact')[0])}."


def contains(item: dict[str, Any], completion: str) -> tuple[float, str]:
    """Right when the answer or an alias stands in the completion as whole words, whatever their case."""
    text = folded(completion)
    for answer in _answers(item, "contains"):
        if re.search(_whole_words(normalized(answer)), text):
            return 1.0, f"it contains {cut(answer)}."
    return 0.0, f"{cut(completion)} does not contain {cut(_answers(item, 'contains')[0])}."


def number(item: dict[str, Any], completion: str) -> tuple[float, str]:
    """Right when the last number of the completion equals that of the answer, within `answer.tolerance`.

    Numbers in digits, in English notation: 1,234.5, 3/4, 2 million. What follows a last `####` comes first. A
    percentage equals only a percentage.
    """
    tolerance = tolerance_of(item["answer"])
    expected = [_last_number(answer) for answer in _answers(item, "number")]
    if expected[0] is None:
        raise EvaluateError(f"the answer {cut(_answers(item, 'number')[0])} holds no number; mend the item")
    seen = _last_number(completion)
    if seen is None:
        return 0.0, f"there is no number in {cut(completion)}."
    if any(wanted is not None and _are_equal(seen[0], wanted[0], tolerance) for wanted in expected):
        return 1.0, f"the last number is {cut(seen[1])}, as expected."
    return 0.0, f"the last number is {cut(seen[1])}, not {cut(expected[0][1])}."


def words(item: dict[str, Any], completion: str) -> tuple[float, str]:
    """How many words the completion has: for open questions, where nothing is right or wrong."""
    number = len(completion.split())
    return float(number), f"it has {number:,} words."


# Name -> (scorer, declared version).
BUILT_IN: Mapping[str, tuple[Scorer, int]] = {
    "exact": (exact, 2),
    "contains": (contains, 2),
    "number": (number, 2),
    "equal": (equal, 1),
    "tool_call": (tool_call, 2),
    "accepted_call": (accepted_call, 1),
    "python_tests": (python_tests, 1),
    "refusal": (refusal, 1),
    "abstention": (abstention, 1),
    "words": (words, 1),
    "label": (label, 1),
    "ifeval_strict": (ifeval_strict, 1),
    "ifeval_loose": (ifeval_loose, 1),
    "continues": (continues, 1),
    "verbatim": (verbatim, 1),
}


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


def _whole_words(words: str) -> str:
    before = r"(?<!\w)(?<![0-9][.,])" if words[0].isdigit() else r"(?<!\w)" if _is_spaced(words[0]) else ""
    after = r"(?!\w|[.,][0-9])" if words[-1].isdigit() else r"(?!\w)" if _is_spaced(words[-1]) else ""
    return before + re.escape(words) + after


def _is_spaced(character: str) -> bool:
    """Whether words are set apart by spaces in this script; Thai, Lao, Chinese and Japanese do not do so."""
    return character.isalnum() and not ("\u0e00" <= character <= "\u0eff" or "\u3040" <= character <= "\u9fff")


def _last_number(text: str) -> tuple[Number, str] | None:
    """The last number of a text, or the first after a last `####`, and how it is written there."""
    plain_text = prepared(text)
    _, marked, tail = plain_text.rpartition("####")
    after_mark = find_numbers(tail)[:1] if marked else []
    found, place = (after_mark, tail) if after_mark else (find_numbers(plain_text), plain_text)
    return (found[-1], place[found[-1].start : found[-1].end]) if found else None


def _are_equal(seen: Number, wanted: Number, tolerance: Fraction) -> bool:
    return seen.is_percent == wanted.is_percent and abs(seen.value - wanted.value) <= tolerance
