"""The stop token: what ends an assistant message, found from the template's own text, not from eos_token alone.

Four habits of templates are told apart: a token behind the answer (most), several in a row of which the last one ends
the turn (Cohere), a token that ends whole texts and not turns (Phi-3.5's `<|endoftext|>`), and no token at the end of
a text at all, because the next message opens with the one that stops the model (GLM) or closes the answer (Apertus).
"""

import re
from collections.abc import Sequence

from tunesmith.errors import MaskError, RenderError
from tunesmith.render.mask.sentinels import common_length, fields_of, slots_of, without_changes
from tunesmith.render.mask.shape import Shape, forms, leaves, shown
from tunesmith.render.mask.wire import Wire
from tunesmith.render.template import ChatTemplate
from tunesmith.types import Message, ToolCall

# An opening tag, a closing tag: <think>, [THINK], <|START_THINKING|>, <seed:think>; </think>, [/THINK], <|END_...|>.
TAG = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")


_ANSWER = (Message("user", "Hello"), Message("assistant", "Yes."))
_CALL = (_ANSWER[0], Message("assistant", "", tool_calls=(ToolCall("look", {"at": "it"}, "abcdefgh1"),)))
_TOOLS = ({"type": "function", "function": {"name": "look", "description": "Look.", "parameters": {}}},)


class StopFinder:
    """Finds stop tokens in the texts of one template. `names`: the tokens that end a turn, the plain answer's first."""

    def __init__(self, template: ChatTemplate, wire: Wire, controls: re.Pattern[str], names: Sequence[str]) -> None:
        self.template = template
        self.controls = controls
        self.names = tuple(names)
        self._is_late = False
        self._is_learning = True
        for messages in (_ANSWER, _CALL) if wire.has_tools else (_ANSWER,):
            self._learn(wire, messages)

    def _learn(self, wire: Wire, messages: Sequence[Message]) -> None:
        """Put the token that ends an answer before the other names, and one that ends a tool call alone behind them;
        note whether the template leaves it out at the end of a text."""
        tools = _TOOLS if messages[-1].tool_calls else ()
        try:
            shape = Shape(self.template, wire, messages, tools, fields_of(messages))
            text = shape.text(2, False)
            stop, end = self.find(shape, 1, text)
        except RenderError:
            return
        finally:
            was_learning, self._is_learning = self._is_learning, False
        if was_learning:
            self._is_late = end > len(text)
        self.names = tuple(dict.fromkeys([stop, *self.names] if was_learning else [*self.names, stop]))

    def find(self, shape: Shape, index: int, text: str) -> tuple[str, int]:
        """The stop token that ends message `index`, and where it ends in `text`; beyond its end, where the template
        writes it only when another message follows (GLM, Apertus)."""
        begin = self._end_of_fields(shape, index, text)
        tail = text[begin:]
        follow = shape.continued(index + 1, Message("user", "And then?"))
        follows = follow is not None and without_changes(follow[:begin]) == without_changes(text[:begin])
        after = follow[begin:] if follow is not None and follows else ""
        shared = common_length(tail, after)
        found = list(self.controls.finditer(tail))
        chosen = self._chosen(found, shared)
        if chosen is not None:
            return chosen[0], begin + chosen.end()
        if self._is_late or not (found or tail.strip()):
            opening = self.controls.match(after[shared:].lstrip())
            if opening is not None and (opening[0] in self.names or not self.names):
                return opening[0], len(text) + 1
            if self.names:
                return self.names[0], len(text) + 1
        if found and (found[-1].end() <= shared or not tail[found[-1].end() :].strip()):
            last = _last_of_first_run([match for match in found if match.end() <= shared] or found[-1:])
            return last[0], begin + last.end()
        raise MaskError(
            "stop_token",
            f"the template {self.template.name} ends message {index + 1} with {shown(tail)}, in which the tokenizer "
            "has no control token, so nothing could teach the model to stop. Accepted: a template that ends its "
            f"answers with a control token of the tokenizer (it names {', '.join(self.names) or 'none'} as "
            "ends). Take the model's own tokenizer with this template, or add the token to the tokenizer",
        )

    def _chosen(self, found: Sequence[re.Match[str]], shared: int) -> re.Match[str] | None:
        """A stop token by name: one that stays when the conversation goes on comes before one that does not. Before
        the template's own habit is known, what stays comes before any name."""
        within = [match for match in found if match.end() <= shared]
        known = [match for match in within if match[0] in self.names]
        if known or (within and self._is_learning):
            return known[0] if known else _last_of_first_run(within)
        return next((match for match in found if match[0] in self.names), None)

    def _end_of_fields(self, shape: Shape, index: int, text: str) -> int:
        """Where the last field of a message ends in a text, or, for one without fields, where its own text begins."""
        own = shape.field_numbers(index)
        end = max((slot.end for slot in slots_of(text) if slot.number in own), default=0)
        prompt = shape.text(index, True)
        end = max(end, before_token(self.controls, prompt, text, common_length(prompt, text)))
        for call in shape.messages[index].tool_calls:
            for leaf in leaves(call.name, call.arguments):
                places = [(text.find(form, end), form) for form in forms(leaf)]
                end = min((place + len(form) for place, form in places if place >= 0), default=end)
        return before_token(self.controls, text, "", end)  # a short word may have been found inside the stop token


def before_token(controls: re.Pattern[str], first: str, second: str, border: int) -> int:
    """`border` moved back out of a control token or tag that two texts share only in part."""
    for pattern in (controls, TAG):
        for match in (*pattern.finditer(first), *pattern.finditer(second)):
            if match.start() < border < match.end():
                border = match.start()
    return border


def _last_of_first_run(found: Sequence[re.Match[str]]) -> re.Match[str]:
    """The last of the control tokens that follow each other without a gap, from the first."""
    last = found[0]
    for match in found[1:]:
        if match.start() != last.end():
            break
        last = match
    return last
