"""Consistency: is a question answered alike, however it is worded?

The wordings of a question are a cluster. Two answers agree when both are right, or when one means what the other says.
"""

from collections.abc import Sequence
from statistics import fmean

from tunesmith.errors import EvaluateError
from tunesmith.evaluate.taxes.sets import PARAPHRASES
from tunesmith.evaluate.taxes.tax import Answer, Tax, each_sample
from tunesmith.verify.equivalence import equal


def agree(one: Answer, other: Answer) -> bool:
    """Whether two answers to wordings of one question come to the same; one without words agrees with nothing."""
    if one.sample.score != other.sample.score:
        return False
    return one.sample.score == 1.0 or _means(one, other.text) or _means(other, one.text)


def _means(answer: Answer, text: str) -> bool:
    """Whether an answer means what `text` says, read as the type of answer that was asked for."""
    if not text.strip():
        return False
    try:
        return equal({"answer": {"type": answer.item.answer["type"], "value": text.strip()}}, answer.text)[0] == 1.0
    except EvaluateError:  # no answer of this type can be read in the text
        return False


def agreement(answers: Sequence[Answer]) -> dict[str, float]:
    """The share of the other wordings' answers that an answer agrees with."""
    parts: dict[str, list[Answer]] = {}
    for answer in answers:
        parts.setdefault(answer.item.cluster, []).append(answer)
    return {
        answer.item.id: fmean(agree(answer, other) for other in part if other is not answer)
        for answer in answers
        if len(part := parts[answer.item.cluster]) > 1
    }


CONSISTENCY = Tax(
    name="consistency",
    panel_set=PARAPHRASES,
    about="Share of other wordings of a question that get the same answer.",
    better="higher",
    unit="share of wordings",
    measure=agreement,
)
PARAPHRASED = Tax(
    name="paraphrased",
    panel_set=PARAPHRASES,
    about="Share of easy questions, each in three wordings, that are answered rightly.",
    better="higher",
    unit="",
    measure=each_sample(lambda sample: sample.score),
)
