"""Checks of the messages: which become conversations, their order, their answers, their reasoning."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

from tunesmith.render.lint import Check, Kind, excerpt, reason_of
from tunesmith.render.lint.results import Level
from tunesmith.render.lint.tools import is_encoded_twice
from tunesmith.render.show.views import View
from tunesmith.types import Conversation, Dropped, Message

INLINE = "<think>"


def answers(conversation: Conversation) -> Iterator[tuple[int, Message]]:
    """The assistant's messages with their numbers, from 1 on."""
    return (pair for pair in enumerate(conversation.messages, 1) if pair[1].role == "assistant")


class Records(Check):
    """Records that cannot become conversations, whatever the model."""

    name = "records"
    fine = "all can be read"
    noun = "records"
    elsewhere = ("no assistant message", "empty document", "empty assistant message", "tool result without call")
    """Reasons that other checks report."""

    def see(self, view: View) -> None:
        self.total += 1

    def see_dropped(self, dropped: Dropped) -> None:
        self.total += 1
        if dropped.reason not in self.elsewhere and not is_encoded_twice(dropped):
            self.found(dropped.reason, dropped.source, dropped.id, reason_of(dropped))

    def known(self) -> Mapping[str, Kind]:
        remedy = "Mend them, or leave them out with --set data.on_error=skip."
        return {reason: Kind(self.setting.level_of_drop, f"× {reason}", remedy) for reason in self.counts}


class EmptyAnswers(Check):
    """Answers of nothing, or of white space: the model would learn to say nothing."""

    name = "empty_answers"
    fine = "no answer is empty"
    kinds: ClassVar[Mapping[str, Kind]] = {
        "dropped": Kind("error", "with an empty answer", "Fill these answers in, or leave the records out."),
        "blank": Kind("warning", "with nothing behind the reasoning", "Fill these answers in, or leave them out."),
    }

    def known(self) -> Mapping[str, Kind]:
        return {**self.kinds, "dropped": self.kinds["dropped"]._replace(level=self.setting.level_of_drop)}

    def see(self, view: View) -> None:
        self.total += 1
        for number, message in answers(view.conversation):
            said = message.content.rpartition("</think>")[2]
            if not said.strip() and not message.tool_calls:
                self.found_in("blank", view, f"message {number}: {excerpt(message.content)}")
                return

    def see_dropped(self, dropped: Dropped) -> None:
        if dropped.reason == "empty assistant message":
            self.total += 1
            self.found("dropped", dropped.source, dropped.id, reason_of(dropped))


class Roles(Check):
    """Messages in an order that conversations do not have."""

    name = "roles"
    fine = "all in order"
    kinds: ClassVar[Mapping[str, Kind]] = {
        "tool": Kind("error", "with a tool result that answers no call", "Add the call, or remove the result."),
        "first": Kind("warning", "that begin with the assistant", "Add the question, or check the roles' names."),
        "users": Kind("warning", "with two user messages in a row", "Join them, or add the answer between them."),
        "answers": Kind("warning", "with two assistant messages in a row", "Join them, or check the roles' names."),
        "system": Kind("warning", "with a system message that is not the first", "Move it to the beginning."),
        "end": Kind("warning", "that do not end with the assistant", "Cut them behind the last answer, or add one."),
    }

    def known(self) -> Mapping[str, Kind]:
        return {**self.kinds, "tool": self.kinds["tool"]._replace(level=self.setting.level_of_drop)}

    def see(self, view: View) -> None:
        if view.conversation.text is not None:
            return
        self.total += 1
        roles = [message.role for message in view.conversation.messages]
        for kind in _disorders(roles):
            self.found_in(kind, view, ", ".join(roles[:8]) + (", ..." if len(roles) > 8 else ""))

    def see_dropped(self, dropped: Dropped) -> None:
        if dropped.reason == "tool result without call":
            self.total += 1
            self.found("tool", dropped.source, dropped.id, reason_of(dropped))


def _disorders(roles: Sequence[str]) -> Iterator[str]:
    leading = next((place for place, role in enumerate(roles) if role not in ("system", "developer")), len(roles))
    spoken = roles[leading:]
    pairs = set(pairwise(roles))
    if spoken[:1] == ["assistant"]:
        yield "first"
    if ("user", "user") in pairs:
        yield "users"
    if ("assistant", "assistant") in pairs:
        yield "answers"
    if "system" in spoken:
        yield "system"
    if spoken and spoken[-1] != "assistant":
        yield "end"


class Reasoning(Check):
    """Reasoning in a field of its own, inline between <think> tags, or none: a mixture teaches no habit."""

    name = "reasoning"
    fine = "one style"
    whats: ClassVar[Mapping[str, str]] = {
        "field": "with a reasoning field",
        "inline": f"with {INLINE} in the answer",
        "none": "without reasoning",
    }
    mixed = "Write all reasoning one way, best in the field `reasoning_content`."
    partial = "Where that is not meant, train them apart, or let the prompt say whether to reason."

    def see(self, view: View) -> None:
        if view.conversation.text is not None:
            return
        self.total += 1
        found = [message for _, message in answers(view.conversation)]
        thoughts = next((message.reasoning for message in found if message.reasoning), None)
        inline = next((message.content for message in found if INLINE in message.content), None)
        if thoughts is not None:
            self.found_in("field", view, f"reasoning_content {excerpt(thoughts)}")
        if inline is not None:
            self.found_in("inline", view, excerpt(inline))
        if thoughts is None and inline is None:
            self.found_in("none", view, excerpt(found[-1].content) if found else "no answer")

    def known(self) -> Mapping[str, Kind]:
        styles = bool(self.counts["field"]) + bool(self.counts["inline"])
        level: Level = "warning" if styles == 2 else "note" if styles and self.counts["none"] else "ok"
        remedy = self.mixed if styles == 2 else self.partial
        return {key: Kind(level, what, remedy) for key, what in self.whats.items()}


class Spaces(Check):
    """White space at the borders of answers: here and there, it is noise that the model must guess."""

    name = "spaces"
    fine = "none begins or ends with white space"
    noun = "answers"
    whats: ClassVar[Mapping[str, str]] = {"before": "begin with white space", "after": "end with white space"}
    remedy = "Strip all answers, unless a file format needs it."

    def see(self, view: View) -> None:
        for number, message in answers(view.conversation):
            if not message.content.strip():
                continue
            self.total += 1
            if message.content[0].isspace():
                self.found_in("before", view, f"message {number}: {excerpt(message.content)}")
            if message.content[-1].isspace():
                self.found_in("after", view, f"message {number}: ...{excerpt(message.content[-40:])}")

    def known(self) -> Mapping[str, Kind]:
        return {
            key: Kind("note" if self.counts[key] == self.total else "warning", what, self.remedy)
            for key, what in self.whats.items()
        }
