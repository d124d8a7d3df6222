"""What a template is given: messages and tools in its own form, with control tokens in them broken up."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from tunesmith.errors import RenderError
from tunesmith.render.mask.encoding import Encoder
from tunesmith.render.mask.sentinels import BREAK, SLOT, Field, filled, word
from tunesmith.render.mask.wire import (
    Wire,
    function_schema,
    inline_reasoning,
    inline_tools,
    split_reasoning,
    with_ids,
)
from tunesmith.render.template import ChatTemplate
from tunesmith.types import Message


class Asked(NamedTuple):
    """A conversation as it is put to the template."""

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...]


class Asker:
    """Puts conversations to a template. `is_inline`: reasoning is written into the content."""

    def __init__(self, template: ChatTemplate, wire: Wire, encoder: Encoder, is_inline: bool) -> None:
        self.template = template
        self.wire = wire
        self.is_inline = is_inline
        self._pattern = encoder.pattern
        self._openings = _first_characters(encoder.controls)

    def spellings(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> Iterator[Asked]:
        """The ways to put a conversation to the template, the likelier first."""
        yield self.asked(messages, tools, splits=self.wire.reasoning is not None)
        if not self.is_inline and any(split_reasoning(each) is not each for each in messages):
            yield self.asked(messages, tools, splits=self.wire.reasoning is None)

    def asked(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], splits: bool | None = None
    ) -> Asked:
        """Messages and tools as they are put to the template; control tokens spelled out in them are broken up.

        `splits`: reasoning written into a content is taken apart from it.
        """
        splits = self.wire.reasoning is not None if splits is None else splits
        told = [self._with_reasoning_in_place(message, splits) for message in messages]
        schemas = [function_schema(tool) for tool in tools]
        if not self.wire.has_tools:
            uses_tools = bool(tools) or any(each.tool_calls or each.role == "tool" for each in told)
            told, schemas = (inline_tools(told, tools, self.wire.prints_results) if uses_tools else told), []
        elif any(each.tool_calls or each.role == "tool" for each in told):
            told = with_ids(told)
        return Asked(tuple(self._broken(each) for each in told), tuple(self._broken_value(each) for each in schemas))

    def _with_reasoning_in_place(self, message: Message, splits: bool) -> Message:
        if message.role != "assistant":
            return message
        if self.is_inline:
            return inline_reasoning(message)
        return split_reasoning(message) if splits else message

    def _broken(self, message: Message) -> Message:
        content, reasoning = self._broken_text(message.content), message.reasoning
        if reasoning:
            reasoning = self._broken_text(reasoning)
        if message.tool_calls:
            calls = tuple(
                replace(call, name=self._broken_text(call.name), arguments=self._broken_value(call.arguments))
                for call in message.tool_calls
            )
            return replace(message, content=content, reasoning=reasoning, tool_calls=calls)
        if content is message.content and reasoning is message.reasoning:
            return message
        return replace(message, content=content, reasoning=reasoning)

    def _broken_value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._broken_text(value)
        if isinstance(value, Mapping):
            return {self._broken_text(str(key)): self._broken_value(inner) for key, inner in value.items()}
        return [self._broken_value(inner) for inner in value] if isinstance(value, list | tuple) else value

    def _broken_text(self, text: str) -> str:
        if SLOT in text or BREAK in text:
            raise RenderError("a text holds the Unicode noncharacter U+FDD0 or U+FDD1; remove it")
        if self._openings.search(text) is None:
            return text
        # Whitespace around a text is left alone: where a model stops at "\n\n", its template must be able to trim it.
        core = text.strip()
        broken = self._pattern.sub(lambda found: f"{found[0][0]}{BREAK}{found[0][1:]}", core)
        return text if broken == core else text.replace(core, broken, 1)

    def text(self, asked: Asked, count: int, generation: bool) -> str:
        wire = [self.wire.message(message) for message in asked.messages[:count]]
        return self.template.text(wire, asked.tools or None, add_generation_prompt=generation)

    def continued_text(self, asked: Asked) -> str:
        """The text up to the end of the last message's content."""
        marked = filled(asked.messages, [Field(len(asked.messages) - 1, "content")])
        last = asked.messages[-1]
        text = self.text(Asked((*asked.messages[:-1], marked[-1]), asked.tools), len(asked.messages), False)
        before, found, _ = text.partition(word(0))
        if not found:
            raise RenderError(f"the template {self.template.name} leaves out the message that should be continued")
        return before + last.content


def _first_characters(names: Iterable[str]) -> re.Pattern[str]:
    """Finds where a control token might begin: two characters that one of them begins with."""
    return re.compile("|".join(sorted({re.escape(name[:2]) for name in names})) or r"(?!)")
