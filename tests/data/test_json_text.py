import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data import json_text
from tunesmith.data.json_text import JsonText, top_level_objects
from tunesmith.errors import DataError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


class Dribble:
    """Gives a few bytes at a time, whatever is asked for: every cut through a value happens."""

    def __init__(self, content: bytes, size: int) -> None:
        self.file = io.BytesIO(content)
        self.size = size

    def read(self, _: int) -> bytes:
        return self.file.read(self.size)


def values_of(content: str | bytes, size: int = 1 << 20) -> list[object]:
    raw = content if isinstance(content, bytes) else content.encode()
    found = top_level_objects(JsonText(Path("f.json"), Dribble(raw, size).read))
    return [value for _, value in found]


@given(values=st.lists(json_values, max_size=5), size=st.integers(1, 7), indent=st.sampled_from([None, 1]))
def test_a_list_cut_anywhere_reads_as_the_whole(values, size, indent):
    assert values_of(json.dumps(values, indent=indent, ensure_ascii=False), size) == values


@pytest.mark.parametrize(
    "content",
    [
        '[{"a": 1}, {"a": 2}]',
        '{"version": 3, "data": [{"a": 1}, {"a": 2}], "end": null}',
        '{"a": 1}\n{"a": 2}\n',
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_three_shapes_of_a_file(content, size, mark):
    assert values_of(mark + content, size) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("content", ["", " \n ", "[]", '{"data": []}'])
def test_files_without_records(content):
    assert values_of(content) == []


def test_a_record_whose_data_is_no_list():
    assert values_of('{"data": "x", "b": 1}') == [{"data": "x", "b": 1}]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ('[{"a": 1},\n {"a": }]', "f.json:2: not valid JSON (Expecting value)"),
        ('[{"a": 1}\n {"a": 2}]', "f.json:2: not valid JSON (expected ',' or ']', not '{')"),
        ('[\n{"a": 1}', "f.json:2: not valid JSON (the file ends before ',' or ']')"),
        ('[\n{"a": "x', "f.json:2: not valid JSON (Unterminated string"),
        ("[\n1,]", "f.json:2: not valid JSON (Expecting value)"),
        ('{"a": 1} x', "unexpected text after the end: 'x'"),
        ("[1] [2]", "unexpected text after the end: '['"),
        ('"a"', "expected a list of objects: '\"'"),
        ("{1: 2}", "expected a key in quotes, not '1'"),
        (b'["a",\n"\xff"]', "f.json:2: not UTF-8 text"),
        (b'["a\xc3', "f.json:1: not UTF-8 text"),
    ],
)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_broken_files_name_the_line(content, part, size):
    with pytest.raises(DataError) as caught:
        values_of(content, size)
    assert part in str(caught.value)


def test_nesting_too_deep_to_read():
    with pytest.raises(DataError, match=r"f\.json:1: not valid JSON"):
        values_of("[" * 100_000)


def test_a_broken_item_does_not_pull_in_the_rest_of_the_file(monkeypatch):
    monkeypatch.setattr(json_text, "CHUNK_BYTES", 1000)
    source = io.BytesIO(b'[{"a" 1},' + b'{"a": 1},' * 100_000)
    with pytest.raises(DataError):
        list(top_level_objects(JsonText(Path("f.json"), source.read)))
    assert source.tell() < 10_000
