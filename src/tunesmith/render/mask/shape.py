"""A shape of conversation put to a template: what the template writes, with slots where the fields of messages go."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tunesmith.errors import RenderError
from tunesmith.render.mask.sentinels import SLOT, Field, filled, slotted
from tunesmith.render.mask.wire import Wire
from tunesmith.render.template import ChatTemplate
from tunesmith.types import Message


@dataclass(frozen=True, slots=True)
class Turn:
    """One assistant message: slotted texts of its prompt and completion, and of messages[:index + 1] as a whole.

    `text` is what the template writes; it equals prompt + completion + whatever follows the stop token, unless the
    prompt ends or opens a thought that the template strips.
    """

    index: int
    prompt: str
    completion: str
    text: str
    stop: str


class Shape:
    """A shape of conversation put to a template: slotted texts of its beginnings, each rendered once."""

    def __init__(
        self,
        template: ChatTemplate,
        wire: Wire,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        fields: Sequence[Field],
    ) -> None:
        self.template = template
        self.fields = fields
        self.messages = messages
        self.tools = tools or None
        self._wire = wire
        self._plain = [wire.message(each) for each in filled(messages, fields)]
        self._decorated = [wire.message(each) for each in filled(messages, fields, decorated=True)]
        self.text = lru_cache(maxsize=None)(self._text)

    def _text(self, count: int, generation: bool) -> str:
        """The slotted text of the first `count` messages; raises RenderError where the template refuses."""
        plain = self.template.text(self._plain[:count], self.tools, add_generation_prompt=generation)
        try:
            decorated = self.template.text(self._decorated[:count], self.tools, add_generation_prompt=generation)
        except RenderError:
            decorated = None
        return slotted(plain, decorated)

    def continued(self, count: int, message: Message) -> str | None:
        """The text of the first `count` messages and another one, or None where the template refuses."""
        more = [*self._plain[:count], self._wire.message(message)]
        try:
            return slotted(self.template.text(more, self.tools), None)
        except RenderError:
            return None

    def marks(self, count: int) -> list[tuple[int, int]]:
        """The spans that the template marks as generated, in its text with marker words."""
        return self.template.marked(self._plain[:count], self.tools)[1]

    def field_numbers(self, index: int) -> set[int]:
        return {number for number, field in enumerate(self.fields) if field.message == index}

    def numbers_before(self, index: int) -> set[int]:
        return {number for number, field in enumerate(self.fields) if field.message < index}


def leaves(*values: Any) -> list[str]:
    """All texts inside a value, keys included."""
    found: list[str] = []
    for value in values:
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, Mapping):
            found += [leaf for pair in value.items() for leaf in leaves(*pair)]
        elif isinstance(value, list | tuple):
            found += leaves(*value)
    return found


def forms(text: str) -> tuple[str, ...]:
    """How a template may write a text."""
    return (text, text.strip(), json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1])


def is_written(text: str, written: str) -> bool:
    return any(form in written for form in forms(text))


def shown(text: str, size: int = 80) -> str:
    text = re.sub(f"{SLOT}..", "…", text, flags=re.DOTALL)
    return repr(text if len(text) <= size else f"{text[:size]}...")
