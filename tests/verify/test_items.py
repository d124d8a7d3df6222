"""Golden items: read with the place of every complaint, and named by their content."""

import json
from pathlib import Path

import pytest

from tunesmith.errors import DataError, EvaluateError
from tunesmith.types import Conversation, Message, ToolCall
from tunesmith.verify import item_from_conversation, items_digest, read_items

EXAMPLES = Path(__file__).parents[2] / "examples"
ROW = {
    "id": "one",
    "split": "gate",
    "cluster": "sums",
    "tags": ["easy"],
    "messages": [{"role": "system", "content": "Add."}, {"role": "user", "content": "2 + 2?"}],
    "answer": {"type": "number", "value": "4", "aliases": ["four"]},
}


def write(tmp_path, *rows):
    path = tmp_path / "golden.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_an_item_is_read_whole(tmp_path):
    tool = {"type": "function", "function": {"name": "add"}}
    row = {**ROW, "tools": [tool], "license": "CC0"}
    (item,) = read_items(write(tmp_path, row))
    assert (item.id, item.cluster, item.split, item.tags) == ("one", "sums", "gate", ("easy",))
    assert item.messages[-1] == Message("user", "2 + 2?")
    assert item.tools == (tool,)
    assert item.answer["value"] == "4" and item.record == row


def test_split_and_cluster_have_defaults_and_splits_are_chosen(tmp_path):
    bare = {key: ROW[key] for key in ("id", "messages", "answer")}
    path = write(tmp_path, bare, {**ROW, "id": "two", "split": "dev"})
    assert [(item.split, item.cluster) for item in read_items(path)] == [("gate", "all"), ("dev", "sums")]
    assert [item.id for item in read_items(path, "dev")] == ["two"]
    with pytest.raises(EvaluateError, match="split 'vault'; the splits here: 'gate', 'dev'"):
        read_items(path, "vault")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "first"}, r":2: the id 'first' is already used in line 1"),
        ({"id": ""}, r":2: 'id' must be"),
        ({"id": None}, r":2: the item has no 'id'"),
        ({"answer": None}, r":2: the item has no 'answer'"),
        ({"answer": None, "anwser": {}}, r":2: the item has no 'answer'; did you mean 'anwser'"),
        ({"answer": "4"}, r":2: 'answer' must be an object"),
        ({"answer": {"type": "text"}}, r":2: 'answer' must be an object"),
        ({"answer": {"type": "text", "value": "x", "aliases": "y"}}, r":2: 'aliases' must be a list"),
        ({"messages": []}, r":2: 'messages' must be a list"),
        ({"messages": [{"role": "assistant", "content": "hi"}]}, r":2: the last message is from 'assistant'"),
        ({"tags": "easy"}, r":2: tags must be"),
    ],
)
def test_each_complaint_names_its_place(tmp_path, change, said):
    path = write(tmp_path, {**ROW, "id": "first"}, {**ROW, **change})
    with pytest.raises(EvaluateError, match=r"golden\.jsonl" + said):
        read_items(path)


def test_broken_messages_and_lines_name_their_place(tmp_path):
    path = write(tmp_path, {**ROW, "messages": [{"role": "robot", "content": "x"}]})
    with pytest.raises(DataError, match=r"golden\.jsonl:1, message 1"):
        read_items(path)
    with pytest.raises(EvaluateError, match=r":1: an item is a JSON object"):
        read_items(write(tmp_path, [1]))
    with pytest.raises(EvaluateError, match="no items"):
        read_items(write(tmp_path))
    with pytest.raises(DataError, match="no such file"):
        read_items(tmp_path / "absent.jsonl")


def test_the_digest_follows_content_and_not_order(tmp_path):
    two = {**ROW, "id": "two"}
    forth, back = read_items(write(tmp_path, ROW, two)), read_items(write(tmp_path, two, ROW))
    assert items_digest(forth) == items_digest(back)
    changed = read_items(write(tmp_path, ROW, {**two, "answer": {"type": "number", "value": "5"}}))
    assert items_digest(changed) != items_digest(forth)


def test_a_conversation_becomes_an_item():
    asked = Message("user", "2 + 2?")
    item = item_from_conversation(Conversation("c1", (asked, Message("assistant", "4"))))
    assert (item.id, item.cluster, item.messages) == ("c1", "heldout", (asked,))
    assert item.answer == {"type": "text", "value": "4"}
    assert json.loads(json.dumps(item.record)) == item.record


def test_a_conversation_that_ends_with_calls_becomes_an_item():
    call = Message("assistant", tool_calls=(ToolCall("add", {"a": 2}),))
    tools = ({"type": "function", "function": {"name": "add"}},)
    item = item_from_conversation(Conversation("c1", (Message("user", "2 + 2?"), call), tools=tools))
    assert item.answer == {"type": "tool_calls", "value": [{"name": "add", "arguments": {"a": 2}}]}
    assert item.tools == tools


@pytest.mark.parametrize("messages", [(), (Message("user", "x"),), (Message("assistant", "x"),)])
def test_a_conversation_without_question_or_answer_is_refused(messages):
    with pytest.raises(EvaluateError, match=r"'c1' .chat.jsonl:3"):
        item_from_conversation(Conversation("c1", messages, source="chat.jsonl:3"))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/golden.jsonl")), ids=lambda path: path.parent.name)
def test_the_golden_files_of_the_examples_are_read(path):
    assert len({item.id for item in read_items(path, "gate")}) > 100


def test_a_plain_text_and_what_a_checker_reads(tmp_path):
    asked = {"id": "one", "text": "1, 2, 3,", "choices": [" 4", " 5"], "checker": {"instructions": [{"id": "a"}]}}
    (item,) = read_items(write(tmp_path, asked))
    assert (item.text, item.messages, item.answer, item.choices) == ("1, 2, 3,", (), {}, (" 4", " 5"))
    assert item.checker == asked["checker"] and item.rubric == ""
    (judged,) = read_items(write(tmp_path, {"id": "one", "text": "Once", "rubric": "It rhymes."}))
    assert judged.rubric == "It rhymes."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"text": "Go on"}, "'text' or 'messages', not both"),
        ({"text": 4}, "'text' must be a string"),
        ({"checker": "lowercase"}, "'checker' must be an object"),
        ({"choices": ["A", "A"]}, "'choices' must be different texts"),
        ({"rubric": ""}, "'rubric' must be a non-empty string"),
    ],
)
def test_what_no_item_may_hold(tmp_path, change, said):
    with pytest.raises(EvaluateError, match=f"golden.jsonl:1: {said}|golden.jsonl:1: an item has {said}"):
        read_items(write(tmp_path, {**ROW, **change}))
