"""Preference data in the usual forms: one conversation with a chosen and a rejected side, or a complaint by name."""

import json

import pytest

from tunesmith.data import DataConfig, data, iter_conversations, write_data
from tunesmith.errors import DataError
from tunesmith.types import Message

USER, GOOD, BAD = Message("user", "q"), Message("assistant", "good"), Message("assistant", "bad")
CHOSEN, REJECTED = (USER, GOOD), (USER, BAD)
ASKED = {"role": "user", "content": "q"}


def said(text):
    return {"role": "assistant", "content": text}


def shared(text):
    return {"from": "gpt", "value": text}


FORMS = {
    "strings": {"prompt": "q", "chosen": "good", "rejected": "bad"},
    "alpaca": {"instruction": "q", "input": "", "chosen": "good", "rejected": "bad"},
    "orca": {"question": "q", "chosen": "good", "rejected": "bad"},
    "answers as lists": {"prompt": [ASKED], "chosen": [said("good")], "rejected": [said("bad")]},
    "messages as prompt": {"messages": [ASKED], "chosen": said("good"), "rejected": said("bad")},
    "whole conversations": {"chosen": [ASKED, said("good")], "rejected": [ASKED, said("bad")]},
    "whole beside a text": {"prompt": "q", "chosen": [ASKED, said("good")], "rejected": [ASKED, said("bad")]},
    "whole beside a list": {"prompt": [ASKED], "chosen": [ASKED, said("good")], "rejected": [ASKED, said("bad")]},
    "sharegpt": {
        "conversations": [{"from": "human", "value": "q"}],
        "chosen": shared("good"),
        "rejected": shared("bad"),
    },
    "sharegpt as JSON": {
        "conversations": json.dumps([{"from": "human", "value": "q"}]),
        "chosen": shared("good"),
        "rejected": shared("bad"),
    },
    "transcripts": {
        "chosen": "\n\nHuman: q\n\nAssistant: good",
        "rejected": "\n\nHuman: q\n\nAssistant: bad",
    },
    "openai": {
        "input": {"messages": [ASKED]},
        "preferred_output": [said("good")],
        "non_preferred_output": [said("bad")],
    },
    "our own": {"messages": [ASKED, said("good")], "rejected": [ASKED, said("bad")]},
}


def read(write_file, record, **options):
    (found,) = data(DataConfig(paths=(str(write_file("p.jsonl", [record])),), **options))
    return found


@pytest.mark.parametrize("name", FORMS)
def test_every_form_becomes_the_same_pair(write_file, name):
    found = read(write_file, FORMS[name])
    assert (found.messages, found.rejected, found.num_shared) == (CHOSEN, REJECTED, 1)


def test_transcripts_of_several_turns_part_at_the_last(write_file):
    before = "\n\nHuman: one\n\nAssistant: two\n\nHuman: three"
    found = read(
        write_file, {"chosen": f"{before}\n\nAssistant: four\n\nlines", "rejected": f"{before}\n\nAssistant: 5"}
    )
    assert [message.content for message in found.messages] == ["one", "two", "three", "four\n\nlines"]
    assert (found.rejected[3].content, found.num_shared) == ("5", 3)


def test_system_and_tools_belong_to_both_sides(write_file):
    tool = {"type": "function", "function": {"name": "now"}}
    found = read(write_file, {**FORMS["strings"], "system": "s", "tools": [tool]})
    assert found.messages[0] == found.rejected[0] == Message("system", "s")
    assert found.tools == (tool,)
    assert read(write_file, FORMS["transcripts"], system="s").num_shared == 2
    tools_inside = {**FORMS["openai"], "input": {"messages": [ASKED], "tools": [tool]}}
    assert read(write_file, tools_inside).tools == (tool,)


def test_tails_of_several_messages_stay_whole(write_file):
    call = {"role": "assistant", "tool_calls": [{"function": {"name": "now", "arguments": {}}}]}
    result = {"role": "tool", "content": "12"}
    found = read(write_file, {"prompt": [ASKED], "chosen": [call, result, said("noon")], "rejected": [said("bad")]})
    assert ([m.role for m in found.messages], found.num_shared) == (["user", "assistant", "tool", "assistant"], 1)


def test_what_was_written_is_read_back(write_file, tmp_path):
    path = write_file("p.jsonl", [FORMS["strings"], FORMS["strings"]])
    facts = write_data(DataConfig(paths=(str(path),)), tmp_path / "out")
    back = list(iter_conversations(tmp_path / "out" / "conversations.jsonl"))
    assert facts["num_pairs"] == len(back) == 2
    assert all((each.messages, each.rejected) == (CHOSEN, REJECTED) for each in back)
    again = list(data(DataConfig(paths=(str(tmp_path / "out" / "conversations.jsonl"),))))
    assert [(each.id, each.rejected) for each in again] == [(each.id, each.rejected) for each in back]


def test_messages_alone_can_still_be_asked_for(write_file):
    """Sets such as UltraFeedback carry the chosen conversation a second time, for supervised training."""
    record = {**FORMS["whole conversations"], "messages": [ASKED, said("good")]}
    assert read(write_file, record).rejected == REJECTED
    assert read(write_file, record, format="messages").rejected == ()


PROBLEMS = [
    ({**FORMS["strings"], "rejected": "good"}, "the same, so there is nothing to prefer"),
    ({**FORMS["strings"], "rejected": " "}, "rejected: message 2: the assistant message has neither"),
    ({"chosen": "good", "rejected": "bad"}, "chosen is a text, but there is no prompt"),
    ({**FORMS["strings"], "rejected": 5}, "rejected must be text, a message or a list of messages, not 5"),
    (
        {"chosen": [ASKED, said("a")], "rejected": [{**ASKED, "content": "other"}, said("b")]},
        r"part at message 1 \(chosen: a user message, rejected: user\)",
    ),
    (
        {"prompt": [ASKED], "chosen": [{**ASKED, "content": "x"}, said("a")], "rejected": [said("b")]},
        "does not begin with the messages of the prompt",
    ),
    ({"prompt": "q", "chosen": [said("a"), ASKED, said("b")], "rejected": [said("a")]}, "part at message 3"),
]


@pytest.mark.parametrize(("record", "complaint"), PROBLEMS, ids=[text for _, text in PROBLEMS])
def test_what_is_no_pair_is_refused_by_name(write_file, record, complaint):
    with pytest.raises(DataError, match=complaint):
        read(write_file, record, format="preference")
