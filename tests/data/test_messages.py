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
loss_weights = st.none() | st.sampled_from([0.0, 1.0]) | st.floats(min_value=0, max_value=1e30)
weighted_parts = st.lists(st.tuples(st.text(), loss_weights), max_size=3)


@st.composite
def built_messages(draw):
    parts = draw(weighted_parts.filter(lambda parts: any(weight is not None for _, weight in parts)) | st.none())
    content = draw(st.text()) if parts is None else "".join(text for text, _ in parts)
    return Message(
        role=draw(st.sampled_from(ROLES)),
        content=content,
        reasoning=draw(optional_texts),
        tool_calls=draw(st.lists(tool_calls, max_size=2).map(tuple)),
        tool_call_id=draw(optional_texts),
        name=draw(optional_texts),
        train=draw(loss_weights),
        part_weights=() if parts is None else tuple((len(text), weight) for text, weight in parts),
    )


messages = built_messages()
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
        ({"role": "developer", "content": "x", "name": "n"}, Message("developer", "x", name="n")),
        ({"role": "tool", "content": "x", "tool_call_id": "c1"}, Message("tool", "x", tool_call_id="c1")),
    ],
)
def test_spellings_of_a_message(raw, expected):
    assert message_from_dict(raw, "here") == expected


@pytest.mark.parametrize("key", ["train", "weight"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, 1.0), (False, 0.0), (1, 1.0), (0, 0.0), (0.25, 0.25), (2, 2.0), (-0.0, 0.0), (None, None)],
)
def test_loss_weights_of_messages_and_parts(key, value, expected):
    assert message_from_dict({"role": "assistant", "content": "x", key: value}, "here").train == expected
    part = message_from_dict({"role": "user", "content": ["ab", {"type": "text", "text": "c", key: value}]}, "here")
    assert part.train is None and part.content == "abc"
    assert part.part_weights == (() if expected is None else ((2, None), (1, expected)))


def test_two_names_of_a_loss_weight_may_agree():
    raw = {"role": "assistant", "content": "x", "train": True, "weight": 1}
    assert message_from_dict(raw, "here").train == 1.0


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ({"train": -1}, "train must be true, false or a number from 0 to 1e+30, not -1"),
        ({"weight": -0.5}, "weight must be true, false or a number from 0"),
        ({"train": float("nan")}, "not nan"),
        ({"train": float("inf")}, "not inf"),
        ({"train": 10**400}, "train must be"),
        ({"train": "no"}, "not 'no'"),
        ({"weight": "0"}, "not '0'"),
        ({"train": [1]}, "not [1]"),
        ({"train": True, "weight": 0}, "train is True, but weight is 0"),
        ({"train": 0.5, "weight": True}, "train is 0.5, but weight is True"),
    ],
)
def test_bad_loss_weights_name_place_and_problem(flags, complaint):
    for raw, place in (
        ({"role": "assistant", "content": "x", **flags}, "train.jsonl:3: "),
        ({"role": "user", "content": [{"type": "text", "text": "x", **flags}]}, "train.jsonl:3, a content part: "),
    ):
        with pytest.raises(DataError) as caught:
            message_from_dict(raw, "train.jsonl:3")
        assert str(caught.value).startswith(place)
        assert complaint in str(caught.value)


def test_loss_weights_are_written_in_one_way():
    message = Message("assistant", "abc", train=0.5, part_weights=((2, 0.0), (1, None), (0, 1.0)))
    assert message_to_dict(message) == {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "ab", "train": 0.0},
            {"type": "text", "text": "c"},
            {"type": "text", "text": "", "train": 1.0},
        ],
        "train": 0.5,
    }


def test_messages_without_loss_weights_are_written_as_before():
    raw = message_to_dict(message_from_dict({"role": "user", "content": [{"type": "text", "text": "a"}, "b"]}, "here"))
    assert raw == {"role": "user", "content": "ab"}


def test_parts_that_do_not_make_up_the_content_are_not_written():
    with pytest.raises(DataError, match="add up to 2 characters, but its content has 3: 'abc'"):
        message_to_dict(Message("user", "abc", part_weights=((2, 1.0),)))


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
