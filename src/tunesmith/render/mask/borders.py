"""Where a completion begins in a text that does not begin with the generation prompt, and thoughts that prompts open.

Three habits of templates are followed, because the prompt is what inference sends and the answer is certain:

- the prompt ends with an empty thought (`<think></think>`) or a control token that the text of the answer leaves out;
- the prompt opens a thought (`<think>`) that the template strips from finished answers: the completion is the
  reasoning, the closing tag and the answer, since that is what the model must write behind such a prompt;
- the template writes what stands before the answer in another way once the answer is there (Mistral puts the system
  message into the last question): the same words lead to the answer in both texts.

Everything else is refused.
"""

import re

from tunesmith.errors import MaskError
from tunesmith.render.mask.sentinels import SLOT, Field, slot_text, slots_of, without_changes
from tunesmith.render.mask.shape import Shape, shown
from tunesmith.render.mask.stops import TAG, before_token
from tunesmith.render.template import ChatTemplate

_CLOSING_SPACE = "\n", "\n\n"
_LONGEST_NAME = 40  # of what an empty thought may hold, such as Gemma 4's "thought\n"


class Borders:
    """Finds where completions of one template begin."""

    def __init__(self, template: ChatTemplate, controls: re.Pattern[str]) -> None:
        self.template = template
        self.controls = controls

    def apart(self, shape: Shape, index: int, prompt: str, text: str, shared: int) -> int:
        """Where the completion begins in a text that does not begin with the prompt; see the module's docstring."""
        shared = before_token(self.controls, prompt, text, shared)
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
            f"with {shown(extra)}, the text with {shown(rest)}. Mend it with --set render.template_options (for "
            "example enable_thinking = true), or give a template with --set render.template=FILE",
            (prompt, text),
        )

    def _is_thought(self, tag: str) -> bool:
        """Whether a tag opens something that the template knows how to close."""
        return not tag.startswith(("</", "[/")) and _closing(tag) in self.template.source and _closing(tag) != tag

    def with_thought(self, shape: Shape, index: int, prompt: str, completion: str) -> str:
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


def is_all_before(shape: Shape, index: int, text: str) -> bool:
    """Whether a text holds every field that the prompt of message `index` does."""
    return {slot.number for slot in slots_of(text)} == {slot.number for slot in slots_of(shape.text(index, True))}


def _closing(tag: str) -> str:
    """The tag that closes another: </think>, [/THINK], <|END_THINKING|>."""
    if "START_" in tag:
        return tag.replace("START_", "END_")
    if tag.startswith("<|") and not tag.endswith("|>"):
        return f"<{tag[2:-1]}|>"
    return f"{tag[0]}/{tag[1:]}"


def _closes(opening: str, closing: str) -> bool:
    return closing == _closing(opening)
