"""OpenAI's form of requests and answers: chat/completions for messages, completions for a plain text."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tunesmith.generate import Completion, Prompt, Sampling
from tunesmith.types import Message, ToolCall

CHAT, PLAIN = "/chat/completions", "/completions"


def request_for(model: str, prompt: Prompt, sampling: Sampling) -> tuple[str, dict[str, Any]]:
    """The path and the body of the request for one answer."""
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "seed": seed_of(sampling, prompt.sample),
    }
    if sampling.top_p != 1.0:
        body["top_p"] = sampling.top_p
    if prompt.text is not None:
        return PLAIN, {**body, "prompt": prompt.text}
    if prompt.tools:
        body["tools"] = [_tool(tool) for tool in prompt.tools]
    return CHAT, {**body, "messages": [_message(each, number) for number, each in enumerate(prompt.messages)]}


def seed_of(sampling: Sampling, sample: int) -> int:
    """A seed for each sample of a prompt: the given one for the first, others 31 bits of a hash."""
    if sample == 0 or sampling.temperature == 0:
        return sampling.seed
    digest = hashlib.blake2b(f"{sampling.seed} {sample}".encode(), digest_size=4).digest()
    return int.from_bytes(digest) >> 1


def _tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    return tool if "function" in tool else {"type": "function", "function": tool}


def _message(message: Message, number: int) -> dict[str, Any]:
    found: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        found["tool_calls"] = [_call(call, number, place) for place, call in enumerate(message.tool_calls)]
    if message.tool_call_id is not None:
        found["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        found["name"] = message.name
    return found


def _call(call: ToolCall, number: int, place: int) -> dict[str, Any]:
    """A call as OpenAI spells it: the arguments are a string of JSON, and an id is needed."""
    function = {"name": call.name, "arguments": json.dumps(dict(call.arguments), ensure_ascii=False)}
    return {"id": call.id or f"call_{number}_{place}", "type": "function", "function": function}


def completion_from(answer: Any) -> Completion | None:
    """The completion of an answer, or None where it is not in OpenAI's form.

    Calls of tools become `<tool_call>` blocks behind the text, as the scorer tool_call reads them. Reasoning that the
    server sets apart from the content is not part of the completion.
    """
    try:
        choice = answer["choices"][0]
        text = choice["text"] if "text" in choice else _spoken(choice["message"])
        stopped = choice.get("finish_reason") != "length"
        num_tokens = int((answer.get("usage") or {}).get("completion_tokens") or 0)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        return None
    # Half a surrogate pair, which JSON can spell, is no text that a file could hold.
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return Completion(whole, (), stopped, num_unseen=num_tokens)


def _spoken(message: dict[str, Any]) -> str:
    parts = [message.get("content") or ""]
    for call in message.get("tool_calls") or ():
        function = call["function"]
        arguments = _arguments(function.get("arguments"))
        spelled = json.dumps({"name": function["name"], "arguments": arguments}, ensure_ascii=False)
        parts.append(f"<tool_call>\n{spelled}\n</tool_call>")
    return "\n".join(part for part in parts if part)


def _arguments(raw: Any) -> Any:
    """The arguments as an object; a string that is no JSON stays a string, which no scorer takes for right."""
    if not isinstance(raw, str):
        return raw or {}
    try:
        return json.loads(raw or "{}")
    except ValueError:
        return raw
