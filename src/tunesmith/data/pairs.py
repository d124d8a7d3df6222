"""Preference data: records of every usual form become one conversation with its chosen messages and its rejected ones.

A side (chosen or rejected) is an answer behind the prompt: a string, a message, or messages of which the first is the
assistant's. Or it is the whole conversation: messages that begin otherwise, or a transcript as in Anthropic's HH data
("\\n\\nHuman: ... \\n\\nAssistant: ...", Bai et al. 2022). Both sides come out whole.
"""

import re
from collections.abc import Mapping
from typing import Any

from tunesmith.data.turns import any_message
from tunesmith.errors import DataError
from tunesmith.messages import decoded, shown

SIDES = ("chosen", "rejected")
_PROMPT_KEYS = ("prompt", "messages", "conversations", "conversation", "instruction", "question")
_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant):")
_HH_ROLES = {"Human": "user", "Assistant": "assistant"}


def is_pair(value: Mapping[str, Any]) -> str | None:
    """The sign by which a record is known to hold a chosen and a rejected answer, or None."""
    if all(value.get(key) is not None for key in SIDES):
        return "'chosen' and 'rejected'"
    if "preferred_output" in value and "non_preferred_output" in value:
        return "'preferred_output' and 'non_preferred_output'"
    return "'messages' and 'rejected'" if "messages" in value and isinstance(value.get("rejected"), list) else None


def in_columns(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """A record with the columns chosen, rejected and a prompt, whether OpenAI's form, our own or already so."""
    if "preferred_output" in value:
        given = value.get("input")
        inner = given if isinstance(given, Mapping) else {"prompt": given}
        sides = {"chosen": value["preferred_output"], "rejected": value.get("non_preferred_output")}
        return {**{key: inner[key] for key in ("messages", "prompt", "tools") if key in inner}, **sides, **_id(value)}
    if value.get("chosen") is None and "messages" in value:  # a line of our own conversations.jsonl
        return {**{key: value[key] for key in value if key != "messages"}, "chosen": value["messages"]}
    return value


def _id(value: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": value["id"]} if "id" in value else {}


def spell_pair(value: Mapping[str, Any], prompt_field: str, where: str) -> dict[str, Any]:
    """The record as OpenAI messages: those of the chosen conversation, and those of the rejected one."""
    prompt = _prompt(value, prompt_field, where)
    chosen, rejected = (_side(value, key, prompt, where) for key in SIDES)
    return {"messages": chosen, "rejected": rejected}


def _prompt(value: Mapping[str, Any], prompt_field: str, where: str) -> list[Any]:
    """The messages before the answers; empty where the record has no column for them."""
    keys = dict.fromkeys((prompt_field, *_PROMPT_KEYS))
    key = next((key for key in keys if value.get(key) is not None), None)
    if key is None:
        return []
    content = value[key]
    if isinstance(content, str) and key in ("messages", "conversations", "conversation"):
        content = decoded(content, where, "the list of messages")
    if isinstance(content, str):
        parts = [content, value.get("input") or ""] if key == "instruction" else [content]
        if not all(isinstance(part, str) for part in parts):
            raise DataError(f"{where}: input must be a string, not {shown(parts[1])}")
        text = "\n\n".join(part for part in parts if part)
        messages = _transcript(text) or [{"role": "user", "content": text}]
    elif isinstance(content, list | tuple):
        messages = [any_message(turn, where) for turn in content]
    else:
        raise DataError(f"{where}: {key} must be text or a list of messages, not {shown(content)}")
    # Some sets carry the chosen conversation a second time, as messages.
    return [] if messages and _role(messages[-1]) == "assistant" else _with_system(value, messages)


def _side(value: Mapping[str, Any], key: str, prompt: list[Any], where: str) -> list[Any]:
    content = value.get(key)
    if isinstance(content, str):
        whole = _transcript(content) if not prompt else []
        if not prompt and not whole:
            raise DataError(
                f"{where}: {key} is a text, but there is no prompt: accepted are a column 'prompt' beside it, a list "
                f"of messages, or a transcript that begins with 'Human:'; seen: {shown(content)}"
            )
        return _with_system(value, whole) if whole else [*prompt, {"role": "assistant", "content": content}]
    turns = [content] if isinstance(content, Mapping) else content
    if not isinstance(turns, list | tuple) or not turns:
        raise DataError(f"{where}: {key} must be text, a message or a list of messages, not {shown(content)}")
    messages = [any_message(turn, f"{where}, {key}, message {number}") for number, turn in enumerate(turns, 1)]
    if _role(messages[0]) == "assistant" and prompt:
        return [*prompt, *messages]
    _check_whole(value, key, prompt, messages, where)
    return _with_system(value, messages)


def _check_whole(value: Mapping[str, Any], key: str, prompt: list[Any], messages: list[Any], where: str) -> None:
    """A whole conversation must hold the messages of the prompt, or these would be lost; a text is its last question
    or a form of it, and says no more."""
    given = [each for each in prompt if _role(each) != "system"]
    found = [each for each in messages if _role(each) != "system"]
    is_text = any(isinstance(value.get(name), str) for name in ("prompt", "instruction", "question"))
    if not is_text and found[: len(given)] != given:
        raise DataError(
            f"{where}: {key} begins with a {_role(messages[0])} message, so it should be the whole conversation, but "
            "it does not begin with the messages of the prompt; let it hold the answer alone, or all messages"
        )


def _transcript(text: str) -> list[dict[str, Any]]:
    """The messages of a transcript; none where the text is no transcript."""
    if not text.lstrip().startswith("Human:"):
        return []
    _, *found = _SPEAKER.split(text.strip())
    return [
        {"role": _HH_ROLES[speaker], "content": said.strip()}
        for speaker, said in zip(found[::2], found[1::2], strict=True)
    ]


def _with_system(value: Mapping[str, Any], messages: list[Any]) -> list[Any]:
    """With the record's column `system` first, where the messages have none of their own."""
    system = value.get("system")
    if not system or (messages and _role(messages[0]) in ("system", "developer")):
        return messages
    return [{"role": "system", "content": system}, *messages]


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, Mapping) else None
