"""Messages and conversations to and from plain JSON, in the shape of the OpenAI chat format.

Reading is generous where the meaning is certain (arguments as an object or an encoded string, three names for
the reasoning, content in text parts, `train` or OpenAI's `weight`) and refuses the rest with the place, what was seen
and what is accepted. Writing has one spelling: absent fields are left out, arguments are objects, reasoning is
`reasoning_content`, a loss weight is the number `train`, and content is a list of parts only where the parts have
loss weights of their own.
"""

import json
from collections.abc import Mapping
from typing import Any

from tunesmith.errors import DataError
from tunesmith.types import ROLES, Conversation, Message, Role, ToolCall

REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
TRAIN_KEYS = ("train", "weight")
MOST_WEIGHT = 1e30
"""Loss weights are float32, and their sum must be finite, too."""
MOST_NUMBER = 1e300
"""JSON's numbers may be too long for a float."""
SHOWN_LENGTH = 80


def shown(value: Any) -> str:
    """A value as an error message shows it: its `repr`, cut to one short line."""
    text = repr(value)
    return text if len(text) <= SHOWN_LENGTH else f"{text[: SHOWN_LENGTH - 3]}..."


def message_from_dict(raw: Any, where: str) -> Message:
    """Read one OpenAI-style message; raises DataError that begins with `where`."""
    fields = _object(raw, where, "a message")
    content, part_weights = _content(fields.get("content"), where)
    return Message(
        role=_role(fields.get("role"), where),
        content=content,
        reasoning=_reasoning(fields, where),
        tool_calls=_tool_calls(fields.get("tool_calls"), where),
        tool_call_id=_optional_text(fields, "tool_call_id", where),
        name=_optional_text(fields, "name", where),
        train=_train(fields, where),
        part_weights=part_weights,
    )


def message_to_dict(message: Message) -> dict[str, Any]:
    """The one spelling of a message as plain JSON; raises DataError when its parts do not make up its content."""
    raw: dict[str, Any] = {"role": message.role, "content": _parts_to_list(message) or message.content}
    if message.reasoning is not None:
        raw["reasoning_content"] = message.reasoning
    if message.tool_calls:
        raw["tool_calls"] = [_tool_call_to_dict(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        raw["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        raw["name"] = message.name
    if message.train is not None:
        raw["train"] = message.train
    return raw


def conversation_from_dict(raw: Any, where: str, default_id: str) -> Conversation:
    """Read one conversation (`messages`) or one plain document (`text`); raises DataError at `where`.

    `default_id` names it when the record has no `id`; `where` is its source when the record has none.
    """
    fields = _object(raw, where, "a conversation")
    identifier = _id(fields.get("id"), default_id, where)
    source = fields.get("source")
    source = source if isinstance(source, str) else where
    if fields.get("messages") is not None:
        return Conversation(
            id=identifier,
            messages=_messages(fields["messages"], where),
            tools=tools_from(fields.get("tools"), where),
            source=source,
            rejected=() if fields.get("rejected") is None else _messages(fields["rejected"], f"{where}, rejected"),
            number=_number(fields.get("number")),
        )
    if isinstance(fields.get("text"), str):
        return Conversation(id=identifier, text=fields["text"], source=source, number=_number(fields.get("number")))
    keys = ", ".join(sorted(str(key) for key in fields)) or "none"
    raise DataError(f"{where}: neither 'messages' (a list) nor 'text' (a string); the keys are: {keys}")


def conversation_to_dict(conversation: Conversation) -> dict[str, Any]:
    """The one spelling of a conversation as plain JSON: one line of `conversations.jsonl`."""
    raw: dict[str, Any] = {"id": conversation.id}
    if conversation.text is not None:
        raw["text"] = conversation.text
    else:
        raw["messages"] = [message_to_dict(message) for message in conversation.messages]
        if conversation.tools:
            raw["tools"] = [dict(tool) for tool in conversation.tools]
        if conversation.rejected:
            raw["rejected"] = [message_to_dict(message) for message in conversation.rejected]
    if conversation.number is not None:
        raw["number"] = conversation.number
    raw["source"] = conversation.source
    return raw


def _number(value: Any) -> float | None:
    """What a curriculum orders by; a value that is no number was not written by us, and says nothing."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST_NUMBER
    return float(value) if is_number else None


def tools_from(raw: Any, where: str) -> tuple[Mapping[str, Any], ...]:
    """Read tool definitions: a list of objects, or that list as a JSON string; null and "" mean none."""
    value = decoded(raw, where, "tools") if isinstance(raw, str) and raw.strip() else raw
    if value is None or value == "":
        return ()
    if not isinstance(value, list | tuple):
        raise DataError(f"{where}: tools must be a list of objects, not {shown(value)}")
    return tuple(_object(tool, where, "a tool") for tool in value)


def decoded(text: str, where: str, what: str) -> Any:
    """Decode a JSON string inside a record, once."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise DataError(f"{where}: {what} is a string that is not valid JSON: {shown(text)}") from None


def arguments_from(raw: Any, where: str) -> Mapping[str, Any]:
    """Read tool-call arguments: an object, or an object as a JSON string; null and "" mean no arguments."""
    value = decoded(raw, where, "arguments") if isinstance(raw, str) and raw.strip() else raw
    if value is None or (isinstance(value, str) and not value.strip()):
        return {}
    return _object(value, where, "the arguments of a tool call")


def _object(value: Any, where: str, what: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise DataError(f"{where}: {what} must be an object, not {shown(value)}")
    return dict(value)


def _train(fields: Mapping[str, Any], where: str) -> float | None:
    """The loss weight that a message or a part asks for, under either name; None where it says nothing."""
    given = {key: _loss_weight(fields[key], key, where) for key in TRAIN_KEYS if fields.get(key) is not None}
    if len(set(given.values())) > 1:
        raise DataError(
            f"{where}: train is {shown(fields['train'])}, but weight is {shown(fields['weight'])}; they are two names "
            "for one thing, so keep one of them"
        )
    return next(iter(given.values()), None)


def _loss_weight(value: Any, key: str, where: str) -> float:
    # The comparison is false for NaN, and JSON's numbers may be too long for a float.
    if isinstance(value, int | float) and 0 <= value <= MOST_WEIGHT:
        return float(value) or 0.0  # never -0.0
    raise DataError(f"{where}: {key} must be true, false or a number from 0 to {MOST_WEIGHT:g}, not {shown(value)}")


def _role(value: Any, where: str) -> Role:
    for role in ROLES:
        if value == role:
            return role
    seen = "no role" if value is None else f"role {shown(value)}"
    raise DataError(f"{where}: {seen}; accepted roles: {', '.join(ROLES)}")


def _content(value: Any, where: str) -> tuple[str, tuple[tuple[int, float | None], ...]]:
    """The content as one text, and the parts' lengths and loss weights where a part has one."""
    if value is None:
        return "", ()
    if isinstance(value, str):
        return value, ()
    if not isinstance(value, list | tuple):
        raise DataError(f"{where}: content must be a string, null or a list of text parts, not {shown(value)}")
    parts = [_text_part(part, where) for part in value]
    is_weighted = any(weight is not None for _, weight in parts)
    weights = tuple((len(text), weight) for text, weight in parts) if is_weighted else ()
    return "".join(text for text, _ in parts), weights


def _text_part(part: Any, where: str) -> tuple[str, float | None]:
    if isinstance(part, str):
        return part, None
    fields = _object(part, where, "a content part")
    if fields.get("type", "text") == "text" and isinstance(fields.get("text"), str):
        return fields["text"], _train(fields, f"{where}, a content part")
    raise DataError(
        f"{where}: content part {shown(part)} is not text; only parts such as "
        '{"type": "text", "text": "..."} are accepted'
    )


def _parts_to_list(message: Message) -> list[dict[str, Any]]:
    """The content as text parts with their loss weights; empty where it came in one piece."""
    length = sum(size for size, _ in message.part_weights)
    if message.part_weights and length != len(message.content):
        raise DataError(
            f"the part_weights of a message add up to {length} characters, but its content has {len(message.content)}: "
            f"{shown(message.content)}"
        )
    parts, start = [], 0
    for size, weight in message.part_weights:
        train = {} if weight is None else {"train": weight}
        parts.append({"type": "text", "text": message.content[start : start + size], **train})
        start += size
    return parts


def _reasoning(fields: Mapping[str, Any], where: str) -> str | None:
    values = (_optional_text(fields, key, where) for key in REASONING_KEYS)
    return next((value for value in values if value is not None), None)


def _optional_text(fields: Mapping[str, Any], key: str, where: str) -> str | None:
    value = fields.get(key)
    if value is None or isinstance(value, str):
        return value
    raise DataError(f"{where}: {key} must be a string or absent, not {shown(value)}")


def _tool_calls(value: Any, where: str) -> tuple[ToolCall, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise DataError(f"{where}: tool_calls must be a list, not {shown(value)}")
    return tuple(tool_call_from_dict(call, where) for call in value)


def tool_call_from_dict(raw: Any, where: str) -> ToolCall:
    """Read one tool call: the OpenAI form, or the bare `{"name", "arguments"}`."""
    fields = _object(raw, where, "a tool call")
    function = _object(fields.get("function", fields), where, "the function of a tool call")
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise DataError(f"{where}: a tool call needs a function name, a non-empty string; seen: {shown(raw)}")
    return ToolCall(name, arguments_from(function.get("arguments"), where), _optional_text(fields, "id", where))


def _tool_call_to_dict(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": dict(call.arguments)}
    identity = {} if call.id is None else {"id": call.id}
    return {**identity, "type": "function", "function": function}


def _messages(value: Any, where: str) -> tuple[Message, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise DataError(f"{where}: messages must be a non-empty list, not {shown(value)}")
    return tuple(message_from_dict(message, f"{where}, message {number}") for number, message in enumerate(value, 1))


def _id(value: Any, default: str, where: str) -> str:
    if value is None or value == "":
        return default
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise DataError(f"{where}: id must be a string or an integer, not {shown(value)}")
