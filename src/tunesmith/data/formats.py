"""Records of every accepted format become conversations.

Each format has a function that spells a record as OpenAI messages; `tunesmith.messages` then reads that one
spelling, so the rules for roles, contents and tool calls stand in one place.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tunesmith.data.detect import TURN_KEYS, Layout
from tunesmith.data.pairs import in_columns, spell_pair
from tunesmith.data.turns import sharegpt_message, without_functions
from tunesmith.errors import DataError
from tunesmith.messages import conversation_from_dict, decoded, shown, tools_from
from tunesmith.types import Conversation


def convert(value: Any, layout: Layout, where: str, default_id: str) -> Conversation:
    """One record as a Conversation; raises DataError at `where`. Its source is left to the caller."""
    if not isinstance(value, Mapping):
        raise DataError(f"{where}: a record must be an object, not {shown(value)}")
    if layout.format == "preference":
        value = in_columns(value)
    spelled = SPELLERS[layout.format](value, layout, where)
    tools = [] if "text" in spelled else _tools(value, where)
    raw = {**spelled, "tools": tools, "id": value.get("id")}
    return conversation_from_dict(raw, where, default_id)


def _need(value: Mapping[str, Any], keys: Sequence[str], layout: Layout, where: str) -> Any:
    """The first of `keys` that the record has."""
    for key in keys:
        if value.get(key) is not None:
            return value[key]
    wanted = " or ".join(repr(key) for key in keys)
    seen = ", ".join(str(key) for key in value) or "none"
    raise DataError(f"{where}: format {layout.format} needs {wanted}; the columns are: {seen}")


def _turns(value: Mapping[str, Any], layout: Layout, where: str) -> list[Any]:
    turns = _need(value, TURN_KEYS, layout, where)
    if isinstance(turns, str):
        turns = decoded(turns, where, "the list of messages")
    if not isinstance(turns, list | tuple) or not turns:
        raise DataError(f"{where}: the messages must be a non-empty list, not {shown(turns)}")
    return list(turns)


def _system(value: Mapping[str, Any]) -> list[Any]:
    """The record's own column `system` as the first message; null and "" mean none."""
    system = value.get("system")
    return [] if system is None or system == "" else [{"role": "system", "content": system}]


def _spell_messages(value: Mapping[str, Any], layout: Layout, where: str) -> dict[str, Any]:
    return {"messages": [without_functions(turn) for turn in _turns(value, layout, where)]}


def _spell_sharegpt(value: Mapping[str, Any], layout: Layout, where: str) -> dict[str, Any]:
    turns = _turns(value, layout, where)
    messages = [sharegpt_message(turn, f"{where}, message {number}") for number, turn in enumerate(turns, 1)]
    return {"messages": _system(value) + messages}


def _spell_alpaca(value: Mapping[str, Any], layout: Layout, where: str) -> dict[str, Any]:
    parts = [_need(value, ["instruction"], layout, where), value.get("input") or ""]
    if not all(isinstance(part, str) for part in parts):
        raise DataError(f"{where}: instruction and input must be strings, not {shown(parts)}")
    question = "\n\n".join(part for part in parts if part)
    answer = _need(value, ["output"], layout, where)
    pairs = [*_history(value.get("history"), where), (question, answer)]
    turns = [
        {"role": role, "content": content}
        for pair in pairs
        for role, content in zip(("user", "assistant"), pair, strict=True)
    ]
    return {"messages": _system(value) + turns}


def _history(history: Any, where: str) -> list[Sequence[Any]]:
    pairs = decoded(history, where, "history") if isinstance(history, str) and history else history or []
    if not isinstance(pairs, list | tuple) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs
    ):
        raise DataError(f"{where}: history must be a list of [user, assistant] pairs, not {shown(history)}")
    return list(pairs)


def _spell_prompt(value: Mapping[str, Any], layout: Layout, where: str) -> dict[str, Any]:
    prompt = _side(_need(value, [layout.prompt_field], layout, where), "user", where)
    response = _side(_need(value, layout.response_fields, layout, where), "assistant", where)
    return {"messages": _system(value) + prompt + response}


def _side(content: Any, role: str, where: str) -> list[Any]:
    """One side of a pair: a string, or a list of messages."""
    if isinstance(content, list | tuple):
        return [without_functions(turn) for turn in content]
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    raise DataError(f"{where}: the {role} side must be text or a list of messages, not {shown(content)}")


def _spell_preference(value: Mapping[str, Any], layout: Layout, where: str) -> dict[str, Any]:
    return spell_pair(value, layout.prompt_field, where)


def _spell_text(value: Mapping[str, Any], layout: Layout, where: str) -> dict[str, Any]:
    text = _need(value, ["text"], layout, where)
    if not isinstance(text, str):
        raise DataError(f"{where}: text must be a string, not {shown(text)}")
    return {"text": text}


SPELLERS: dict[str, Callable[[Mapping[str, Any], Layout, str], dict[str, Any]]] = {
    "messages": _spell_messages,
    "sharegpt": _spell_sharegpt,
    "alpaca": _spell_alpaca,
    "prompt_completion": _spell_prompt,
    "preference": _spell_preference,
    "text": _spell_text,
}


def _tools(value: Mapping[str, Any], where: str) -> list[Mapping[str, Any]]:
    """The tool definitions, or the older `functions`, each in the OpenAI envelope."""
    tools = tools_from(value.get("tools") or value.get("functions"), where)
    return [_in_envelope(tool) for tool in tools]


def _in_envelope(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    if "function" in tool or "name" not in tool:
        return tool
    function = {key: inner for key, inner in tool.items() if key != "type"}
    return {"type": "function", "function": function}
