"""Which format the records of a file have, with the evidence, or how to say it where none is recognized."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.data.pairs import is_pair
from tunesmith.errors import DataError
from tunesmith.messages import shown

TURN_KEYS = ("messages", "conversations", "conversation")
RESPONSE_KEYS = ("completion", "response")
# Columns that probably mean prompt and response. They are suggested, not assumed: an "answer" may be a label.
LIKELY_PAIRS = (
    ("question", "answer"),
    ("instruction", "response"),
    ("instruction", "completion"),
    ("query", "response"),
    ("query", "answer"),
    ("input", "output"),
    ("source", "target"),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the records of a file spell a conversation, and the evidence for it."""

    format: str
    evidence: str
    prompt_field: str = "prompt"
    response_fields: tuple[str, ...] = RESPONSE_KEYS


def detect(values: Sequence[Any], where: str) -> Layout:
    """The format that most of the first records have; raises DataError where none is recognized."""
    seen = Counter(found for value in values if (found := _recognize(value)) is not None)
    if not seen:
        raise DataError(f"{where}: {_unrecognized(values)}")
    (format, sign), count = seen.most_common(1)[0]
    return Layout(format, f"{count} of the first {len(values)} records have {sign}")


def _recognize(value: Any) -> tuple[str, str] | None:
    """The format of one record and the sign it is known by."""
    if not isinstance(value, Mapping):
        return None
    sign = is_pair(value)
    if sign is not None:
        return "preference", sign
    for key in TURN_KEYS:
        style = _turn_style(value.get(key))
        if style is not None:
            names = "'role' and 'content'" if style == "messages" else "'from' and 'value'"
            return style, f"{key!r} with {names}"
    if "instruction" in value and "output" in value:
        return "alpaca", "'instruction' and 'output'"
    for key in RESPONSE_KEYS:
        if "prompt" in value and key in value:
            return "prompt_completion", f"'prompt' and {key!r}"
    return ("text", "'text'") if isinstance(value.get("text"), str) else None


def _turn_style(turns: Any) -> str | None:
    if isinstance(turns, str):
        try:
            turns = json.loads(turns)
        except (ValueError, RecursionError):
            return None
    if not isinstance(turns, list | tuple) or not turns or not isinstance(turns[0], Mapping):
        return None
    if "role" in turns[0]:
        return "messages"
    return "sharegpt" if "from" in turns[0] else None


def _unrecognized(values: Sequence[Any]) -> str:
    first = next((value for value in values if isinstance(value, Mapping)), None)
    if first is None:
        return f"a record must be an object, not {shown(values[0])}"
    keys = ", ".join(str(key) for key in first)
    pair = next((pair for pair in LIKELY_PAIRS if all(key in first for key in pair)), ("COLUMN", "COLUMN"))
    return (
        f"no format recognized; the columns are: {keys}. To train on two of them, say which: "
        f"--set data.prompt_field={pair[0]} --set data.response_field={pair[1]}. Recognized are 'messages' "
        "(role, content), 'conversations' (from, value), 'instruction' with 'output', "
        "'prompt' with 'completion' or 'response', 'chosen' with 'rejected', and 'text'"
    )
