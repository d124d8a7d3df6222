"""What a template is given: messages and tools in its own form, with control tokens in them broken up."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from tunesmith.errors import RenderError
from tunesmith.render.mask.encoding import Encoder
from tunesmith.render.mask.sentinels import BREAK, SLOT, Field, filled, word
from tunesmith.render.mask.wire import (
    THINK_OPEN,
    Wire,
    function_schema,
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
    wire: Wire
    told: tuple[dict[str, Any], ...]
    """The messages in the form of `wire`."""


class Asker:
    """Puts conversations to a template."""

    def __init__(self, template: ChatTemplate, wire: Wire, encoder: Encoder) -> None:
        self.template = template
        self.wire = wire
        self._pattern = encoder.pattern
        self._controls = encoder.controls
        self._openings = _first_characters(encoder.controls)

    def spellings(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> Iterator[Asked]:
        """The ways to put a conversation to the template, the likelier first.

        Data that itself has its reasoning in the content keeps it there where the template has no other place: as it
        is, or, where the tokenizer has the tags as control tokens, with these around it.
        """
        if self.wire.reasoning is not None or all(split_reasoning(each) is each for each in messages):
            yield self.asked(messages, tools)
        elif THINK_OPEN not in self._controls:
            yield self.asked(messages, tools, splits=False)
        else:
            yield self.asked(messages, tools)
            yield self.asked(messages, tools, replace(self.wire, reasoning="inline"))

    def for_prompt(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> Asked:
        """The way in which earlier answers keep the reasoning that they came with, as far as the template lets them."""
        return list(self.spellings(messages, tools))[-1]

    def asked(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        wire: Wire | None = None,
        splits: bool = True,
    ) -> Asked:
        """Messages and tools as they are put to the template; control tokens spelled out in them are broken up.

        `splits`: reasoning that stands in the content is taken out of it, for the place that `wire` gives it.
        """
        wire = wire or self.wire
        given = [split_reasoning(message) for message in messages] if splits else list(messages)
        schemas = [function_schema(tool) for tool in tools]
        uses_tools = bool(tools) or any(each.tool_calls or each.role == "tool" for each in given)
        if uses_tools and wire.has_tools:
            given = with_ids(given)
        elif uses_tools:
            given, schemas = inline_tools(given, tools, wire.prints_results), []
        broken = tuple([self._broken(each) for each in given])
        told = tuple([wire.message(each) for each in broken])
        return Asked(broken, tuple([self._broken_value(each) for each in schemas]), wire, told)

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
        return self.template.text(asked.told[:count], asked.tools or None, add_generation_prompt=generation)

    def continued_text(self, asked: Asked) -> str:
        """The text up to the end of the last message's content."""
        marked = filled(asked.messages, [Field(len(asked.messages) - 1, "content")])
        last = asked.messages[-1]
        told = (*asked.told[:-1], asked.wire.message(marked[-1]))
        text = self.text(asked._replace(told=told), len(told), False)
        before, found, _ = text.partition(word(0))
        if not found:
            raise RenderError(f"the template {self.template.name} leaves out the message that should be continued")
        return before + last.content


def _first_characters(names: Iterable[str]) -> re.Pattern[str]:
    """Finds where a control token might begin: two characters that one of them begins with."""
    return re.compile("|".join(sorted({re.escape(name[:2]) for name in names})) or r"(?!)")
