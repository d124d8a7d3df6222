"""The scorer `tool_call`: are the expected functions called, with the expected arguments?"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from tunesmith.errors import EvaluateError
from tunesmith.verify.equivalence.json_values import Refused, canonical, json_value

OPEN, CLOSE = "<tool_call>", "</tool_call>"
SHOWN_LENGTH = 120


def tool_call(item: dict[str, Any], completion: str) -> tuple[float, str]:
    """Right when the calls in the completion equal the expected ones by value, in any order.

    Calls are `<tool_call>{"name": ..., "arguments": {...}}</tool_call>` blocks. When the expected answer is a
    text, it only checks that no call was made.
    """
    expected = _expected(item["answer"])
    calls, problem = read_calls(completion)
    if problem is not None:
        return 0.0, problem
    right = sorted(map(_spelling, calls)) == sorted(map(_spelling, expected))
    if not expected:
        return _no_call(calls)
    if not calls:
        return 0.0, f"it replies with text where a call of {_names(expected)} is expected."
    if right:
        return 1.0, f"it calls {_names(expected)} with the expected arguments."
    return 0.0, _difference(calls, expected)


def _expected(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    if answer["type"] not in ("tool_calls", "tool_call"):
        return []
    value = answer["value"]
    calls = value if isinstance(value, list) else [value]
    if not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls):
        raise EvaluateError('the expected calls must be a list such as [{"name": "add", "arguments": {"a": 1}}]')
    return [_as_read(call) for call in calls]


def _as_read(call: Mapping[str, Any]) -> dict[str, Any]:
    """A call from an item with its numbers as `json_value` reads them, so that 0.10 is 0.1."""
    try:
        read: dict[str, Any] = json_value(json.dumps(call))
    except Refused as refused:
        raise EvaluateError(f"the expected call of {call['name']} cannot be used: {refused}") from refused
    return read


def read_calls(completion: str, parse: Callable[[str], Any] = json_value) -> tuple[list[dict[str, Any]], str | None]:
    """The calls of a completion, and what is wrong with the first that cannot be read.

    `parse` reads the JSON of one call, or raises Refused.
    """
    calls = []
    for block in completion.split(OPEN)[1:]:
        body, closed, _ = block.partition(CLOSE)
        if not closed:
            return [], f"a {OPEN} is not closed."
        try:
            call = parse(body)
        except Refused as refused:
            return [], f"a tool call cannot be read, {refused}: {cut(body.strip())}."
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            return [], f"a tool call has no name: {cut(body.strip())}."
        if not isinstance(call.get("arguments", {}), dict):
            return [], f"the arguments of the call of {cut(call['name'])} are not an object."
        calls.append(call)
    return calls, None


def _no_call(calls: list[dict[str, Any]]) -> tuple[float, str]:
    if calls:
        return 0.0, f"it calls {_names(calls)} where no call is expected."
    return 1.0, "no call is made, as expected (only this is checked, not what the text says)."


def _difference(calls: list[dict[str, Any]], expected: list[dict[str, Any]]) -> str:
    if sorted(call["name"] for call in calls) != sorted(call["name"] for call in expected):
        return f"it calls {_names(calls)}, not {_names(expected)}."
    wanted = [_spelling(call) for call in expected]
    wrong = next((call for call in calls if _spelling(call) not in wanted), calls[0])
    right = next(call for call in expected if call["name"] == wrong["name"])
    seen, hoped = cut(_arguments(wrong)), cut(_arguments(right))
    return f"it calls {cut(wrong['name'])} with {seen}, not with {hoped}."


def _names(calls: list[dict[str, Any]]) -> str:
    return cut(", ".join(call["name"] for call in calls[:10]))


def _arguments(call: Mapping[str, Any]) -> str:
    return canonical(call.get("arguments", {}))


def _spelling(call: Mapping[str, Any]) -> str:
    """One spelling for equal calls."""
    return canonical([call["name"], call.get("arguments", {})])


def cut(text: str) -> str:
    return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}…"
