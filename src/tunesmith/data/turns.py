"""One message of a record, in any of the usual spellings, as an OpenAI message."""

from collections.abc import Mapping
from typing import Any

from tunesmith.errors import DataError
from tunesmith.messages import decoded, shown

SHAREGPT_ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
}
SHAREGPT_KEPT = ("train", "weight", "name", "tool_call_id", "reasoning_content", "reasoning", "thinking")


def without_functions(turn: Any) -> Any:
    """The older OpenAI spelling (`function_call`, role `function`) as tool calls."""
    if not isinstance(turn, Mapping):
        return turn
    modern = {key: inner for key, inner in turn.items() if key != "function_call"}
    if turn.get("function_call") and not turn.get("tool_calls"):
        modern["tool_calls"] = [turn["function_call"]]
    if turn.get("role") == "function":
        modern["role"] = "tool"
    return modern


def sharegpt_message(turn: Any, where: str) -> dict[str, Any]:
    """A ShareGPT message (`from`, `value`) as an OpenAI one; raises DataError at `where`."""
    if not isinstance(turn, Mapping) or "from" not in turn or "value" not in turn:
        raise DataError(f"{where}: expected an object with 'from' and 'value', not {shown(turn)}")
    speaker, value = turn["from"], turn["value"]
    if not isinstance(speaker, str) or speaker not in SHAREGPT_ROLES:
        raise DataError(f"{where}: 'from' is {shown(speaker)}; accepted: {', '.join(SHAREGPT_ROLES)}")
    message = {key: turn[key] for key in SHAREGPT_KEPT if key in turn} | {"role": SHAREGPT_ROLES[speaker]}
    if speaker != "function_call":
        return message | {"content": value}
    calls = decoded(value, where, "the function call") if isinstance(value, str) else value
    return message | {"tool_calls": calls if isinstance(calls, list) else [calls]}


def any_message(turn: Any, where: str) -> Any:
    """A message of either spelling: with `from` and `value`, or with `role` and `content`."""
    if isinstance(turn, Mapping) and "from" in turn and "role" not in turn:
        return sharegpt_message(turn, where)
    return without_functions(turn)
