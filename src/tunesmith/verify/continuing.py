"""The scorer `continues`: does a plain text go on, or is it answered as in a chat?"""

import re
from typing import Any

from tunesmith.errors import EvaluateError
from tunesmith.verify.instructions.findings import shown
from tunesmith.verify.instructions.wording import preamble

CONTINUED, CHAT, OTHER = "continued", "chat preamble", "other text"


def continues(item: dict[str, Any], completion: str) -> tuple[float, str, str]:
    """Right when the completion begins with one of `checker.begins_with`, but for case and white space before it.

    A word or number must end there: `50` does not begin with `5`. The rule is "continued", "chat preamble" for an
    answer that announces itself, as with `Sure!` or `Here is`, and "other text".
    """
    expected = _expected(item)
    begin = completion.lstrip()
    if any(re.match(_beginning(each), begin, re.IGNORECASE) for each in expected):
        return 1.0, f"it goes on with {shown(begin)}.", CONTINUED
    announced = preamble(begin)
    if announced is not None:
        return 0.0, f"it answers with {shown(announced)} instead of going on with {shown(expected[0])}.", CHAT
    return 0.0, f"it goes on with {shown(begin)}, not with {shown(expected[0])}.", OTHER


def _expected(item: dict[str, Any]) -> list[str]:
    checker = item.get("checker")
    expected = checker.get("begins_with") if isinstance(checker, dict) else None
    if not isinstance(expected, list) or not expected or not all(isinstance(e, str) and e.strip() for e in expected):
        raise EvaluateError(f'the item needs a checker such as {{"begins_with": ["5"]}}, not {checker!r}')
    return expected


def _beginning(expected: str) -> str:
    return re.escape(expected) + (r"(?!\w)" if expected[-1].isalnum() else "")
