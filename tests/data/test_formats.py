import json

import pytest

from tunesmith.data import DataConfig, data
from tunesmith.data.detect import Layout, detect
from tunesmith.data.formats import convert
from tunesmith.errors import DataError
from tunesmith.types import Message, ToolCall

CALL = {"name": "add", "arguments": {"a": 1}}
TOOL = {"name": "add", "description": "Adds.", "parameters": {"type": "object"}}
ENVELOPE = {"type": "function", "function": TOOL}
PAIR = (Message("user", "q"), Message("assistant", "a"))
CALLED = (
    Message("user", "q"),
    Message("assistant", tool_calls=(ToolCall("add", {"a": 1}),)),
    Message("tool", "2"),
    Message("assistant", "a"),
)
OPENAI = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
SHAREGPT = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]


def sharegpt_called(call, result="observation"):
    turns = [{"from": "function_call", "value": call}, {"from": result, "value": "2"}]
    return {"conversations": [SHAREGPT[0], *turns, SHAREGPT[1]]}


def openai_called(**call):
    turns = [{"role": "assistant", "content": None, **call}, {"role": "function", "content": "2"}]
    return {"messages": [OPENAI[0], *turns, OPENAI[1]]}


FORMATS = [
    ("messages", {"messages": OPENAI}, PAIR),
    ("messages", {"messages": json.dumps(OPENAI)}, PAIR),
    ("messages", {"conversations": OPENAI, "score": 3}, PAIR),
    ("messages", {"messages": OPENAI, "prompt": "x", "text": "y"}, PAIR),
    ("messages", openai_called(tool_calls=[{"type": "function", "function": CALL}]), CALLED),
    ("messages", openai_called(function_call={"name": "add", "arguments": '{"a": 1}'}), CALLED),
    ("sharegpt", {"conversations": SHAREGPT}, PAIR),
    ("sharegpt", {"conversation": SHAREGPT}, PAIR),
    ("sharegpt", {"messages": SHAREGPT}, PAIR),
    ("sharegpt", {"conversations": SHAREGPT, "system": ""}, PAIR),
    ("sharegpt", {"conversations": SHAREGPT, "system": "s"}, (Message("system", "s"), *PAIR)),
    (
        "sharegpt",
        {"conversations": [{"from": "system", "value": "s"}, *SHAREGPT]},
        (Message("system", "s"), *PAIR),
    ),
    (
        "sharegpt",
        {"conversations": [{"from": "user", "value": "q"}, {"from": "chatgpt", "value": "a"}]},
        PAIR,
    ),
    ("sharegpt", sharegpt_called(json.dumps(CALL)), CALLED),
    ("sharegpt", sharegpt_called(json.dumps([CALL]), "function_response"), CALLED),
    ("sharegpt", sharegpt_called(CALL, "tool"), CALLED),
    (
        "sharegpt",
        {"conversations": [SHAREGPT[0], {**SHAREGPT[1], "weight": 0}, {**SHAREGPT[1], "train": True}]},
        (PAIR[0], Message("assistant", "a", train=0.0), Message("assistant", "a", train=1.0)),
    ),
    ("alpaca", {"instruction": "q", "output": "a"}, PAIR),
    ("alpaca", {"instruction": "q", "input": "", "output": "a", "text": "all"}, PAIR),
    ("alpaca", {"instruction": "q", "input": "i", "output": "a"}, (Message("user", "q\n\ni"), PAIR[1])),
    (
        "alpaca",
        {"instruction": "q", "output": "a", "system": "s", "history": [["q", "a"]]},
        (Message("system", "s"), *PAIR, *PAIR),
    ),
    ("prompt_completion", {"prompt": "q", "completion": "a"}, PAIR),
    ("prompt_completion", {"prompt": "q", "response": "a", "text": "x"}, PAIR),
    ("prompt_completion", {"prompt": OPENAI[:1], "completion": OPENAI[1:]}, PAIR),
    ("prompt_completion", {"prompt": OPENAI[:1], "completion": "a"}, PAIR),
]


@pytest.mark.parametrize(("format", "record", "messages"), FORMATS)
def test_formats_are_detected_and_converted(format, record, messages):
    layout = detect([record], "here")
    assert layout.format == format
    assert layout.evidence.startswith("1 of the first 1 records have '")
    assert convert(record, layout, "here", "default").messages == messages


def test_text_becomes_a_document():
    layout = detect([{"text": "once"}], "here")
    found = convert({"text": "once", "tools": "hammer"}, layout, "here", "default")
    assert (layout.format, found.text, found.messages, found.tools) == ("text", "once", (), ())


@pytest.mark.parametrize("tools", [[TOOL], [ENVELOPE], json.dumps([TOOL]), [{"type": "function", **TOOL}]])
@pytest.mark.parametrize("key", ["tools", "functions"])
def test_tools_get_the_openai_envelope(tools, key):
    for record in ({"messages": OPENAI}, {"conversations": SHAREGPT}):
        found = convert({**record, key: tools}, detect([record], "here"), "here", "default")
        assert found.tools == (ENVELOPE,)


def test_tools_of_the_endpoint_stay_as_they_are():
    record = {"messages": OPENAI, "tools": [{"type": "web_search"}]}
    assert convert(record, detect([record], "here"), "here", "default").tools == ({"type": "web_search"},)


@pytest.mark.parametrize(
    ("format", "record", "part"),
    [
        ("messages", 3, "a record must be an object, not 3"),
        ("messages", {"a": 1}, "format messages needs 'messages' or 'conversations' or 'conversation'"),
        ("messages", {"messages": "["}, "the list of messages is a string that is not valid JSON"),
        ("messages", {"messages": {"role": "user"}}, "must be a non-empty list, not {'role'"),
        ("messages", {"messages": ["hi"]}, "message 1: a message must be an object, not 'hi'"),
        ("messages", {"messages": OPENAI, "tools": "["}, "tools is a string that is not valid JSON"),
        ("sharegpt", {"conversations": ["hi"]}, "message 1: expected an object with 'from' and 'value'"),
        ("sharegpt", {"conversations": [{"from": "bot", "value": "x"}]}, "'from' is 'bot'; accepted: system"),
        ("sharegpt", {"conversations": [{"from": [], "value": "x"}]}, "'from' is []"),
        ("sharegpt", sharegpt_called("add(1)"), "message 2: the function call is a string that is not valid"),
        ("sharegpt", sharegpt_called("[3]"), "message 2: a tool call must be an object, not 3"),
        ("sharegpt", {"conversations": [{**SHAREGPT[1], "weight": "no"}]}, "message 1: weight must be true"),
        ("sharegpt", {"conversations": [{**SHAREGPT[1], "train": -1}]}, "message 1: train must be true"),
        ("alpaca", {"instruction": "q"}, "format alpaca needs 'output'; the columns are: instruction"),
        ("alpaca", {"instruction": 3, "output": "a"}, "instruction and input must be strings"),
        ("alpaca", {"instruction": "q", "output": 3}, "content must be a string"),
        ("alpaca", {"instruction": "q", "output": "a", "history": [["q"]]}, "pairs, not [['q']]"),
        ("prompt_completion", {"prompt": "q"}, "needs 'completion' or 'response'"),
        ("prompt_completion", {"prompt": 3, "completion": "a"}, "the user side must be text or a list"),
        ("text", {"text": 3}, "text must be a string, not 3"),
        ("text", {"id": 1}, "format text needs 'text'; the columns are: id"),
    ],
)
def test_bad_records_name_place_and_problem(format, record, part):
    with pytest.raises(DataError) as caught:
        convert(record, Layout(format, "set"), "train.jsonl:7", "default")
    assert str(caught.value).startswith("train.jsonl:7")
    assert part in str(caught.value)


def test_columns_named_by_hand_are_meant_exactly():
    layout = Layout("prompt_completion", "set", "question", ("response",))
    assert convert({"question": "q", "response": "a"}, layout, "here", "default").messages == PAIR
    with pytest.raises(DataError, match="needs 'response'"):
        convert({"question": "q", "completion": "a"}, layout, "here", "default")


def test_the_id_of_the_record_is_kept():
    layout = Layout("messages", "set")
    assert convert({"messages": OPENAI, "id": 7}, layout, "here", "default").id == "7"
    assert convert({"messages": OPENAI}, layout, "here", "default").id == "default"


def test_real_tool_conversations_all_convert(shared_data):
    path = shared_data / "tool_calls" / "glaive_toolcall_en_demo.json"
    found = list(data(DataConfig(paths=(str(path),))))
    assert len(found) == 300
    assert any(message.tool_calls for conversation in found for message in conversation.messages)
    assert all("function" in tool for conversation in found for tool in conversation.tools)
