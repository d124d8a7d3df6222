"""The scorer `equal`: is a completion equal in meaning to the expected answer, and which rule says so?

The same spelling first, then the parsers of the answer's type, then the aliases in the same way.
"""

from typing import Any

from tunesmith.errors import EvaluateError
from tunesmith.verify.equivalence.answers import expected_reading, expected_texts, wanted_of
from tunesmith.verify.equivalence.kinds import KINDS
from tunesmith.verify.equivalence.readings import Wanted
from tunesmith.verify.equivalence.standing import Standing, stand
from tunesmith.verify.equivalence.texts import cut

LONGEST_COMPLETION = 1_000_000


def equal(item: dict[str, Any], completion: str) -> tuple[float, str, str]:
    """Right when the completion's final answer means the same as the expected one or an alias.

    Returns value, explanation and the rule that decided. Raises EvaluateError for an item that cannot be read,
    SkippedError where the type needs a package that is not installed.
    """
    answer = item.get("answer")
    if not answer:
        raise EvaluateError("the scorer 'equal' needs an item with an answer")
    wanted = wanted_of(answer)
    kind, texts = KINDS[wanted.type], expected_texts(answer)
    golds = [expected_reading(text, wanted) for text in texts]
    if len(completion) > LONGEST_COMPLETION:
        return 0.0, f"it is longer than {LONGEST_COMPLETION:,} characters.", "beyond bounds"
    spelling = kind.spelling(completion)
    for at, text in enumerate(texts):
        if spelling and spelling == kind.spelling(text):
            return 1.0, f"it is {cut(completion)}, as expected.", "alias: exact" if at else "exact"
    standing = stand(kind.prepare(completion), kind, wanted)
    if standing.refused or standing.reading is None:
        return _refused(standing, texts[0], wanted)
    reasons = []
    for at, gold in enumerate(golds):
        reason = kind.differs(gold, standing.reading, wanted)
        if reason is None:
            rule = f"{wanted.type}: {standing.reading.form}"
            explanation = f"{_shown(standing)} means {cut(texts[at])}."
            return 1.0, explanation, f"alias: {rule}" if at else rule
        reasons.append(reason)
    return 0.0, f"{_shown(standing)} does not mean {cut(texts[0])}: {reasons[0]}.", f"{wanted.type}: {reasons[0]}"


def _refused(standing: Standing, text: str, wanted: Wanted) -> tuple[float, str, str]:
    if standing.refused == "contradiction":
        return 0.0, f"it gives answers that contradict each other, the last {_shown(standing)}.", "contradiction"
    if standing.refused in ("", "no answer"):
        return 0.0, f"it gives no answer of type {wanted.type}, where {cut(text)} is expected.", "no answer"
    return 0.0, f"{_shown(standing)} cannot be used: {standing.refused}.", f"{wanted.type}: {standing.refused}"


def _shown(standing: Standing) -> str:
    return f"{cut(standing.shown)} ({standing.where})"
