import datetime
import math

import pytest

from tunesmith.data.checks import problem_of
from tunesmith.types import Conversation, Message, ToolCall

USER, ANSWER = Message("user", "q"), Message("assistant", "a")
CALL = Message("assistant", tool_calls=(ToolCall("f", {}, "c1"),))
CALL_WITHOUT_ID = Message("assistant", tool_calls=(ToolCall("f", {}),))


@pytest.mark.parametrize(
    "messages",
    [
        (USER, ANSWER),
        (USER, USER, ANSWER),
        (ANSWER,),
        (Message("user"), ANSWER),
        (USER, CALL),
        (USER, CALL, Message("tool", "1", tool_call_id="c1"), ANSWER),
        (USER, CALL, Message("tool", "1"), ANSWER),
        (USER, CALL_WITHOUT_ID, Message("tool", "1", tool_call_id="c9"), ANSWER),
        (USER, ANSWER, USER),
    ],
)
def test_conversations_that_can_be_trained_on(messages):
    assert problem_of(Conversation("x", messages)) is None


@pytest.mark.parametrize(
    ("messages", "reason", "part"),
    [
        ((USER, Message("system", "s")), "no assistant message", "the roles are: user, system"),
        ((USER, Message("assistant", " \n")), "empty assistant message", "message 2"),
        ((USER, Message("assistant", "", "thinking")), "empty assistant message", "message 2"),
        ((USER, Message("tool", "1"), ANSWER), "tool result without call", "message 2: a tool message"),
        ((USER, Message("tool", "1"), CALL), "tool result without call", "no tool call before it"),
        (
            (USER, CALL, Message("tool", "1", tool_call_id="c2"), ANSWER),
            "tool result without call",
            "tool_call_id 'c2' is not among the calls: c1",
        ),
        ((USER, Message("assistant", "\ud800")), "not writable", "surrogate"),
        ((USER, Message("assistant", tool_calls=(ToolCall("f", {"a": math.nan}),))), "not writable", "JSON"),
        (
            (USER, Message("assistant", tool_calls=(ToolCall("f", {"a": datetime.date.today()}),))),
            "not writable",
            "date",
        ),
    ],
)
def test_conversations_that_cannot(messages, reason, part):
    found = problem_of(Conversation("x", messages))
    assert found is not None
    assert found[0] == reason
    assert part in found[1]


def test_documents():
    assert problem_of(Conversation("x", text="once")) is None
    assert problem_of(Conversation("x", text=" \n")) == ("empty document", "the text is empty")
