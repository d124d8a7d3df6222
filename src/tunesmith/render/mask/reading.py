"""Conversations are read: their shape is proven and planned once, and each is checked against the template's text.

A template may branch on texts. Where its text of a conversation is not the joined parts that the shape promised, the
fields are looked up in it, if they can be told apart with certainty; else all texts but the model's own are taken as
they are, as part of the shape; else the conversation is refused.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.errors import MaskError, RenderError
from tunesmith.files import canonical_json
from tunesmith.render import RenderConfig
from tunesmith.render.mask.asking import Asked, Asker
from tunesmith.render.mask.assembly import Filled
from tunesmith.render.mask.encoding import Encoder
from tunesmith.render.mask.layout import Given, RowPlan, Weights, group_turns, plan_rows, plan_text
from tunesmith.render.mask.proof import Prover
from tunesmith.render.mask.sentinels import Field, align, fields_of, fill, slots_of
from tunesmith.render.mask.shape import Shape, Turn
from tunesmith.types import Message

_MAX_SHAPES = 1024
_OTHERS = ("system", "developer", "user", "tool")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a shape of conversation comes to: its fields, its rows, and the texts to check each conversation by."""

    fields: tuple[Field, ...]
    rows: tuple[RowPlan, ...]
    whole: str | None


class Reader:
    """Reads conversations by the rules of one config; remembers the plans of shapes."""

    def __init__(self, asker: Asker, prover: Prover, encoder: Encoder, config: RenderConfig) -> None:
        self.asker = asker
        self.prover = prover
        self.encoder = encoder
        self.config = config
        self.name = asker.template.name
        self._plans: OrderedDict[Any, Plan | RenderError] = OrderedDict()

    def rows(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> list[Filled]:
        """The rows of a conversation, checked against the template's text of it.

        A template may branch on texts: then all but the model's own are put to it as they are. And data may write
        reasoning as <think>...</think> into the content, which a template may or may not take apart.
        """
        error: RenderError | None = None
        for asked in self.asker.spellings(messages, tools):
            for literal_roles in ((), _OTHERS):
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

    def _checked(self, asked: Asked, plan: Plan, row: RowPlan, values: Sequence[str]) -> Filled:
        """Refuse unless the template writes for this very conversation what its shape promised."""
        if plan.whole is not None:
            found = self._agree(plan.whole, self.asker.text(asked, len(asked.messages), False), values)
            return Filled(row, values, found, asked.messages)
        last = row.turns[-1]
        found = self._agree(last.text, self.asker.text(asked, last.index + 1, False), values)
        for turn in row.turns:
            found |= self._agree(turn.prompt, self.asker.text(asked, turn.index, True), values)
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
        self._plans.move_to_end(key)
        if isinstance(known, RenderError):
            raise known.with_traceback(None)
        return known

    def _make_plan(self, asked: Asked, literal_roles: Sequence[str]) -> Plan:
        fields = fields_of(asked.messages, literal_roles)
        shape = Shape(self.asker.template, asked.wire, asked.messages, asked.tools, fields)
        weights = _weights(asked.messages, self.config)
        given = Given(asked.messages, fields, weights, self.encoder.controls, self.encoder.pattern)
        trained = [index for index, weight in weights.of_turn.items() if weight or _has_part_weights(asked, index)]
        if not (trained or weights.of_text or weights.elsewhere):
            raise MaskError("nothing_trained", "no message is trained; add an answer, or leave the conversation out")
        if not trained:
            whole = shape.text(len(asked.messages), False)
            self._check_all_there(shape, whole)
            return Plan(tuple(fields), (plan_text(whole, given),), whole)
        behind = [index for index in weights.of_text if index > trained[-1]]
        if behind:
            raise MaskError(
                "train_flags",
                f"message {behind[0] + 1} is to be trained, but it stands behind the last trained answer, where a row "
                "ends; train the answer behind it, too, or end the conversation before it",
            )
        turns = [self.prover.turn(shape, index) for index in trained]
        return Plan(tuple(fields), tuple(plan_rows(group_turns(turns), given)), None)

    def _check_all_there(self, shape: Shape, whole: str) -> None:
        """No text may be lost; reasoning of earlier answers is, by templates that rewrite history."""
        seen = {slot.number for slot in slots_of(whole)}
        for number, field in enumerate(shape.fields):
            if field.kind == "content" and number not in seen:
                raise MaskError(
                    "message_lost",
                    f"the template {self.name} leaves out message {field.message + 1}, of role "
                    f"{shape.messages[field.message].role!r}. Change the role, or remove the message",
                )

    def proven_turn(self, asked: Asked, index: int) -> tuple[Shape, Turn, list[str]]:
        fields = fields_of(asked.messages)
        shape = Shape(self.asker.template, asked.wire, asked.messages, asked.tools, fields)
        return shape, self.prover.turn(shape, index), _values(asked.messages, fields)


def _shape_key(asked: Asked, literal_roles: Sequence[str]) -> Any:
    messages = tuple([_message_key(each, each.role in literal_roles) for each in asked.messages])
    return messages, canonical_json(asked.tools) if asked.tools else "", asked.wire.reasoning


def _message_key(message: Message, is_literal: bool) -> Any:
    content: Any = True if message.content.strip() and not is_literal else message.content
    thought: Any = True if message.reasoning and message.reasoning.strip() and not is_literal else message.reasoning
    if (
        not (message.tool_calls or message.part_weights or message.tool_call_id or message.name)
        and message.train is None
    ):
        return message.role, content, thought
    calls = canonical_json(message.tool_calls) if message.tool_calls else ""
    weights = tuple(weight for _, weight in message.part_weights)
    return message.role, content, thought, calls, message.tool_call_id, message.name, message.train, weights


def _values(messages: Sequence[Message], fields: Sequence[Field]) -> list[str]:
    return [
        (messages[field.message].reasoning or "") if field.kind == "reasoning" else messages[field.message].content
        for field in fields
    ]


def _weights(messages: Sequence[Message], config: RenderConfig) -> Weights:
    """What is trained, by train_on."""
    answers = [index for index, each in enumerate(messages) if each.role == "assistant"]
    if config.train_on == "all":
        return Weights({}, {}, config.train_reasoning, 1.0)
    if config.train_on == "per_message":
        turns = {
            index: 1.0 if messages[index].train is None else float(messages[index].train or 0) for index in answers
        }
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
