"""The check of how tool calls' arguments are written: in the data, and in what is trained."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from tunesmith.render.lint import Check, Kind, excerpt, reason_of
from tunesmith.render.show.views import View
from tunesmith.types import Dropped, Part, Rendered

PYTHON_WORD = re.compile(r"\b(?:True|False|None)\b")
QUOTED_OBJECT = re.compile(r'"\{\\+"')


class ToolArguments(Check):
    """Arguments encoded twice, or written in a way that no reader of JSON accepts."""

    name = "tool_arguments"
    noun = "conversations with tool calls"
    kinds: ClassVar[Mapping[str, Kind]] = {
        "twice": Kind(
            "error",
            "with arguments that are JSON inside of JSON",
            "Decode them once more: arguments are an object, or that object as one JSON string.",
        ),
        "python": Kind(
            "error",
            "whose arguments are trained as Python prints them, {'a': 1}",
            "The template prints the arguments without `| tojson`; mend it and give it with render.template.",
        ),
        "constants": Kind(
            "warning",
            "whose arguments are trained with True, False or None",
            "Readers of JSON want true, false and null; accept it only where the model's own server reads it so, else "
            "mend the template.",
        ),
        "quoted": Kind(
            "warning",
            "whose arguments are trained as a quoted string",
            "Look at them with `tunesmith show`; where the model's own calls have an object there, mend the template.",
        ),
        "inner": Kind(
            "note",
            "with a value that is itself JSON in a string",
            "Right where the tool takes a string; else write the value as an object.",
        ),
    }

    def known(self) -> Mapping[str, Kind]:
        return {**self.kinds, "twice": self.kinds["twice"]._replace(level=self.setting.level_of_drop)}

    def see(self, view: View) -> None:
        arguments = [call.arguments for message in view.conversation.messages for call in message.tool_calls]
        if not arguments:
            return
        self.total += 1
        inner = next((value for each in arguments for value in _strings(each) if _is_json(value)), None)
        if inner is not None:
            self.found_in("inner", view, excerpt(inner))
        for kind, said in self._as_trained(view, arguments):
            self.found_in(kind, view, excerpt(said))

    def see_dropped(self, dropped: Dropped) -> None:
        if is_encoded_twice(dropped):
            self.total += 1
            self.found("twice", dropped.source, dropped.id, reason_of(dropped))

    def _as_trained(self, view: View, arguments: list[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
        text = "\n".join(self._calls_text(rendered) for rendered in view.kept)
        own = "\n".join(value for each in arguments for value in _strings(each))
        spelled = (str(each) for each in _containers(arguments))
        printed = next((each for each in spelled if "'" in each and each in text and each not in own), None)
        words = {word for word in PYTHON_WORD.findall(text) if not re.search(rf"\b{word}\b", own)}
        if printed is not None:
            yield "python", printed
        elif words and any(_has_constant(each) for each in arguments):
            yield "constants", ", ".join(sorted(words))
        quoted = QUOTED_OBJECT.search(text)
        if quoted is not None and not QUOTED_OBJECT.search(json.dumps(arguments)):
            yield "quoted", text[quoted.start() :]

    def _calls_text(self, rendered: Rendered) -> str:
        """The text of the trained calls; of everything trained where parts are unknown."""
        chosen = rendered.loss_weights > 0
        if rendered.parts is not None:
            chosen &= rendered.parts == Part.TOOL_CALL
        return self.setting.renderer.text(rendered.tokens[np.flatnonzero(chosen)].tolist(), skip_control=False)


def is_encoded_twice(dropped: Dropped) -> bool:
    """Whether a record was refused because its arguments, decoded once, are still a string of JSON."""
    return dropped.reason == "malformed record" and any(map(_is_json_of_json, _arguments(dropped.record)))


def _arguments(value: Any) -> Iterator[Any]:
    """Every value under a key `arguments`, however deep."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from [inner] if key == "arguments" else _arguments(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _arguments(inner)


def _is_json_of_json(value: Any) -> bool:
    once = _decoded(value)
    return isinstance(once, str) and isinstance(_decoded(once), dict)


def _is_json(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[") and isinstance(_decoded(text), dict | list)


def _decoded(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)


def _containers(value: Any) -> Iterator[Any]:
    """Every object and list, as Python prints them, inside of a list of arguments."""
    if isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            if isinstance(inner, Mapping | list | tuple) and inner:
                yield dict(inner) if isinstance(inner, Mapping) else list(inner)
            yield from _containers(inner)


def _has_constant(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_constant, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_constant, value))
    return value is None or isinstance(value, bool)
