"""The ChatML family: `<|im_start|>role\\ncontent<|im_end|>\\n` for each message.

Tokens and loss weights come out of one loop over pieces, so they cannot drift apart. The renderer is proven
against the model's own chat template: on a set of probe conversations when it is made, and again on each
conversation that it renders; any difference is refused with both texts.

The trained part of an assistant message runs from the end of the generation prompt to and including the stop
token. Its text is encoded apart from what stands before, because inference sends the generation prompt as it is:
no merge may reach over that boundary.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tunesmith.errors import RenderError
from tunesmith.files import fingerprint
from tunesmith.model.tokenizer import Tokenizer
from tunesmith.render.template import apply_template
from tunesmith.types import Conversation, Message, Rendered, TokenArray

START, END = "<|im_start|>", "<|im_end|>"

_PROBES = (
    (("user", "Hi"),),
    (("system", "Be brief."), ("user", "Hi")),
    (("user", "Hi"), ("assistant", "Hello."), ("user", " 1 +\n1 ")),
    (
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello."),
        ("user", "Bye"),
        ("assistant", "Bye."),
    ),
)

_TOOL_INTRODUCTION = (
    "You may call these functions, each described by a JSON schema:\n<tools>\n{tools}\n</tools>\n"
    'To call one, answer with <tool_call>{{"name": "...", "arguments": {{...}}}}</tool_call>, one block a call.'
)


class Piece(NamedTuple):
    """A stretch of a conversation: one control token, or text; and the loss weight of each of its tokens."""

    text: str
    is_control: bool
    weight: float


class ChatML:
    """The renderer of ChatML templates, with or without a built-in system message."""

    name = "chatml"

    def __init__(self, tokenizer: Tokenizer, train_on: str = "assistant") -> None:
        self.tokenizer = tokenizer
        self.train_on = train_on
        self.template = tokenizer.chat_template or ""
        if not self.template:
            raise RenderError(
                "the model has no chat template, so it is a pretrained base, not a chat model; "
                "take its instruct variant, or put a chat_template.jinja into its folder"
            )
        self._ids = {token: tokenizer.control_id(token) for token in (START, END)} if START in self.template else {}
        self.default_system = self._find_default_system()
        for probe in _PROBES:
            self._prove([Message(role, content) for role, content in probe])  # type: ignore[arg-type]

    @property
    def fingerprint(self) -> str:
        return fingerprint([self.name, 1, self.tokenizer.fingerprint, self.train_on])

    @property
    def stop_tokens(self) -> tuple[int, ...]:
        return (self._ids[END],)

    def render(self, conversation: Conversation) -> Rendered:
        if conversation.text is not None:
            return self._render_document(conversation)
        messages = self._as_text(conversation.messages, conversation.tools)
        self._prove(messages, conversation)
        trained = self._trained_messages(conversation)
        tokens, weights = self._encode(self._pieces(messages, trained))
        # Whatever stands after the last trained token teaches nothing.
        end = int(np.flatnonzero(weights)[-1]) + 1
        return Rendered(conversation.id, tokens[:end], weights[:end])

    def prompt(self, messages: Sequence[Message], tools: Sequence[Any] = ()) -> TokenArray:
        pieces = [*self._pieces(self._as_text(messages, tools), set()), *_opening("assistant")]
        return self._encode(pieces)[0]

    def completion_text(self, message: Message) -> str:
        calls = [_call_text(call.name, call.arguments) for call in message.tool_calls]
        return "\n".join([part for part in (message.content, *calls) if part])

    def text(self, tokens: Sequence[int], *, skip_control: bool = True) -> str:
        return self.tokenizer.decode(tokens, skip_control=skip_control)

    # How messages become pieces, and pieces become tokens

    def _pieces(self, messages: Sequence[Message], trained: set[int]) -> Iterator[Piece]:
        """The pieces of messages; `trained` holds the indices of the messages whose text carries weight."""
        if self.default_system is not None and (not messages or messages[0].role != "system"):
            messages, trained = (
                [Message("system", self.default_system), *messages],
                {index + 1 for index in trained},
            )
        for index, message in enumerate(messages):
            weight = 1.0 if index in trained else 0.0
            if message.role == "assistant":
                yield from _opening("assistant")
                yield Piece(message.content, False, weight)
            else:
                yield Piece(START, True, 0.0)
                yield Piece(f"{message.role}\n{message.content}", False, weight)
            yield Piece(END, True, weight)
            yield Piece("\n", False, 0.0)

    def _encode(self, pieces: Sequence[Piece] | Iterator[Piece]) -> tuple[TokenArray, Any]:
        tokens: list[int] = []
        weights: list[float] = []
        for piece in pieces:
            ids = [self._ids[piece.text]] if piece.is_control else self.tokenizer.encode(piece.text)
            tokens += ids
            weights += [piece.weight] * len(ids)
        return np.array(tokens, np.int32), np.array(weights, np.float32)

    def _trained_messages(self, conversation: Conversation) -> set[int]:
        """Indices, in the conversation as rendered, of the messages that are trained."""
        shift = 1 if conversation.tools and conversation.messages[0].role != "system" else 0
        found = [index + shift for index, each in enumerate(conversation.messages) if each.role == "assistant"]
        if not found:
            raise RenderError(
                f"{_place(conversation)}: no assistant message, so nothing could be trained; "
                "add the answer, or leave the conversation out"
            )
        return set(found[-1:] if self.train_on == "last_turn" else found)

    def _as_text(self, messages: Sequence[Message], tools: Sequence[Any]) -> list[Message]:
        """Messages of plain text only: tool schemas go into the system message, tool calls into the content.

        For templates without a place of their own for tools, such as SmolLM2's: training and generation share this
        one form, which is Hermes' `<tool_call>` convention.
        """
        uses_tools = bool(tools) or any(each.tool_calls or each.role == "tool" for each in messages)
        if uses_tools and "tool" in self.template:
            raise RenderError(
                "this chat template has a form of its own for tools, which is not supported yet: training another form "
                "would teach the model something that its servers do not understand. Leave the tools out, or take "
                "a model whose template has no tools, such as smollm2-135m"
            )
        plain = [_as_plain_message(message, self.completion_text(message)) for message in messages]
        if not tools:
            return plain
        schemas = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
        introduction = _TOOL_INTRODUCTION.format(tools=schemas)
        if plain and plain[0].role == "system":
            return [replace(plain[0], content=f"{plain[0].content}\n\n{introduction}"), *plain[1:]]
        return [Message("system", introduction), *plain]

    def _render_document(self, conversation: Conversation) -> Rendered:
        ids = self.tokenizer.encode(conversation.text or "")
        end = self.tokenizer.end_of_text
        if not ids or end is None:
            raise RenderError(f"{_place(conversation)}: an empty document, or a tokenizer without an end token")
        tokens = np.array([*ids, self.tokenizer.control_id(end)], np.int32)
        weights = np.ones(tokens.size, np.float32)
        weights[0] = 0.0  # nothing stands before the first token to predict it from
        return Rendered(conversation.id, tokens, weights)

    # The proof

    def _find_default_system(self) -> str | None:
        """The system message that the template puts before conversations without one."""
        text = self._template_text([Message("user", "Hi")])
        before = text.split(f"{START}user\nHi{END}", 1)[0]
        if not before:
            return None
        opening, closing = f"{START}system\n", f"{END}\n"
        if before.startswith(opening) and before.endswith(closing) and before.count(START) == 1:
            return before.removeprefix(opening).removesuffix(closing)
        raise RenderError(
            f"this chat template is not of the ChatML family, the only one supported today; "
            f"it renders a user message 'Hi' as {text[:200]!r}"
        )

    def _prove(self, messages: Sequence[Message], conversation: Conversation | None = None) -> None:
        """Refuse unless our pieces, joined, are the template's own text, and the generation prompt extends it."""
        ours = "".join(piece.text for piece in self._pieces(messages, set()))
        theirs = self._template_text(messages)
        opening = "".join(piece.text for piece in _opening("assistant"))
        if ours == theirs and (conversation or self._template_text(messages, True) == theirs + opening):
            return
        place = f"{_place(conversation)}: " if conversation else ""
        at = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), len(ours))
        raise RenderError(
            f"{place}the chat template's text differs from what would be trained, at character {at}:\n"
            f"  template: ...{theirs[max(0, at - 40) : at + 60]!r}\n  trained:  ...{ours[max(0, at - 40) : at + 60]!r}"
        )

    def _template_text(self, messages: Sequence[Message], generation: bool = False) -> str:
        plain = [{"role": message.role, "content": message.content} for message in messages]
        return apply_template(self.template, plain, self.tokenizer.special, add_generation_prompt=generation)


def _opening(role: str) -> tuple[Piece, Piece]:
    """What stands before a message's text; for the assistant, this is the generation prompt."""
    return Piece(START, True, 0.0), Piece(f"{role}\n", False, 0.0)


def _call_text(name: str, arguments: Any) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': dict(arguments)}, ensure_ascii=False)}</tool_call>"


def _as_plain_message(message: Message, text: str) -> Message:
    if message.reasoning:
        raise RenderError("this chat template has no place for reasoning content; remove it or take another model")
    return Message(message.role, text)


def _place(conversation: Conversation) -> str:
    return f"{conversation.source or 'conversation'} ({conversation.id})"
