"""How a chat template wants its messages: the wire form, found by asking the template, never by its name.

Templates disagree about where reasoning goes, whether the arguments of a tool call are an object or a JSON string,
whether a tool call without text has an empty content or none, and whether they know the developer role. Each
question is put to the template once, with marker words, and the answer is read off what it writes.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from tunesmith.errors import RenderError
from tunesmith.types import Message, ToolCall

ReasoningForm = Literal["reasoning_content", "reasoning", "thinking", "parts", "inline"]
_REASONING_FORMS: tuple[ReasoningForm, ...] = ("reasoning_content", "reasoning", "thinking", "parts")
_MARK = "Zq5marker{}5qZ"
_TOOL = {
    "type": "function",
    "function": {
        "name": _MARK.format("tool"),
        "description": "Looks something up.",
        "parameters": {"type": "object", "properties": {"key": {"type": "string", "description": "What to look up."}}},
    },
}
INLINE_TOOLS = (
    "You may call these functions, each described by a JSON schema:\n<tools>\n{tools}\n</tools>\n"
    'To call one, answer with <tool_call>{{"name": "...", "arguments": {{...}}}}</tool_call>, one block a call.'
)
THINK_OPEN, THINK_CLOSE = "<think>", "</think>"


class Template(Protocol):
    """What is asked of a chat template here: its text, or a RenderError."""

    @property
    def source(self) -> str: ...

    def text(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        add_generation_prompt: bool = False,
    ) -> str: ...


@dataclass(frozen=True, slots=True)
class Wire:
    """One template's answers. `reasoning` None: it has no place for reasoning; `prints_results` False: it drops
    messages of the tool role without a word."""

    reasoning: ReasoningForm | None
    arguments: Literal["object", "string"]
    call_content: str | None
    developer: Literal["developer", "system"]
    has_tools: bool
    prints_results: bool = True

    def message(self, message: Message) -> dict[str, Any]:
        """One message as the template wants it."""
        role = self.developer if message.role == "developer" else message.role
        wire: dict[str, Any] = {"role": role, "content": message.content}
        if message.reasoning:
            self._put_reasoning(wire, message)
        if message.tool_calls:
            wire["tool_calls"] = [self._call(call) for call in message.tool_calls]
            if not wire["content"]:
                wire["content"] = self.call_content
        if message.tool_call_id is not None:
            wire["tool_call_id"] = message.tool_call_id
        if message.name is not None:
            wire["name"] = message.name
        return wire

    def _put_reasoning(self, wire: dict[str, Any], message: Message) -> None:
        if self.reasoning == "parts":
            thought = {"type": "thinking", "thinking": message.reasoning}
            wire["content"] = [thought, *([{"type": "text", "text": message.content}] if message.content else [])]
        elif self.reasoning == "inline":
            wire["content"] = f"{THINK_OPEN}\n{message.reasoning}\n{THINK_CLOSE}\n\n{message.content}"
        elif self.reasoning is not None:
            wire[self.reasoning] = message.reasoning

    def _call(self, call: ToolCall) -> dict[str, Any]:
        arguments = plain(call.arguments)
        written = arguments if self.arguments == "object" else json.dumps(arguments, ensure_ascii=False)
        return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": written}}


def plain(value: Any) -> Any:
    """Mappings and sequences of a record as plain dicts and lists."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def find_wire(template: Template) -> Wire:
    """Ask the template how it wants its messages."""
    has_tools = _has_tools(template)
    arguments = _arguments(template) if has_tools else "object"
    wire = Wire(None, arguments, "", _developer(template), has_tools, has_tools or _prints_results(template))
    wire = replace(wire, reasoning=_reasoning(template, wire))
    return replace(wire, call_content=_call_content(template, wire)) if has_tools else wire


def asked(ask: Callable[[], str]) -> str | None:
    """The template's text, or None where it refuses."""
    try:
        return ask()
    except RenderError:
        return None


def _reasoning(template: Template, wire: Wire) -> ReasoningForm | None:
    """The first form whose reasoning shows up in the text of a last answer, or of a tool call (Gemma 4 only there)."""
    thought = _MARK.format("thought")
    answers = [Message("assistant", "Yes.", thought)]
    if wire.has_tools:
        answers.append(Message("assistant", "", thought, (_call(),)))
    for answer in answers:
        for form in _REASONING_FORMS:
            tried = replace(wire, reasoning=form)
            text = asked(lambda tried=tried, answer=answer: template.text([_HELLO, tried.message(answer)]))  # type: ignore[misc]
            # A template that prints an unknown content as it comes would show the parts as Python or JSON spells them.
            if text is not None and thought in text and "'thinking'" not in text and '"thinking"' not in text:
                return form
    return None


_HELLO = {"role": "user", "content": "Hello"}


def _call(arguments: Mapping[str, Any] | None = None) -> ToolCall:
    given = arguments if arguments is not None else {_MARK.format("key"): _MARK.format("value")}
    return ToolCall(_MARK.format("tool"), given, "abcdefgh1")


def _has_tools(template: Template) -> bool:
    """Whether a tool call leaves any trace in the text, or is refused for a reason of the template's own."""
    if "tool" not in template.source:
        return False
    wire = Wire(None, "object", "", "system", True)
    texts = [
        asked(lambda form=form: template.text([_HELLO, replace(wire, arguments=form).message(_calling())], [_TOOL]))  # type: ignore[misc]
        for form in ("object", "string")
    ]
    return all(text is None for text in texts) or any(_MARK.format("tool") in (text or "") for text in texts)


def _calling(arguments: Mapping[str, Any] | None = None) -> Message:
    return Message("assistant", "", tool_calls=(_call(arguments),))


def _prints_results(template: Template) -> bool:
    result = _MARK.format("result")
    messages = [_HELLO, {"role": "assistant", "content": "Yes."}, {"role": "tool", "content": result}]
    text = asked(lambda: template.text(messages))
    return text is None or result in text


def _arguments(template: Template) -> Literal["object", "string"]:
    """An object, unless that is refused, printed in Python's spelling, or only a string is printed unquoted."""
    key = _MARK.format("key")
    wire = Wire(None, "object", "", "system", True)
    text = asked(lambda: template.text([_HELLO, wire.message(_calling())], [_TOOL]))
    if text is not None and key in text and f"'{key}'" not in text and f'\\"{key}' not in text:
        return "object"
    wire = replace(wire, arguments="string")
    text = asked(lambda: template.text([_HELLO, wire.message(_calling())], [_TOOL]))
    return "string" if text is not None and key in text and f'\\"{key}' not in text else "object"


def _call_content(template: Template, wire: Wire) -> str | None:
    """None for the content of a bare tool call, as OpenAI's API has it, unless the template stumbles over it."""
    bare = replace(wire, call_content=None)
    text = asked(lambda: template.text([_HELLO, bare.message(_calling({}))], [_TOOL]))
    empty = asked(lambda: template.text([_HELLO, wire.message(_calling({}))], [_TOOL]))
    if text is None or empty is None:
        return None if empty is None else ""
    return "" if text.count("None") > empty.count("None") else None


def _developer(template: Template) -> Literal["developer", "system"]:
    """The developer role, where the template prints it as something else than nothing; else system."""
    rule = _MARK.format("rule")
    text = asked(lambda: template.text([{"role": "developer", "content": rule}, _HELLO]))
    return "developer" if text is not None and rule in text else "system"


def function_schema(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool definition in OpenAI's form; a bare function (name, description, parameters) is wrapped."""
    given = plain(tool)
    return given if "function" in given or "name" not in given else {"type": "function", "function": given}


def with_ids(messages: Sequence[Message]) -> list[Message]:
    """Messages whose tool calls all have an id and whose tool results name their call, as some templates demand.

    An id that the data lacks is made from the call itself: nine letters and digits, the strictest known form.
    """
    filled: list[Message] = []
    open_calls: list[ToolCall] = []
    for index, message in enumerate(messages):
        if message.tool_calls:
            calls = tuple(
                call if call.id else replace(call, id=_made_id(index, place, call))
                for place, call in enumerate(message.tool_calls)
            )
            message, open_calls = replace(message, tool_calls=calls), list(calls)
        elif message.role == "tool" and open_calls:
            known = next((call for call in open_calls if call.id == message.tool_call_id), None)
            call = known or open_calls[0]
            open_calls.remove(call)
            message = replace(message, tool_call_id=message.tool_call_id or call.id, name=message.name or call.name)
        filled.append(message)
    return filled


def _made_id(index: int, place: int, call: ToolCall) -> str:
    written = json.dumps([index, place, call.name, plain(call.arguments)], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(written.encode()).hexdigest()[:9]


def inline_tools(
    messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], prints_results: bool
) -> list[Message]:
    """Messages of plain text only, for templates that know nothing of tools, such as SmolLM2's.

    Schemas go into the system message and calls into the content, by the `<tool_call>` convention of Hermes; where
    the template has no tool role either, results come from the user, between `<tool_response>` tags.
    """
    told = [replace(each, content=with_calls(each), tool_calls=(), tool_call_id=None, name=None) for each in messages]
    if not prints_results:
        told = [
            replace(each, role="user", content=f"<tool_response>\n{each.content}\n</tool_response>")
            if each.role == "tool"
            else each
            for each in told
        ]
    if not tools:
        return told
    schemas = "\n".join(json.dumps(plain(tool), ensure_ascii=False) for tool in tools)
    introduction = INLINE_TOOLS.format(tools=schemas)
    if told and told[0].role in ("system", "developer"):
        return [replace(told[0], content=f"{told[0].content}\n\n{introduction}"), *told[1:]]
    return [Message("system", introduction), *told]


def with_calls(message: Message) -> str:
    """The content with its tool calls written out."""
    calls = [
        f"<tool_call>{json.dumps({'name': each.name, 'arguments': plain(each.arguments)}, ensure_ascii=False)}"
        "</tool_call>"
        for each in message.tool_calls
    ]
    return "\n".join([part for part in (message.content, *calls) if part])


def split_reasoning(message: Message) -> Message:
    """Reasoning taken out of the content, for data that has it there, between <think> and </think> at its start."""
    start = message.content.lstrip()
    if message.role != "assistant" or message.reasoning or not start.startswith(THINK_OPEN):
        return message
    thought, closed, answer = start.removeprefix(THINK_OPEN).partition(THINK_CLOSE)
    if not closed or message.part_weights:
        return message
    return replace(message, reasoning=thought.strip("\n"), content=answer.lstrip("\n"))
