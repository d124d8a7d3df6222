"""The renderer of any chat template: conversations to tokens, loss weights, parts and messages, in one call.

For each shape of conversation the template is proven once (see proof.py) and planned once (see layout.py). Each
conversation is then checked against the template's own text: the whole text, and the prompt of every trained turn.
Where a template branches on content, the check fails, and the conversation is read again on its own, or refused.
"""

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.errors import MaskError, RenderError
from tunesmith.files import fingerprint
from tunesmith.model.tokenizer import Tokenizer
from tunesmith.render import RenderConfig
from tunesmith.render.mask.asking import Asker
from tunesmith.render.mask.assembly import Assembler, Filled, Reading
from tunesmith.render.mask.encoding import Encoder
from tunesmith.render.mask.pair import check_pair, paired
from tunesmith.render.mask.proof import Prover
from tunesmith.render.mask.reading import Reader
from tunesmith.render.mask.sentinels import BREAK, fill
from tunesmith.render.mask.tree import Strand, joined, side_by_side
from tunesmith.render.mask.wire import asked, find_wire
from tunesmith.render.template import ChatTemplate
from tunesmith.render.untemplated import document_stops, plain_tokens
from tunesmith.types import Conversation, Message, Rendered, TokenArray

# Raise it when the tokens, weights or labels of some conversation change: rendered shards are then made anew.
_VERSION = 2


class TemplateRenderer:
    """Renders with a model's tokenizer and any chat template; raises RenderError where no mask can be proven."""

    def __init__(self, tokenizer: Tokenizer, config: RenderConfig) -> None:
        self.tokenizer = tokenizer
        self.config = config
        self.folder = tokenizer.folder
        source, self.name = _template_source(tokenizer, config)
        special = {**{"bos_token": "", "eos_token": ""}, **tokenizer.special}
        self.template = ChatTemplate(
            source, name=self.name, special=special, options=config.template_options, today=_today(config)
        )
        self.encoder = Encoder(tokenizer, source)
        self.wire = find_wire(self.template)
        if config.reasoning == "inline":
            self.wire = replace(self.wire, reasoning="inline")
        self.prover = Prover(self.template, self.wire, self.encoder.pattern, tokenizer.stop_names)
        self._assembler = Assembler(self.encoder)
        self.asker = Asker(self.template, self.wire, self.encoder)
        self.reader = Reader(self.asker, self.prover, self.encoder, config)
        self.bos_token = self._find_bos()

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever the tokens of some conversation could: also with the day, where the template prints it."""
        config = self.config.model_dump(mode="json", exclude={"max_tokens", "too_long", "refused", "date"})
        clock = str(_today(self.config)) if self.template.uses_clock else None
        return fingerprint([_VERSION, self.template.source, self.tokenizer.fingerprint, config, clock])

    @cached_property
    def stop_tokens(self) -> tuple[int, ...]:
        names = [*self.prover.stops.names]
        return tuple(self.encoder.controls[name] for name in names if name in self.encoder.controls)

    def render(self, conversation: Conversation) -> Rendered:
        result = self.render_many([conversation])[0]
        if isinstance(result, RenderError):
            raise result
        return result

    def render_many(self, conversations: Sequence[Conversation]) -> list[Rendered | RenderError]:
        read = [self._read(side) for conversation in conversations for side in _sides(conversation)]
        made = iter(self._assembler.assemble([each for each in read if not isinstance(each, RenderError)]))
        strands = (each if isinstance(each, RenderError) else next(made) for each in read)
        return [self._result(each, [next(strands) for _ in _sides(each)]) for each in conversations]

    def prompt(
        self, messages: Sequence[Message], tools: Sequence[Any] = (), *, continue_last: bool = False
    ) -> TokenArray:
        """The tokens before the next assistant message, or, with `continue_last`, before the rest of the last one."""
        asked = self.asker.for_prompt(messages, tools)
        text = self.asker.continued_text(asked) if continue_last else self.asker.text(asked, len(asked.messages), True)
        return np.fromiter(self._encode_text(self._with_bos(text)), np.int32)

    def plain(self, text: str) -> TokenArray:
        return plain_tokens(self.tokenizer, text)

    @cached_property
    def document_stops(self) -> tuple[int, ...]:
        return document_stops(self.tokenizer)

    def continued(self, text: str) -> TokenArray:
        return np.array(self.encoder.encode_bare(text).ids, np.int32)

    def completion_text(self, message: Message) -> str:
        asked = self.asker.for_prompt([Message("user", "Hello"), message], ())
        _, turn, values = self.reader.proven_turn(asked, 1)
        text = fill(turn.completion, values)
        if text is None:
            raise RenderError(f"the template {self.name} rewrites this answer: {message.content[:80]!r}")
        return self.encoder.pattern.sub("", text).replace(BREAK, "")

    def text(self, tokens: Sequence[int], *, skip_control: bool = True) -> str:
        return self.tokenizer.decode(tokens, skip_control=skip_control)

    # A conversation is read: which shape, which plan, and does the template agree?

    def _read(self, conversation: Conversation) -> "Reading | RenderError":
        try:
            if conversation.rejected:
                check_pair(self.config.train_on)
            if conversation.text is not None:
                return self._document(conversation)
            return self._conversation(conversation)
        except RenderError as error:
            return _placed(error, conversation)

    def _document(self, conversation: Conversation) -> Reading:
        end = self.tokenizer.end_of_text
        if not conversation.text or end is None:
            raise RenderError("an empty document, or a tokenizer without an end token")
        return Reading(text=conversation.text, first=self._document_bos, last=self.encoder.control_id(end))

    def _conversation(self, conversation: Conversation) -> Reading:
        _check_flags(conversation.messages, self.config.train_on)
        examples = _examples(conversation, self.config.train_on)
        rows: list[Filled] = []
        tools = () if self.config.train_on == "response_only" else conversation.tools
        for messages, origins in examples:
            for row in self.reader.rows(messages, tools):
                num_ours = len(row.messages) - len(messages)  # a system message that introduces tools
                numbers = [-1] * num_ours + (origins or list(range(len(messages))))
                rows.append(row._replace(origins=numbers) if num_ours or origins else row)
        return Reading(tuple(rows))

    # The first token

    def _find_bos(self) -> int | None:
        """The id of the token that begins every sequence; raises MaskError where it is missing or doubled."""
        usual = self.tokenizer.automatic_bos
        named = self.tokenizer.special.get("bos_token")
        self._adds_bos = False
        self._document_bos = self.encoder.controls.get(usual) if usual is not None else None
        text = self._greeting()
        for name in {usual, named} - {None, ""}:
            assert name is not None
            if text.startswith(name + name):
                raise MaskError(
                    "double_bos",
                    f"the template {self.name} writes the beginning-of-sequence token {name!r} twice. Remove one from "
                    "the template and give it with --set render.template=FILE",
                )
        if usual is not None and not text.startswith(usual) and self.config.bos != "template":
            if self.config.bos == "check":
                raise MaskError(
                    "missing_bos",
                    f"the tokenizer begins every text with {usual!r}, but the template {self.name} does not write it. "
                    "Accepted: --set render.bos=add (and let your server add it, too), or render.bos=template to do "
                    "as the template does",
                )
            self._adds_bos = True
        begins = usual if usual is not None else named if named and text.startswith(named) else None
        return None if begins is None else self.encoder.controls.get(begins)

    def _greeting(self) -> str:
        """The template's text of a first question, by which its first token is known."""
        hello = [{"role": "user", "content": "Hello"}]
        try:
            return self.template.text(hello, add_generation_prompt=True)
        except RenderError:  # Hermes' template of tools takes no conversation without
            return asked(lambda: self.template.text(hello, [], add_generation_prompt=True)) or ""

    def _with_bos(self, text: str) -> str:
        return f"{self.tokenizer.automatic_bos}{text}" if self._adds_bos else text

    def _encode_text(self, text: str) -> Iterator[int]:
        """Tokens of a template's text; broken control tokens are text."""
        at, is_first = 0, True
        for match in self.encoder.pattern.finditer(text):
            if match.start() > at:
                yield from self.encoder.section(text[at : match.start()].replace(BREAK, ""), is_first)
            yield self.encoder.control_id(match[0])
            at, is_first = match.end(), False
        if at < len(text):
            yield from self.encoder.section(text[at:].replace(BREAK, ""), is_first)

    def _result(
        self, conversation: Conversation, sides: Sequence[Sequence[Strand] | RenderError]
    ) -> Rendered | RenderError:
        """The conversation from the strands of its side, or of both where it is a pair."""
        made: list[list[Strand]] = []
        for strands in sides:
            if isinstance(strands, RenderError):
                return strands
            made.append(self._finished(conversation, strands))
        try:
            if conversation.rejected:
                return paired(conversation, *made, is_tree=self.config.layout == "shared_prefix")
            return self._rendered(conversation, made[0])
        except RenderError as error:
            return _placed(error, conversation)

    def _finished(self, conversation: Conversation, strands: Sequence[Strand]) -> list[Strand]:
        """With the first token that every sequence has, which is never trained."""
        strands = [_first_untrained(strand) for strand in strands]
        if self._adds_bos and conversation.text is None and self.bos_token is not None:
            return [strand.after(self.bos_token) for strand in strands]
        return strands

    def _rendered(self, conversation: Conversation, strands: Sequence[Strand]) -> Rendered:
        if not any(strand.weights.any() for strand in strands):
            raise MaskError("nothing_trained", "no token would be trained")
        if len(strands) == 1 or self.config.layout == "split" or self.config.train_on == "response_only":
            return side_by_side(conversation.id, strands)
        return joined(conversation.id, strands)


def _sides(conversation: Conversation) -> tuple[Conversation, ...]:
    """The conversation, and, where it is a pair, the one with the rejected messages."""
    return (conversation, replace(conversation, messages=conversation.rejected))[: 1 + bool(conversation.rejected)]


def _template_source(tokenizer: Tokenizer, config: RenderConfig) -> tuple[str, str]:
    if config.template is not None:
        path = Path(config.template)
        try:
            return path.read_text(encoding="utf-8"), path.name
        except OSError as error:
            raise RenderError(f"render.template: {path} cannot be read ({error.strerror})") from None
    if not tokenizer.chat_template:
        raise RenderError(
            "the model has no chat template, so it is a pretrained base, not a chat model; "
            "take its instruct variant, or give one with --set render.template=FILE"
        )
    return tokenizer.chat_template, f"of {tokenizer.folder.name}" if tokenizer.folder else "of the tokenizer"


def _today(config: RenderConfig) -> datetime.date:
    return config.date or datetime.date.today()


def _examples(conversation: Conversation, train_on: str) -> list[tuple[Sequence[Message], list[int] | None]]:
    """The message lists to render: one, or, for response_only, each answer behind an empty question, with the numbers
    of its messages in the data.

    Response tuning trains p(response) without its instruction (Hewitt et al. 2024, "Instruction following without
    instruction tuning"): the same template with the user's text left empty.
    """
    messages = conversation.messages
    if train_on != "response_only":
        return [(messages, None)]
    answers = [number for number, each in enumerate(messages) if each.role == "assistant"]
    if not answers:
        raise MaskError("nothing_trained", "no assistant message, so nothing could be trained")
    return [((Message("user", ""), messages[number]), [-1, number]) for number in answers]


def _check_flags(messages: Sequence[Message], train_on: str) -> None:
    if train_on == "per_message":
        return
    flagged = next((n for n, each in enumerate(messages, 1) if not _says_what_happens(each, train_on)), None)
    if flagged is not None:
        raise MaskError(
            "train_flags",
            f"message {flagged} says whether it is to be trained ('train' or 'weight'), but render.train_on = "
            f"{train_on!r} would not listen. Take --set render.train_on=per_message, or remove the flags",
        )


def _says_what_happens(message: Message, train_on: str) -> bool:
    """Whether a message's flag is none, or one that asks for what is done anyway, such as OpenAI's weight of 1."""
    if message.part_weights:
        return False
    usual = {"assistant": 1.0}.get(message.role, 0.0)
    return message.train is None or (train_on == "assistant" and message.train == usual)


def _first_untrained(strand: Strand) -> Strand:
    """Nothing stands before the first token to predict it from."""
    if strand.weights.size and strand.weights[0]:
        strand.weights[0] = 0.0
    return strand


def _placed(error: RenderError, conversation: Conversation) -> RenderError:
    place = f"{conversation.source or 'conversation'} ({conversation.id})"
    if isinstance(error, MaskError):
        return MaskError(error.name, f"{place}: {error}", error.readings)
    return type(error)(f"{place}: {error}")
