"""The proof of a mask: what a template makes of a shape of conversation, read in independent ways that must agree.

For an assistant message number k the model is given the prompt, the template's text of messages[:k] with the
generation prompt, and must produce the completion, which is what messages[:k+1] has beyond that prompt, up to and
including the stop token. Readings:

1. incremental: the completion begins where the prompt ends, and the prompt is a prefix of the text;
2. sentinels: every field of message k stands inside the completion, every earlier field that is still there before it;
3. `{% generation %}` marks, where the template has them: their span begins where the completion does.

The first two are always taken and must agree, and the third where there is one; otherwise MaskError shows both.
Two kinds of templates need care, because their text of an answer does not begin with their own generation prompt:

- the prompt ends with an empty thought, which the text of the answer leaves out: the prompt is what inference sends,
  so it is kept, and the completion follows it;
- the prompt opens a thought (`<think>`), which the template strips from finished answers: the completion is the
  reasoning, the closing tag and the answer, since that is what the model must write behind such a prompt.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from tunesmith.errors import MaskError, RenderError
from tunesmith.render.sentinels import (
    SLOT,
    SLOT_LENGTH,
    Field,
    Slot,
    common_length,
    fields_of,
    filled,
    slot_text,
    slots_of,
    slotted,
    without_changes,
    word,
)
from tunesmith.render.template import ChatTemplate
from tunesmith.render.wire import Wire
from tunesmith.types import Message

# An opening tag, a closing tag: <think>, [THINK], <|START_THINKING|>, <seed:think>; </think>, [/THINK], <|END_...|>.
TAG = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")
_CLOSING_SPACE = "\n", "\n\n"
_LONGEST_NAME = 40  # of what an empty thought may hold, such as Gemma 4's "thought\n"


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


class Prover:
    """Proves turns of one template; holds what is found out once for it."""

    def __init__(
        self, template: ChatTemplate, wire: Wire, controls: re.Pattern[str], stop_names: Sequence[str]
    ) -> None:
        self.template = template
        self.wire = wire
        self.controls = controls
        self.stop_names = tuple(stop_names)
        self._stops_late = False
        self.stop_names = self._plain_stop()

    def _plain_stop(self) -> tuple[str, ...]:
        """The stop names with the one that ends a plain answer in front; notes whether the template leaves it out at
        the end of a text."""
        messages = [Message("user", "Hello"), Message("assistant", "Yes.")]
        try:
            shape = Shape(self.template, self.wire, messages, (), fields_of(messages))
            text = shape.text(2, False)
            stop, end = self._stop(shape, 1, text)
            self._stops_late = end > len(text)
        except RenderError:
            return self.stop_names
        return tuple(dict.fromkeys([stop, *self.stop_names]))

    def turn(self, shape: Shape, index: int) -> Turn:
        """Prove one assistant message of a shape."""
        prompt, text = shape.text(index, True), shape.text(index + 1, False)
        stop, end = self._stop(shape, index, text)
        boundary = common_length(prompt, text)
        if boundary < len(prompt):
            boundary = self._apart(shape, index, prompt, text, boundary)
        # Beyond the end stands a stop token that only the next message, or nobody, would write.
        completion = text[boundary:end] if end <= len(text) else text[boundary:] + stop
        completion = self._with_thought(shape, index, prompt, completion)
        turn = Turn(index, prompt, completion, text, stop)
        self._check_sentinels(shape, turn, boundary)
        self._check_marks(shape, turn, boundary)
        self._check_nothing_lost(shape, turn)
        return turn

    # The stop token

    def _stop(self, shape: Shape, index: int, text: str) -> tuple[str, int]:
        """The stop token that ends message `index`, and where it ends in `text`; beyond its end, where the template
        writes it only when another message follows (GLM, Apertus)."""
        begin = self._end_of_fields(shape, index, text)
        tail = text[begin:]
        follow = shape.continued(index + 1, Message("user", "And then?"))
        follows = follow is not None and without_changes(follow[:begin]) == without_changes(text[:begin])
        after = follow[begin:] if follow is not None and follows else ""
        shared = tail[: common_length(tail, after)]
        found = list(self.controls.finditer(tail))
        within = [match for match in found if match.end() <= len(shared)]
        known = [match for match in (within or found) if match[0] in self.stop_names]
        chosen: re.Match[str] | None = None
        if known:
            chosen = known[0]
        elif self._stops_late or not (found or tail.strip()):
            opening = self.controls.match(after[len(shared) :].lstrip())
            if opening is not None and (opening[0] in self.stop_names or not self.stop_names):
                return opening[0], len(text) + 1
            if self.stop_names:
                return self.stop_names[0], len(text) + 1
        elif within:
            chosen = _last_of_first_run(within)
        elif found and not tail[found[-1].end() :].strip():
            chosen = found[-1]
        if chosen is not None:
            return chosen[0], begin + chosen.end()
        raise MaskError(
            "stop_token",
            f"the template {self.template.name} ends message {index + 1} with {_shown(tail)}, in which the tokenizer "
            "has no control token, so nothing could teach the model to stop. Accepted: a template that ends its "
            f"answers with a control token of the tokenizer (it names {', '.join(self.stop_names) or 'none'} as "
            "ends). Take the model's own tokenizer with this template, or add the token to the tokenizer",
        )

    def _end_of_fields(self, shape: Shape, index: int, text: str) -> int:
        """Where the last field of a message ends in a text, or, for one without fields, where its own text begins."""
        own = shape.field_numbers(index)
        end = max((slot.end for slot in slots_of(text) if slot.number in own), default=0)
        prompt = shape.text(index, True)
        end = max(end, self._before_control(prompt, text, common_length(prompt, text)))
        for call in shape.messages[index].tool_calls[-1:]:
            places = [text.rfind(form) + len(form) for leaf in _leaves(call.name, call.arguments) for form in forms(leaf)]
            end = max(end, *places)
        return end

    # Texts of an answer that do not begin with the generation prompt

    def _apart(self, shape: Shape, index: int, prompt: str, text: str, shared: int) -> int:
        """Where the completion begins in a text that does not begin with the prompt; see the module's docstring."""
        shared = self._before_control(prompt, text, shared)
        extra, rest = prompt[shared:], text[shared:]
        message = shape.messages[index]
        if without_changes(prompt).startswith(without_changes(text)):
            raise MaskError(
                "message_lost",
                f"the template {self.template.name} writes nothing for message {index + 1}, so it could not be "
                "learned; remove it, or give it a content",
            )
        is_empty = not (shape.field_numbers(index) or message.tool_calls) and SLOT not in extra
        if is_empty and self.controls.fullmatch(rest.strip()):
            return shared  # an empty answer is the stop token alone, right behind the prompt
        if is_all_before(shape, index, prompt[:shared]):
            tags = TAG.findall(extra)
            words = TAG.sub("", extra)
            is_thought = len(tags) == 2 and _closes(*tags) and SLOT not in words and len(words) < _LONGEST_NAME
            is_open = len(tags) == 1 and self._is_thought(tags[0]) and not words.strip()
            is_header = len(tags) >= 1 and not words.strip() and rest.startswith(SLOT)
            if is_thought or is_open or is_header:
                return shared + (len(rest) - len(rest.lstrip("\n")) if extra.endswith("\n\n") else 0)
        return self._behind_header(shape, index, prompt, text, extra, rest)

    def _behind_header(self, shape: Shape, index: int, prompt: str, text: str, extra: str, rest: str) -> int:
        """A template that rewrites what stands before the answer: the same words lead from the last field before it
        to the completion in both texts."""
        before = slots_of(prompt)
        behind = next((slot.end for slot in slots_of(text) if before and slot.number == before[-1].number), None)
        own = [slot.start for slot in slots_of(text) if slot.number in shape.field_numbers(index)]
        if behind is not None:
            header = prompt[before[-1].end :]
            between = text[behind : own[0] if own else len(text)]
            for start in (0, *(match.start() for match in self.controls.finditer(header))):
                if header[start:] and between.count(header[start:]) == 1:
                    return behind + between.index(header[start:]) + len(header) - start
        raise MaskError(
            "generation_prompt",
            f"the text that the template {self.template.name} gives message {index + 1} does not begin with its own "
            f"generation prompt, so at inference the model would stand where it was never trained. The prompt goes on "
            f"with {_shown(extra)}, the text with {_shown(rest)}. Mend it with --set render.template_options (for "
            "example enable_thinking = true), or give a template with --set render.template=FILE",
            (prompt, text),
        )

    def _before_control(self, prompt: str, text: str, boundary: int) -> int:
        """`boundary` moved back out of a control token or tag that the two texts share only in part."""
        for pattern in (self.controls, TAG):
            for match in (*pattern.finditer(prompt), *pattern.finditer(text)):
                if match.start() < boundary < match.end():
                    boundary = match.start()
        return boundary

    def _is_thought(self, tag: str) -> bool:
        """Whether a tag opens something that the template knows how to close."""
        return not tag.startswith(("</", "[/")) and _closing(tag) in self.template.source and _closing(tag) != tag

    def _with_thought(self, shape: Shape, index: int, prompt: str, completion: str) -> str:
        """Close the thought that the prompt has opened, with the reasoning in it, where the template does not."""
        tags = TAG.findall(prompt)
        opened = bool(tags) and prompt.rstrip().endswith(tags[-1]) and self._is_thought(tags[-1])
        number = next((n for n, field in enumerate(shape.fields) if field == Field(index, "reasoning")), None)
        is_there = number is None or any(slot.number == number for slot in slots_of(completion))
        thought = "" if is_there else slot_text(number or 0)
        if opened and _closing(tags[-1]) not in completion:
            before, after = _CLOSING_SPACE
            return f"{thought}{before}{_closing(tags[-1])}{after}{completion}"
        if is_there or (opened and completion.lstrip().startswith(_closing(tags[-1]))):
            return thought + completion
        raise MaskError(
            "reasoning_lost",
            f"the template {self.template.name} leaves the reasoning of message {index + 1} out, so it could not be "
            "learned. Write it into the content with --set render.reasoning=inline, open a thought in the prompt "
            "(--set render.template_options.enable_thinking=true, where the template knows it), or remove it",
        )

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
            return True  # the template looks into its calls; the other reading stands alone only here
        shared = self._before_control(turn.text, text, common_length(without_changes(turn.text), without_changes(text)))
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
            missing = next((each for each in _leaves(call.name, call.arguments) if not _is_in(each, written)), None)
            if missing is not None:
                raise MaskError(
                    "tool_call_lost",
                    f"the template {self.template.name} leaves {_shown(missing)} of tool call {number} in message "
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


def is_all_before(shape: Shape, index: int, text: str) -> bool:
    """Whether a text holds every field that the prompt of message `index` does."""
    return {slot.number for slot in slots_of(text)} == {slot.number for slot in slots_of(shape.text(index, True))}


def _last_of_first_run(found: Sequence[re.Match[str]]) -> re.Match[str]:
    """The last of the control tokens that follow each other without a gap, from the first."""
    last = found[0]
    for match in found[1:]:
        if match.start() != last.end():
            break
        last = match
    return last


def _closing(tag: str) -> str:
    """The tag that closes another: </think>, [/THINK], <|END_THINKING|>."""
    if "START_" in tag:
        return tag.replace("START_", "END_")
    if tag.startswith("<|") and not tag.endswith("|>"):
        return f"<{tag[2:-1]}|>"
    return f"{tag[0]}/{tag[1:]}"


def _closes(opening: str, closing: str) -> bool:
    return closing == _closing(opening)


def _leaves(*values: Any) -> list[str]:
    """All texts inside a value, keys included."""
    found: list[str] = []
    for value in values:
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, Mapping):
            found += _leaves(*value.keys(), *value.values())
        elif isinstance(value, list | tuple):
            found += _leaves(*value)
    return found


def forms(text: str) -> tuple[str, ...]:
    """How a template may write a text."""
    return (text, text.strip(), json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1])


def _is_in(text: str, written: str) -> bool:
    return any(form in written for form in forms(text))


def _shown(text: str, size: int = 80) -> str:
    text = re.sub(f"{SLOT}..", "…", text, flags=re.DOTALL)
    return repr(text if len(text) <= size else f"{text[:size]}...")


__all__ = ["MaskError", "Prover", "Shape", "Slot", "Turn"]
