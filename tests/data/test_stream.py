import json

import pytest

from tunesmith.data import DataConfig, data
from tunesmith.errors import DataError
from tunesmith.types import Message

PAIRS = [{"prompt": f"q{n}", "completion": f"a{n}"} for n in range(30)]
GOOD = {"prompt": "q", "completion": "a"}


def config_for(*paths, **fields):
    return DataConfig(paths=tuple(str(path) for path in paths), **fields)


def test_ids_and_sources_name_file_and_line(write_file):
    path = write_file("deep/train.jsonl", [GOOD, {**GOOD, "id": "mine"}, {**GOOD, "source": "web"}])
    found = list(data(config_for(path)))
    assert [conversation.id for conversation in found] == ["train:1", "mine", "train:3"]
    assert [conversation.source for conversation in found] == [f"train.jsonl:{n}" for n in (1, 2, 3)]


def test_ids_are_unique_over_files_of_one_name(write_file, tmp_path):
    for folder in "xy":
        write_file(f"{folder}/train.jsonl", [GOOD])
    assert [found.id for found in data(config_for(tmp_path))] == ["x/train:1", "y/train:1"]


def test_ids_in_a_compact_list_are_unique(write_file):
    path = write_file("train.json", json.dumps([GOOD, GOOD]))
    assert [found.id for found in data(config_for(path))] == ["train:1", "train:2"]


def test_a_document_is_named_by_its_file(write_file):
    (found,) = data(config_for(write_file("notes.md", "# Notes\n")))
    assert (found.id, found.source, found.text) == ("notes", "notes.md", "# Notes\n")


def test_each_file_has_its_own_format(write_file, tmp_path):
    write_file("a.jsonl", [GOOD])
    write_file("b.jsonl", [{"instruction": "q", "output": "a"}])
    write_file("c.csv", "prompt,response\nq,a\n")
    stream = data(config_for(tmp_path))
    assert len({found.messages for found in stream}) == 1
    assert [layout.format for layout in stream.layouts.values()] == [
        "prompt_completion",
        "alpaca",
        "prompt_completion",
    ]


def test_columns_named_by_hand(write_file):
    path = write_file("qa.csv", "question,answer\nq,a\n")
    (found,) = data(config_for(path, prompt_field="question", response_field="answer"))
    assert found.messages == (Message("user", "q"), Message("assistant", "a"))


def test_system_goes_only_where_none_is(write_file):
    records = [
        {"messages": [{"role": role, "content": "x"}, {"role": "assistant", "content": "a"}]}
        for role in ("user", "system", "developer")
    ]
    found = list(data(config_for(write_file("a.jsonl", records), system="s")))
    assert [conversation.messages[0] for conversation in found] == [
        Message("system", "s"),
        Message("system", "x"),
        Message("developer", "x"),
    ]


@pytest.mark.parametrize("cut", range(0, 21))
@pytest.mark.parametrize("limit", [None, 15])
def test_restore_goes_on_where_state_was_taken(write_file, tmp_path, cut, limit):
    write_file("a.jsonl", [*PAIRS[:10], {"prompt": "no answer"}, *PAIRS[10:20]])
    write_file("b.jsonl", [{"text": "x"} for _ in range(5)])
    config = config_for(tmp_path, on_error="skip", max_conversations=limit)
    whole = list(data(config))
    first, second = data(config), data(config)
    iterator = iter(first)
    head = [next(iterator) for _ in range(min(cut, len(whole)))]
    state = json.loads(json.dumps(first.state()))
    second.restore(state)
    assert second.state() == state
    assert head + list(second) == whole
    assert second.fingerprint == first.fingerprint
    assert len(first.dropped) + len(second.dropped) == 1


def test_a_read_stream_stands_at_its_end_until_restored(write_file):
    stream = data(config_for(write_file("a.jsonl", PAIRS)))
    start = stream.state()
    whole = list(stream)
    assert list(stream) == []
    stream.restore(start)
    assert list(stream) == whole


def test_reading_is_lazy(write_file):
    path = write_file("a.jsonl", [*PAIRS, {"broken": True}])
    iterator = iter(data(config_for(path)))
    assert [next(iterator).id for _ in PAIRS][-1] == "a:30"
    with pytest.raises(DataError, match="31"):
        next(iterator)


def test_the_fingerprint_names_content_and_settings_but_no_folder(write_file):
    def print_of(name, records, **fields):
        return data(config_for(write_file(name, records), **fields)).fingerprint

    base = print_of("x/a.jsonl", PAIRS)
    assert base == print_of("y/a.jsonl", PAIRS)
    others = [
        print_of("x/b.jsonl", PAIRS),
        print_of("x/a.jsonl", PAIRS, system="s"),
        print_of("z/a.jsonl", PAIRS[:-1]),
    ]
    assert len({base, *others}) == 4


@pytest.mark.parametrize(
    ("lines", "part"),
    [
        (['{"prompt": "q", "completion": "a"'], ":1: not valid JSON"),
        ([json.dumps(GOOD), "oops"], ":2: not valid JSON"),
        ([json.dumps(GOOD), "3"], ":2: a record must be an object, not 3"),
        (
            [json.dumps(GOOD), '{"prompt": "q"}'],
            ":2: format prompt_completion needs 'completion' or 'response'",
        ),
        ([json.dumps(GOOD), '{"prompt": "q", "completion": ""}'], ":2: message 2: the assistant message has"),
        ([json.dumps({**GOOD, "id": 1})] * 2, ":2: the id '1' was seen before; make the ids unique"),
        (['{"prompt": "q", "completion": "\\ud800"}'], ":1: the text holds half of a surrogate pair"),
        ([], ": the file holds no records"),
    ],
)
def test_errors_name_file_and_line(write_file, lines, part):
    path = write_file("train.jsonl", "\n".join(lines))
    with pytest.raises(DataError) as caught:
        list(data(config_for(path)))
    assert str(caught.value).startswith(f"{path}{part}")


def test_skipped_records_go_to_the_list_of_dropped(write_file):
    path = write_file("train.jsonl", [GOOD, {"prompt": "q"}, GOOD])
    stream = data(config_for(path, on_error="skip"))
    assert len(list(stream)) == 2
    (dropped,) = stream.dropped
    assert (dropped.id, dropped.stage, dropped.reason) == ("train:2", "data", "malformed record")
    assert (dropped.source, dropped.record) == ("train.jsonl:2", {"prompt": "q"})


def test_a_file_without_one_readable_line_is_an_error_even_when_skipping(write_file):
    path = write_file("train.jsonl", "oops\nagain\n")
    with pytest.raises(DataError, match=r"train\.jsonl:1: not valid JSON"):
        list(data(config_for(path, on_error="skip")))


def test_csv_columns_may_hold_json(write_file):
    cell = json.dumps([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}])
    path = write_file("a.csv", 'id,messages\nrow,"' + cell.replace('"', '""') + '"\n')
    (found,) = data(config_for(path))
    assert (found.id, found.messages[1].content) == ("row", "a")
