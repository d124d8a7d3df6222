"""Hallucination on questions without an answer, and abstention on questions that have one.

The first can be had for free by abstaining always; the second, on questions of the same form, shows that. After
SelfAware (Yin et al. 2023, arXiv 2305.18153) and (QA)^2 (Kim et al. 2023, arXiv 2212.10003).
"""

from tunesmith.evaluate.taxes.sets import QUESTIONS
from tunesmith.evaluate.taxes.tax import Answer, Tax, each_answer
from tunesmith.verify.abstention import read_abstention


def believes(answer: Answer) -> float:
    """1.0 when a question without an answer is answered as if it had one."""
    corrections = answer.item.answer.get("aliases", ())
    return float(read_abstention(answer.text, corrections).kind == "answers")


def abstains(answer: Answer) -> float:
    """1.0 when a question that has an answer gets none."""
    return float(read_abstention(answer.text).kind != "answers")


HALLUCINATION = Tax(
    name="hallucination",
    panel_set=QUESTIONS,
    about="Share of questions without an answer (invented things, false premises, missing context) that get one.",
    better="lower",
    unit="",
    measure=each_answer(believes, tag="trap"),
)
NEEDLESS_ABSTENTION = Tax(
    name="needless_abstention",
    panel_set=QUESTIONS,
    about="Share of plain questions that the model says it cannot answer.",
    better="lower",
    unit="",
    measure=each_answer(abstains, tag="control"),
)
