import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.errors import DataError
from tunesmith.messages import (
    conversation_from_dict,
    conversation_to_dict,
    message_from_dict,
    message_to_dict,
    tools_from,
)
from tunesmith.types import ROLES, Conversation, Message, ToolCall

CALL = {"function": {"name": "add", "arguments": {"a": 1}}}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(st.text(), json_values, max_size=3)
optional_texts = st.none() | st.text()
tool_calls = st.builds(ToolCall, name=st.text(min_size=1), arguments=objects, id=optional_texts)
messages = st.builds(
    Message,
    role=st.sampled_from(ROLES),
    content=st.text(),
    reasoning=optional_texts,
    tool_calls=st.lists(tool_calls, max_size=2).map(tuple),
    tool_call_id=optional_texts,
    name=optional_texts,
)
conversations = st.builds(
    Conversation,
    id=st.text(min_size=1),
    messages=st.lists(messages, min_size=1, max_size=3).map(tuple),
    tools=st.lists(objects, max_size=2).map(tuple),
    source=st.text(),
)
documents = st.builds(Conversation, id=st.text(min_size=1), text=st.text(), source=st.text())


@given(message=messages)
def test_message_comes_back(message):
    assert message_from_dict(json.loads(json.dumps(message_to_dict(message))), "here") == message


@given(conversation=conversations | documents)
def test_conversation_comes_back(conversation):
    raw = json.loads(json.dumps(conversation_to_dict(conversation), ensure_ascii=False))
    assert conversation_from_dict(raw, "here", "default") == conversation


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"role": "user", "content": None}, Message("user")),
        ({"role": "user"}, Message("user")),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, "b"]}, Message("user", "ab")),
        ({"role": "assistant", "content": "x", "reasoning": "r"}, Message("assistant", "x", "r")),
        ({"role": "assistant", "content": "x", "thinking": "r"}, Message("assistant", "x", "r")),
        ({"role": "assistant", "content": "x", "reasoning_content": "r"}, Message("assistant", "x", "r")),
        ({"role": "assistant", "content": "x", "weight": 1}, Message("assistant", "x")),
    ],
)
def test_spellings_of_a_message(raw, expected):
    assert message_from_dict(raw, "here") == expected


@pytest.mark.parametrize("arguments", [{"a": 1}, '{"a": 1}'])
@pytest.mark.parametrize("has_envelope", [True, False])
def test_spellings_of_a_tool_call(arguments, has_envelope):
    call = {"name": "add", "arguments": arguments}
    raw = {"role": "assistant", "tool_calls": [{"function": call, "id": "7"} if has_envelope else call]}
    expected = ToolCall("add", {"a": 1}, "7" if has_envelope else None)
    assert message_from_dict(raw, "here").tool_calls == (expected,)


@pytest.mark.parametrize("arguments", [None, "", " "])
def test_no_arguments_are_an_empty_object(arguments):
    raw = {"role": "assistant", "tool_calls": [{"name": "now", "arguments": arguments}]}
    assert message_from_dict(raw, "here").tool_calls[0].arguments == {}


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        ("hello", "a message must be an object, not 'hello'"),
        (
            {"role": "bot", "content": "x"},
            "role 'bot'; accepted roles: system, developer, user, assistant, tool",
        ),
        ({"content": "x"}, "no role; accepted"),
        ({"role": ["user"]}, "role ['user']; accepted"),
        ({"role": "user", "content": 3}, "content must be a string, null or a list of text parts, not 3"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": "u"}]}, "is not text"),
        ({"role": "user", "content": [3]}, "a content part must be an object"),
        ({"role": "assistant", "reasoning": 3}, "reasoning must be a string or absent, not 3"),
        ({"role": "assistant", "tool_calls": "add"}, "tool_calls must be a list"),
        ({"role": "assistant", "tool_calls": [{"arguments": {}}]}, "needs a function name"),
        ({"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{"}]}, "not valid JSON: '{'"),
        (
            {"role": "assistant", "tool_calls": [{"name": "f", "arguments": "[1]"}]},
            "must be an object, not [1]",
        ),
        (
            {"role": "assistant", "tool_calls": [{"name": "f", "arguments": '"{}"'}]},
            "must be an object, not '{}'",
        ),
        ({"role": "tool", "tool_call_id": 3}, "tool_call_id must be a string or absent, not 3"),
        ({"role": "assistant", "content": "x", "weight": 0}, "weight 0"),
    ],
)
def test_bad_messages_name_place_and_problem(raw, part):
    with pytest.raises(DataError) as caught:
        message_from_dict(raw, "train.jsonl:3")
    assert str(caught.value).startswith("train.jsonl:3: ")
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        (3, "a conversation must be an object, not 3"),
        ({"title": "x"}, "neither 'messages' (a list) nor 'text' (a string); the keys are: title"),
        ({"messages": []}, "messages must be a non-empty list, not []"),
        ({"messages": [{"role": "user"}, {"role": "x"}]}, "train.jsonl:3, message 2: role 'x'"),
        ({"text": "x", "id": 1.5}, "id must be a string or an integer, not 1.5"),
        ({"messages": [{"role": "user"}], "tools": "[3]"}, "a tool must be an object, not 3"),
    ],
)
def test_bad_conversations_name_place_and_problem(raw, part):
    with pytest.raises(DataError) as caught:
        conversation_from_dict(raw, "train.jsonl:3", "default")
    assert str(caught.value).startswith("train.jsonl:3")
    assert part in str(caught.value)


@pytest.mark.parametrize(("identifier", "expected"), [(None, "default"), ("", "default"), (7, "7"), ("a", "a")])
def test_ids(identifier, expected):
    assert conversation_from_dict({"id": identifier, "text": "x"}, "here", "default").id == expected


def test_source_falls_back_to_the_place():
    assert conversation_from_dict({"text": "x"}, "here", "default").source == "here"


@pytest.mark.parametrize("raw", [None, "", "  ", [], "[]"])
def test_no_tools(raw):
    assert tools_from(raw.strip() if raw == "  " else raw, "here") == ()


def test_long_values_are_cut_in_messages():
    with pytest.raises(DataError) as caught:
        message_from_dict({"role": "x" * 1000}, "here")
    assert len(str(caught.value)) < 200
