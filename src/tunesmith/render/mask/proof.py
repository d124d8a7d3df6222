"""The proof of a mask: what a template makes of a shape of conversation, read in independent ways that must agree.

For an assistant message number k the model is given the prompt, the template's text of messages[:k] with the
generation prompt, and must produce the completion, which is what messages[:k+1] has beyond that prompt, up to and
including the stop token. Readings:

1. incremental: the completion begins where the prompt ends, and the prompt is a prefix of the text;
2. sentinels: every field of message k stands inside the completion, every earlier field that is still there before it;
3. `{% generation %}` marks, where the template has them: their span begins where the completion does.

The first two are always taken and must agree, and the third where there is one; otherwise MaskError shows both.
Templates whose text of an answer does not begin with their own generation prompt are treated in borders.py.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from tunesmith.errors import MaskError
from tunesmith.render.mask.borders import Borders
from tunesmith.render.mask.sentinels import SLOT, SLOT_LENGTH, common_length, slots_of, without_changes, word
from tunesmith.render.mask.shape import Shape, Turn, is_written, leaves, shown
from tunesmith.render.mask.stops import StopFinder, before_token
from tunesmith.render.mask.wire import Wire
from tunesmith.render.template import ChatTemplate


class Prover:
    """Proves turns of one template."""

    def __init__(
        self, template: ChatTemplate, wire: Wire, controls: re.Pattern[str], stop_names: Sequence[str]
    ) -> None:
        self.template = template
        self.controls = controls
        self.stops = StopFinder(template, wire, controls, stop_names)
        self.borders = Borders(template, controls)

    def turn(self, shape: Shape, index: int) -> Turn:
        """Prove one assistant message of a shape."""
        prompt, text = shape.text(index, True), shape.text(index + 1, False)
        stop, end = self.stops.find(shape, index, text)
        boundary = common_length(prompt, text)
        if boundary < len(prompt):
            boundary = self.borders.apart(shape, index, prompt, text, boundary)
        # Beyond the end stands a stop token that only the next message, or nobody, would write.
        completion = text[boundary:end] if end <= len(text) else text[boundary:] + stop
        completion = self.borders.with_thought(shape, index, prompt, completion)
        turn = Turn(index, prompt, completion, text, stop)
        self._check_sentinels(shape, turn, boundary)
        self._check_marks(shape, turn, boundary)
        self._check_nothing_lost(shape, turn)
        return turn

    # The readings must agree

    def _check_sentinels(self, shape: Shape, turn: Turn, boundary: int) -> None:
        own, earlier = shape.field_numbers(turn.index), shape.numbers_before(turn.index)
        in_prompt = {slot.number for slot in slots_of(turn.prompt)}
        in_completion = {slot.number for slot in slots_of(turn.completion)}
        misplaced = (in_prompt & own) | (in_completion & earlier)
        if own - in_completion and not misplaced:
            raise MaskError(
                "message_lost",
                f"the template {self.template.name} leaves out the text of message {turn.index + 1}"
                f"{' beside its tool calls' if shape.messages[turn.index].tool_calls else ''}, so it could not be "
                "learned; remove the text, or put it into a message of its own",
            )
        if not misplaced and (own or self._slotless_agrees(shape, turn, boundary)):
            return
        raise MaskError(
            "readings",
            f"two readings of the template {self.template.name} disagree about message {turn.index + 1}: by its "
            f"generation prompt the answer begins at character {boundary}, but the fields of the message stand "
            "elsewhere. The template cannot be used for this conversation; give another with --set "
            "render.template=FILE",
            (turn.prompt, turn.text),
        )

    def _slotless_agrees(self, shape: Shape, turn: Turn, boundary: int) -> bool:
        """A message without text of its own: with other calls, or with a text, in its place, the template's text
        first differs inside the completion."""
        message = shape.messages[turn.index]
        marked = tuple(replace(call, name=word(len(shape.fields)), arguments={}) for call in message.tool_calls)
        other = replace(message, tool_calls=marked) if marked else replace(message, content=word(len(shape.fields)))
        text = shape.continued(turn.index, other)
        if text is None:
            return True  # The template refuses a call it does not know; the call's own words are looked up below.
        ours, other_text = without_changes(turn.text), without_changes(text)
        shared = before_token(self.controls, ours, other_text, common_length(ours, other_text))
        is_bare = turn.completion == turn.stop  # an empty answer may be written in a way of its own
        return shared >= len(without_changes(turn.text[:boundary])) or (is_bare and not marked)

    def _check_marks(self, shape: Shape, turn: Turn, boundary: int) -> None:
        if not self.template.has_generation_marks:
            return
        spans = shape.marks(turn.index + 1)
        begin = spans[-1][0] if spans else -1
        if begin == _raw_length(turn.text[:boundary]):
            return
        raise MaskError(
            "readings",
            f"the {{% generation %}} marks of the template {self.template.name} begin at character {begin} for "
            f"message {turn.index + 1}, but its generation prompt ends at character {boundary}; move the mark to "
            "where the generation prompt ends",
            (turn.prompt, turn.text),
        )

    def _check_nothing_lost(self, shape: Shape, turn: Turn) -> None:
        """What the model is to see or write must be there: texts of others in the prompt, calls in the completion."""
        seen = {slot.number for slot in slots_of(turn.prompt)}
        for number, field in enumerate(shape.fields):
            message = shape.messages[field.message]
            if field.message < turn.index and message.role != "assistant" and number not in seen:
                raise MaskError(
                    "message_lost",
                    f"the template {self.template.name} leaves out message {field.message + 1}, of role "
                    f"{message.role!r}. Change the role, or remove the message",
                )
        written = turn.completion
        for number, call in enumerate(shape.messages[turn.index].tool_calls, 1):
            missing = next((each for each in leaves(call.name, call.arguments) if not is_written(each, written)), None)
            if missing is not None:
                raise MaskError(
                    "tool_call_lost",
                    f"the template {self.template.name} leaves {shown(missing)} of tool call {number} in message "
                    f"{turn.index + 1} out. "
                    + (
                        "It has no place for tool calls: write the call into the content, as the model's own "
                        "documentation shows"
                        if number == 1
                        else "It writes one call a message: put each into a message of its own"
                    ),
                )


def _raw_length(text: str) -> int:
    """The length of a slotted text with marker words in its slots, as the template wrote it."""
    return len(text) + text.count(SLOT) * (len(word(0)) - SLOT_LENGTH)
