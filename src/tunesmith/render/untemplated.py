"""The renderer of a model without a chat template: it goes on with plain texts, and takes no messages."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NoReturn

import numpy as np

from tunesmith.errors import RenderError
from tunesmith.files import fingerprint
from tunesmith.model.tokenizer import Tokenizer
from tunesmith.types import Conversation, Message, Rendered, TokenArray


def plain_tokens(tokenizer: Tokenizer, text: str) -> TokenArray:
    """The tokens of a text as a document begins: behind the token that the tokenizer sets first by itself, if any.

    Of an empty text it is the token that stands before a document: that one, or else the one that ends the document
    before.
    """
    usual = tokenizer.automatic_bos
    before = usual if usual is not None or text else tokenizer.end_of_text
    first = [] if before is None else [tokenizer.control_id(before)]
    return np.array([*first, *tokenizer.encode(text)], np.int32)


def document_stops(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The tokens that end a plain text: that which ends a document, and those that end any generation."""
    names = [name for name in (tokenizer.end_of_text, *tokenizer.stop_names) if name is not None]
    return tuple(dict.fromkeys(tokenizer.control_id(name) for name in names))


class UntemplatedRenderer:
    """Plain texts to tokens and back. Asked for messages, it says that there is no chat template."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.name = "no chat template"

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(["untemplated", 1, self.tokenizer.fingerprint])

    @property
    def stop_tokens(self) -> tuple[int, ...]:
        return self.document_stops

    @cached_property
    def document_stops(self) -> tuple[int, ...]:
        return document_stops(self.tokenizer)

    def render(self, conversation: Conversation) -> Rendered:
        self._refuse()

    def render_many(self, conversations: Sequence[Conversation]) -> list[Rendered | RenderError]:
        self._refuse()

    def prompt(self, messages: Sequence[Message], tools: Sequence[Any] = ()) -> TokenArray:
        self._refuse()

    def completion_text(self, message: Message) -> str:
        self._refuse()

    def plain(self, text: str) -> TokenArray:
        return plain_tokens(self.tokenizer, text)

    def continued(self, text: str) -> TokenArray:
        self._refuse()

    def text(self, tokens: Sequence[int], *, skip_control: bool = True) -> str:
        return self.tokenizer.decode(tokens, skip_control=skip_control)

    def _refuse(self) -> NoReturn:
        raise RenderError(
            "the model has no chat template, so it can be asked to go on with plain texts alone: items with 'text', or "
            "mmlu_text:FILE, arc_text:FILE, text:FILE. For messages give a template with --set render.template=FILE"
        )
