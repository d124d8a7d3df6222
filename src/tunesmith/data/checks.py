"""What makes a well-formed conversation useless or harmful to train on."""

import json

from tunesmith.messages import conversation_to_dict
from tunesmith.types import Conversation, Message


def problem_of(conversation: Conversation) -> tuple[str, str] | None:
    """The first problem as (reason, detail), or None for a conversation that can be trained on."""
    if conversation.text is not None and not conversation.text.strip():
        return "empty document", "the text is empty"
    found = None if conversation.text is not None else _problem_of_messages(conversation.messages)
    if conversation.rejected:
        found = found or _problem_of_pair(conversation)
    return found or _unwritable(conversation)


def _problem_of_pair(conversation: Conversation) -> tuple[str, str] | None:
    """Chosen and rejected must be two different answers to one prompt."""
    found = _problem_of_messages(conversation.rejected)
    if found:
        return found[0], f"rejected: {found[1]}"
    if conversation.messages == conversation.rejected:
        return "equal answers", "the chosen and the rejected answer are the same, so there is nothing to prefer"
    place = conversation.num_shared
    tails = [conversation.messages[place:], conversation.rejected[place:]]
    roles = [tail[0].role if tail else "no" for tail in tails]
    if place == 0 or roles != ["assistant", "assistant"]:
        detail = f"chosen and rejected part at message {place + 1} (chosen: a {roles[0]} message, rejected: {roles[1]})"
        return "different prompts", f"{detail}; they must be answers of the assistant to the same messages"
    return None


def _problem_of_messages(messages: tuple[Message, ...]) -> tuple[str, str] | None:
    if not any(message.role == "assistant" for message in messages):
        roles = ", ".join(message.role for message in messages)
        return "no assistant message", f"no assistant message, so nothing to train on; the roles are: {roles}"
    return _empty_answer(messages) or _stray_result(messages)


def _empty_answer(messages: tuple[Message, ...]) -> tuple[str, str] | None:
    for number, message in enumerate(messages, 1):
        if message.role == "assistant" and not message.content.strip() and not message.tool_calls:
            detail = f"message {number}: the assistant message has neither content nor tool calls"
            return "empty assistant message", detail
    return None


def _stray_result(messages: tuple[Message, ...]) -> tuple[str, str] | None:
    """A tool message must answer a call made before it: by id where both have ids."""
    has_calls = False
    ids: set[str] = set()
    for number, message in enumerate(messages, 1):
        has_calls = has_calls or bool(message.tool_calls)
        ids.update(call.id for call in message.tool_calls if call.id is not None)
        if message.role != "tool":
            continue
        if not has_calls:
            return "tool result without call", f"message {number}: a tool message, but no tool call before it"
        if message.tool_call_id is not None and ids and message.tool_call_id not in ids:
            known = ", ".join(sorted(ids))
            seen = f"tool_call_id {message.tool_call_id!r}"
            return "tool result without call", f"message {number}: {seen} is not among the calls: {known}"
    return None


def _unwritable(conversation: Conversation) -> tuple[str, str] | None:
    """Values a JSON line cannot carry: half of a surrogate pair, NaN, dates."""
    try:
        json.dumps(conversation_to_dict(conversation), ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        return "not writable", "the text holds half of a surrogate pair (such as \\ud800), not a character"
    except (TypeError, ValueError) as error:
        return "not writable", f"a value cannot be written as JSON ({error})"
    return None
