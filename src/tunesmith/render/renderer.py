"""The renderer of any chat template: conversations to tokens, loss weights, parts and messages, in one call.

For each shape of conversation the template is proven once (see proof.py) and planned once (see layout.py). Each
conversation is then checked against the template's own text: the whole text, and the prompt of every trained turn.
Where a template branches on content, the check fails, and the conversation is read again on its own, or refused.
"""

import datetime
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tunesmith.errors import MaskError, RenderError
from tunesmith.files import canonical_json, fingerprint
from tunesmith.model.tokenizer import Tokenizer
from tunesmith.render import RenderConfig
from tunesmith.render.assembly import Assembler, Filled, Reading
from tunesmith.render.encoding import Encoder
from tunesmith.render.layout import RowPlan, Weights, group_turns, plan_row, plan_text
from tunesmith.render.proof import Prover, Shape, Turn
from tunesmith.render.sentinels import BREAK, SLOT, Field, align, fields_of, fill, filled, slots_of, word
from tunesmith.render.template import ChatTemplate
from tunesmith.render.tree import Strand, joined, side_by_side
from tunesmith.render.wire import (
    Wire,
    find_wire,
    function_schema,
    inline_reasoning,
    inline_tools,
    split_reasoning,
    with_ids,
)
from tunesmith.types import Conversation, Message, Part, Rendered, TokenArray

_VERSION = 1
_MAX_SHAPES = 4096


@dataclass(frozen=True, slots=True)
class Plan:
    """What a shape of conversation comes to: its fields, its rows, and the texts to check each conversation by."""

    shape: Shape
    fields: tuple[Field, ...]
    rows: tuple[RowPlan, ...]
    whole: str | None


class Asked(NamedTuple):
    """A conversation as it is put to the template."""

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...]


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
        self.prover = Prover(self.template, self.wire, self.encoder.pattern, tokenizer.stop_names)
        self._assembler = Assembler(self.encoder)
        self._plans: OrderedDict[Any, Plan | RenderError] = OrderedDict()
        self._openings = _first_characters(self.encoder.controls)
        self.bos_token = self._find_bos()

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever the tokens of some conversation could: also with the day, where the template prints it."""
        config = self.config.model_dump(mode="json", exclude={"max_tokens", "too_long", "refused", "date"})
        clock = str(_today(self.config)) if self.template.uses_clock else None
        return fingerprint([_VERSION, self.template.source, self.tokenizer.fingerprint, config, clock])

    @cached_property
    def stop_tokens(self) -> tuple[int, ...]:
        names = [*self.prover.stop_names]
        return tuple(self.encoder.controls[name] for name in names if name in self.encoder.controls)

    def render(self, conversation: Conversation) -> Rendered:
        result = self.render_many([conversation])[0]
        if isinstance(result, RenderError):
            raise result
        return result

    def render_many(self, conversations: Sequence[Conversation]) -> list[Rendered | RenderError]:
        read = [self._read(conversation) for conversation in conversations]
        made = iter(self._assembler.assemble([each for each in read if not isinstance(each, RenderError)]))
        results: list[Rendered | RenderError] = []
        for conversation, each in zip(conversations, read, strict=True):
            strands = each if isinstance(each, RenderError) else next(made)
            results.append(strands if isinstance(strands, RenderError) else self._rendered(conversation, strands))
        return results

    def prompt(self, messages: Sequence[Message], tools: Sequence[Any] = (), *, continue_last: bool = False) -> TokenArray:
        """The tokens before the next assistant message, or, with `continue_last`, before the rest of the last one."""
        asked = self._asked(messages, tools)
        text = self._continued_text(asked) if continue_last else self._text(asked, len(asked.messages), True)
        return np.fromiter(self._encode_text(self._with_bos(text)), np.int32)

    def completion_text(self, message: Message) -> str:
        asked = self._asked([Message("user", "Hello"), message], ())
        _, turn, values = self._proven_turn(asked, 1)
        text = fill(turn.completion, values)
        if text is None:
            raise RenderError(f"the template {self.name} rewrites this answer: {message.content[:80]!r}")
        return self.encoder.pattern.sub("", text).replace(BREAK, "")

    def text(self, tokens: Sequence[int], *, skip_control: bool = True) -> str:
        return self.tokenizer.decode(tokens, skip_control=skip_control)

    # A conversation is read: which shape, which plan, and does the template agree?

    def _read(self, conversation: Conversation) -> "Reading | RenderError":
        try:
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
        for messages in examples:
            rows += self._rows(messages, tools)
        return Reading(tuple(rows))

    def _rows(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> list[Filled]:
        """The rows of a conversation, checked against the template's text of it.

        A template may branch on texts: then all but the model's own are put to it as they are. And data may write
        reasoning as <think>...</think> into the content, which a template may or may not take apart.
        """
        error: RenderError | None = None
        for asked in self._spellings(messages, tools):
            for literal_roles in ((), ("system", "developer", "user", "tool")):
                try:
                    plan = self._plan(asked, literal_roles)
                    values = _values(asked.messages, plan.fields)
                    return [self._checked(asked, plan, row, values) for row in plan.rows]
                except RenderError as found:
                    error = error or found
                    if not (isinstance(found, MaskError) and found.name == "text"):
                        break
        assert error is not None
        raise error

    def _spellings(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> Iterator[Asked]:
        """The ways to put a conversation to the template, the likelier first."""
        yield self._asked(messages, tools, splits=self.wire.reasoning is not None)
        if self.config.reasoning == "template" and any(split_reasoning(each) is not each for each in messages):
            yield self._asked(messages, tools, splits=self.wire.reasoning is None)

    def _checked(self, asked: Asked, plan: Plan, row: RowPlan, values: Sequence[str]) -> Filled:
        """Refuse unless the template writes for this very conversation what its shape promised."""
        if plan.whole is not None:
            found = self._agree(plan.whole, self._text(asked, len(asked.messages), False), values)
            return Filled(row, values, found, asked.messages)
        found = {}
        for turn in row.turns:
            found |= self._agree(turn.prompt, self._text(asked, turn.index, True), values)
        last = row.turns[-1]
        found |= self._agree(last.text, self._text(asked, last.index + 1, False), values)
        self._keep_answers(found, plan, row, values)
        return Filled(row, values, found, asked.messages)

    def _agree(self, pieces: str, text: str, values: Sequence[str]) -> dict[int, str]:
        """Nothing where the template's text is the joined parts; where it changed a field in a way of its own, the
        fields' texts as they stand there, if they can be told apart with certainty."""
        joined_text = fill(pieces, values)
        if joined_text == text:
            return {}
        found = align(pieces, text)
        if found is None:
            raise MaskError(
                "text",
                f"the text of the template {self.name} for this conversation differs from its parts joined, so the "
                "template does something with the content that could not be followed",
                (joined_text or pieces, text),
            )
        return {slot.number: value for slot, value in zip(slots_of(pieces), found, strict=True)}

    def _keep_answers(self, found: Mapping[int, str], plan: Plan, row: RowPlan, values: Sequence[str]) -> None:
        """A template may trim an answer, but what it rewrites beyond that would be lost."""
        trained = {turn.index for turn in row.turns}
        for number, text in found.items():
            if plan.fields[number].message in trained and text.split() != values[number].split():
                raise MaskError(
                    "message_lost",
                    f"the template {self.name} rewrites the text of message {plan.fields[number].message + 1}, so it "
                    "could not be learned as it is",
                )

    def _plan(self, asked: Asked, literal_roles: Sequence[str]) -> Plan:
        key = (_shape_key(asked, literal_roles), tuple(literal_roles))
        known = self._plans.get(key)
        if known is None:
            try:
                known = self._make_plan(asked, literal_roles)
            except RenderError as error:
                known = error
            self._plans[key] = known
            if len(self._plans) > _MAX_SHAPES:
                self._plans.popitem(last=False)
        if isinstance(known, RenderError):
            raise known.with_traceback(None)
        return known

    def _make_plan(self, asked: Asked, literal_roles: Sequence[str]) -> Plan:
        fields = fields_of(asked.messages, literal_roles)
        shape = Shape(self.template, self.wire, asked.messages, asked.tools, fields)
        weights = _weights(asked.messages, self.config)
        given = (asked.messages, fields, weights, self.encoder.controls, self.encoder.pattern)
        if self.config.train_on == "all":
            whole = shape.text(len(asked.messages), False)
            return Plan(shape, tuple(fields), (plan_text(whole, *given),), whole)
        trained = [index for index, weight in weights.of_turn.items() if weight or _has_part_weights(asked, index)]
        if not trained and not weights.of_text:
            raise MaskError("nothing_trained", "no message is trained; add an answer, or leave the conversation out")
        if not trained:
            whole = shape.text(len(asked.messages), False)
            return Plan(shape, tuple(fields), (plan_text(whole, *given),), whole)
        turns = [self.prover.turn(shape, index) for index in trained]
        rows = [plan_row(group, *given) for group in group_turns(turns)]
        return Plan(shape, tuple(fields), tuple(rows), None)

    def _proven_turn(self, asked: Asked, index: int) -> tuple[Shape, Turn, list[str]]:
        fields = fields_of(asked.messages)
        shape = Shape(self.template, self.wire, asked.messages, asked.tools, fields)
        return shape, self.prover.turn(shape, index), _values(asked.messages, fields)

    # What the template is given

    def _asked(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], splits: bool | None = None
    ) -> Asked:
        """Messages and tools as they are put to the template; control tokens spelled out in them are broken up.

        `splits`: reasoning written into a content is taken apart from it.
        """
        splits = self.wire.reasoning is not None if splits is None else splits
        told = [self._with_reasoning_in_place(message, splits) for message in messages]
        schemas = [function_schema(tool) for tool in tools]
        if not self.wire.has_tools:
            uses_tools = bool(tools) or any(each.tool_calls or each.role == "tool" for each in told)
            told, schemas = (inline_tools(told, tools, self.wire.prints_results) if uses_tools else told), []
        elif any(each.tool_calls or each.role == "tool" for each in told):
            told = with_ids(told)
        return Asked(tuple(self._broken(each) for each in told), tuple(self._broken_value(each) for each in schemas))

    def _with_reasoning_in_place(self, message: Message, splits: bool) -> Message:
        if message.role != "assistant":
            return message
        if self.config.reasoning == "inline":
            return inline_reasoning(message)
        return split_reasoning(message) if splits else message

    def _broken(self, message: Message) -> Message:
        content, reasoning = self._broken_text(message.content), message.reasoning
        if reasoning:
            reasoning = self._broken_text(reasoning)
        if message.tool_calls:
            calls = tuple(
                replace(call, name=self._broken_text(call.name), arguments=self._broken_value(call.arguments))
                for call in message.tool_calls
            )
            return replace(message, content=content, reasoning=reasoning, tool_calls=calls)
        if content is message.content and reasoning is message.reasoning:
            return message
        return replace(message, content=content, reasoning=reasoning)

    def _broken_value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._broken_text(value)
        if isinstance(value, Mapping):
            return {self._broken_text(str(key)): self._broken_value(inner) for key, inner in value.items()}
        return [self._broken_value(inner) for inner in value] if isinstance(value, list | tuple) else value

    def _broken_text(self, text: str) -> str:
        if SLOT in text or BREAK in text:
            raise RenderError("a text holds the Unicode noncharacter U+FDD0 or U+FDD1; remove it")
        if self._openings.search(text) is None:
            return text
        # Whitespace around a text is left alone: where a model stops at "\n\n", its template must be able to trim it.
        core = text.strip()
        broken = self.encoder.pattern.sub(lambda found: f"{found[0][0]}{BREAK}{found[0][1:]}", core)
        return text if broken == core else text.replace(core, broken, 1)

    def _text(self, asked: Asked, count: int, generation: bool) -> str:
        wire = [self.wire.message(message) for message in asked.messages[:count]]
        return self.template.text(wire, asked.tools or None, add_generation_prompt=generation)

    def _continued_text(self, asked: Asked) -> str:
        """The text up to the end of the last message's content."""
        marked = filled(asked.messages, [Field(len(asked.messages) - 1, "content")])
        last = asked.messages[-1]
        text = self._text(Asked((*asked.messages[:-1], marked[-1]), asked.tools), len(asked.messages), False)
        before, found, _ = text.partition(word(0))
        if not found:
            raise RenderError(f"the template {self.name} leaves out the message that should be continued")
        return before + last.content

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
        for tools in (None, []):
            try:
                return self.template.text(hello, tools, add_generation_prompt=True)
            except RenderError:
                continue
        return ""

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

    def _rendered(self, conversation: Conversation, strands: Sequence[Strand]) -> Rendered | RenderError:
        strands = [_first_untrained(strand) for strand in strands]
        if self._adds_bos and conversation.text is None and self.bos_token is not None:
            strands = [_with_first(strand, self.bos_token) for strand in strands]
        if not any(strand.weights.any() for strand in strands):
            return _placed(MaskError("nothing_trained", "no token would be trained"), conversation)
        if len(strands) == 1 or self.config.layout == "split" or self.config.train_on == "response_only":
            return side_by_side(conversation.id, strands)
        return joined(conversation.id, strands)


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
    return datetime.date.fromisoformat(config.date) if config.date else datetime.date.today()


def _first_characters(names: Iterable[str]) -> re.Pattern[str]:
    """Finds where a control token might begin: two characters that one of them begins with."""
    return re.compile("|".join(sorted({re.escape(name[:2]) for name in names})) or r"(?!)")


def _shape_key(asked: Asked, literal_roles: Sequence[str]) -> Any:
    return tuple(_message_key(each, each.role in literal_roles) for each in asked.messages), (
        canonical_json(asked.tools) if asked.tools else ""
    )


def _message_key(message: Message, is_literal: bool) -> Any:
    content: Any = True if message.content.strip() and not is_literal else message.content
    thought: Any = True if message.reasoning and message.reasoning.strip() and not is_literal else message.reasoning
    if not (message.tool_calls or message.part_weights or message.tool_call_id or message.name) and message.train is None:
        return message.role, content, thought
    calls = canonical_json(message.tool_calls) if message.tool_calls else ""
    weights = tuple(weight for _, weight in message.part_weights)
    return message.role, content, thought, calls, message.tool_call_id, message.name, message.train, weights


def _values(messages: Sequence[Message], fields: Sequence[Field]) -> list[str]:
    return [
        (messages[field.message].reasoning or "") if field.kind == "reasoning" else messages[field.message].content
        for field in fields
    ]


def _examples(conversation: Conversation, train_on: str) -> list[Sequence[Message]]:
    """The message lists to render: one, or, for response_only, each answer behind an empty question.

    Response tuning trains p(response) without its instruction (Hewitt et al. 2024, "Instruction following without
    instruction tuning"): the same template with the user's text left empty.
    """
    messages = conversation.messages
    if train_on != "response_only":
        return [messages]
    answers = [each for each in messages if each.role == "assistant"]
    if not answers:
        raise MaskError("nothing_trained", "no assistant message, so nothing could be trained")
    return [(Message("user", ""), answer) for answer in answers]


def _weights(messages: Sequence[Message], config: RenderConfig) -> Weights:
    """What is trained, by train_on."""
    answers = [index for index, each in enumerate(messages) if each.role == "assistant"]
    if config.train_on == "all":
        return Weights({}, {}, config.train_reasoning, 1.0)
    if config.train_on == "per_message":
        turns = {index: 1.0 if messages[index].train is None else float(messages[index].train or 0) for index in answers}
        texts = {
            index: float(each.train or 0)
            for index, each in enumerate(messages)
            if each.role != "assistant" and (each.train or any(weight for _, weight in each.part_weights))
        }
        return Weights(turns, texts, config.train_reasoning)
    if config.train_on == "last_turn":
        last_question = max((index for index, each in enumerate(messages) if each.role == "user"), default=-1)
        answers = [index for index in answers if index > last_question]
    return Weights(dict.fromkeys(answers, 1.0), {}, config.train_reasoning)


def _has_part_weights(asked: Asked, index: int) -> bool:
    return any(weight for _, weight in asked.messages[index].part_weights)


def _check_flags(messages: Sequence[Message], train_on: str) -> None:
    flagged = next((n for n, each in enumerate(messages, 1) if each.train is not None or each.part_weights), None)
    if flagged is not None and train_on != "per_message":
        raise MaskError(
            "train_flags",
            f"message {flagged} says whether it is to be trained ('train' or 'weight'), but render.train_on = "
            f"{train_on!r} would not listen. Take --set render.train_on=per_message, or remove the flags",
        )


def _first_untrained(strand: Strand) -> Strand:
    """Nothing stands before the first token to predict it from."""
    if strand.weights.size and strand.weights[0]:
        strand.weights[0] = 0.0
    return strand


def _with_first(strand: Strand, token: int) -> Strand:
    first = (token, 0.0, Part.CONTROL, -1)
    return Strand(*(np.concatenate([np.array([value], each.dtype), each]) for value, each in zip(first, strand, strict=True)))


def _placed(error: RenderError, conversation: Conversation) -> RenderError:
    place = f"{conversation.source or 'conversation'} ({conversation.id})"
    if isinstance(error, MaskError):
        return MaskError(error.name, f"{place}: {error}", error.readings)
    return type(error)(f"{place}: {error}")
