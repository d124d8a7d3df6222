"""Chat templates: Jinja text that turns messages into one text, rendered as transformers renders it, in a sandbox.

A template is somebody else's program. It sees the messages, tools, special tokens and options as plain JSON values, and
nothing else; what it may use of time and memory is bounded (see sandbox/).
"""

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2.exceptions import SecurityError, TemplateSyntaxError

from tunesmith.errors import RenderError, TemplateRefusal
from tunesmith.render.sandbox import Refused, Sandbox, sandbox_for
from tunesmith.render.sandbox.meter import LimitReached

_GIVEN = ("messages", "tools", "add_generation_prompt")
_REASONING_NAMES = ("reasoning_content", "thinking", "reasoning")
_SCALARS = (str, int, float, bool, type(None))
_MARKS = [(chr(code), chr(code + 1)) for code in range(0xFDE0, 0xFDF0, 2)]
"""Pairs of Unicode noncharacters, which have no business in any text."""
_LONGEST_MESSAGE = 1000
_OTHER_TEMPLATE = "mend a copy of the template, or take another, and give it with --set render.template=FILE"


class ChatTemplate:
    """One chat template with what it is told beside the messages.

    `name` is for people. `special` are the named special tokens (`bos_token`, ...), `options` what the recipe hands to
    the template (`enable_thinking`, ...); an option replaces a special token of the same name. `today` is the day that
    `strftime_now` tells, at midnight: the clock of the machine is never asked, so that a text can be made again.
    """

    def __init__(
        self,
        source: str,
        *,
        name: str,
        special: Mapping[str, str],
        options: Mapping[str, Any],
        today: datetime.date,
    ) -> None:
        """Compile `source`, once for all of its kind; raises RenderError where it cannot be read."""
        self.source = source
        self.name = name
        self.today = today
        taken = [key for key in (*special, *options) if key in _GIVEN]
        if taken:
            raise RenderError(f"render.template_options cannot set {taken[0]!r}: the conversation says that itself")
        self._given = {"documents": None} | _plain({**special, **options}, "render.template_options")
        self._sandbox()

    @property
    def has_generation_marks(self) -> bool:
        """Whether it has `{% generation %}` around what the model writes."""
        return self._sandbox().has_generation_marks

    @property
    def uses_clock(self) -> bool:
        """Whether it asks for the date."""
        return self._sandbox().uses_clock

    def text(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        add_generation_prompt: bool = False,
    ) -> str:
        """The text of a conversation.

        Reasoning is handed over under each of its names, as transformers does it. Raises TemplateRefusal with the
        template's own words where it refuses the conversation, and RenderError where it fails or is stopped.
        """
        return self._run(self._variables(messages, tools, add_generation_prompt), None)

    def marked(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> tuple[str, list[tuple[int, int]]]:
        """The text, and the spans (start, end), in characters, that stand in `{% generation %}`.

        They are found by rendering again with a mark at either end, so they are right wherever the template puts them,
        also through macros. Raises RenderError where the template changes the marked text on its way.
        """
        variables = self._variables(messages, tools, False)
        text = self._run(variables, None)
        if not self.has_generation_marks:
            return text, []
        marks = next(pair for pair in [*_MARKS, ("", "")] if not any(mark in text for mark in pair))
        if marks == ("", ""):
            raise RenderError(f"the text of the chat template {self.name} holds all of U+FDE0 to U+FDEF; remove them")
        pieces = re.split(f"([{''.join(marks)}])", self._run(variables, marks))
        if "".join(pieces[::2]) != text:
            raise RenderError(
                f"the chat template {self.name} changes what stands in {{% generation %}}, so it cannot be found "
                "in its text; remove these tags, and the trained part is found without"
            )
        return text, _spans(pieces, marks[0])

    def _variables(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None, generation: bool
    ) -> dict[str, Any]:
        try:
            return {
                **self._given,
                "messages": [_with_reasoning(_plain(message, "a message")) for message in messages],
                "tools": None if tools is None else [_plain(tool, "a tool") for tool in tools],
                "add_generation_prompt": generation,
            }
        except RecursionError:
            raise RenderError("a message or tool holds lists in lists, too deep to be read; flatten it") from None

    def _run(self, variables: dict[str, Any], marks: tuple[str, str] | None) -> str:
        sandbox = self._sandbox()
        try:
            return sandbox.run(variables, self.today, marks)
        except Exception as error:  # a template can fail in every way that a program can
            problem = _problem(self.name, error, sandbox.line_of(error))
        # Raised out here, so that it does not keep the template's frames, and all they hold, alive.
        raise problem

    def _sandbox(self) -> Sandbox:
        try:
            return sandbox_for(self.source)
        except Exception as error:
            line = error.lineno if isinstance(error, TemplateSyntaxError) else None
            problem = _problem(self.name, error, line)
        raise problem


def _plain(value: Any, what: str) -> Any:
    """A copy in dicts and lists; raises RenderError at anything that JSON has not."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if isinstance(value, Mapping):
        return {key: each if type(each) is str else _plain(each, what) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, what) for each in value]
    if isinstance(value, tuple):
        return tuple(_plain(each, what) for each in value)
    if isinstance(value, str):  # an enumeration, say, which brings methods of its own
        return str.__str__(value)
    raise RenderError(
        f"{what} holds a {kind.__name__}; a chat template is given texts, numbers, lists and mappings only"
    )


def _with_reasoning(message: Any) -> Any:
    """The message with its reasoning under the names that templates know, as transformers does it."""
    if not isinstance(message, dict):
        raise RenderError(f"a message must be a mapping, not a {type(message).__name__}")
    for name in _REASONING_NAMES:
        if message.get(name) is not None:
            return {"thinking": message[name], **message, "reasoning_content": message[name]}
    return message


def _spans(pieces: Sequence[str], opening: str) -> list[tuple[int, int]]:
    """The outermost spans between marks; `pieces` are texts and marks by turns."""
    spans: list[tuple[int, int]] = []
    at = depth = start = 0
    for text, mark in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
        at += len(text)
        start = at if mark == opening and depth == 0 else start
        depth += 0 if not mark else 1 if mark == opening else -1
        if mark and depth == 0:
            spans.append((start, at))
    return spans


def _problem(name: str, error: Exception, line: int | None) -> RenderError:
    """What stopped a template, in the words of this project."""
    said = str(error)[:_LONGEST_MESSAGE]
    if isinstance(error, Refused):
        return TemplateRefusal(f"the chat template {name} refuses this conversation: {said}")
    place = f"the chat template {name}" + (f", line {line}," if line is not None else "")
    if isinstance(error, TemplateSyntaxError):
        return RenderError(f"{place} cannot be read: {said}; {_OTHER_TEMPLATE}")
    if isinstance(error, RecursionError | MemoryError):
        said = "it calls itself too deeply" if isinstance(error, RecursionError) else "there is no memory left"
    elif not isinstance(error, LimitReached | SecurityError):
        return RenderError(
            f"{place} fails with {type(error).__name__}: {said}; give the conversation what the template expects, or "
            f"{_OTHER_TEMPLATE}"
        )
    return RenderError(f"{place} was stopped: {said}; {_OTHER_TEMPLATE}")
