import gzip
import json
import sys

import pytest

from tunesmith.data.readers import read_records
from tunesmith.errors import DataError, MissingExtra

ROWS = [{"prompt": 'one, "two"', "completion": "line\nbreak"}, {"prompt": "ä", "completion": "日本"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
CSV = 'prompt,completion\n"one, ""two""","line\nbreak"\nä,日本\n'
TSV = 'prompt\tcompletion\n"one, ""two"""\t"line\nbreak"\nä\t日本\n'
FILES = [
    ("a.jsonl", LINES),
    ("a.ndjson", LINES),
    ("a.json", json.dumps(ROWS)),
    ("a.json", json.dumps({"data": ROWS}, indent=2)),
    ("a.json", LINES),
    ("a.csv", CSV),
    ("a.tsv", TSV),
]


def places(path):
    return [record.place for record in read_records(path)]


@pytest.mark.parametrize(("name", "text"), FILES)
@pytest.mark.parametrize("is_gzipped", [False, True])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_every_kind_gives_the_same_records(write_file, name, text, is_gzipped, mark):
    content = mark + text.encode()
    path = write_file(name + ".gz" * is_gzipped, gzip.compress(content, mtime=0) if is_gzipped else content)
    records = list(read_records(path))
    assert [record.value for record in records] == ROWS
    assert not any(record.problem for record in records)


def test_parquet_gives_the_same_records(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    assert [record.value for record in read_records(path)] == ROWS
    assert places(path) == [":1", ":2"]


def test_parquet_without_pyarrow_names_the_extra(write_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"tunesmith\[parquet\]"):
        list(read_records(write_file("a.parquet", b"")))


@pytest.mark.parametrize("content", [b"", b"PAR1 nonsense PAR1"])
def test_broken_parquet(write_file, content):
    pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match=r"a\.parquet: not a readable parquet file"):
        list(read_records(write_file("a.parquet", content)))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.jsonl", '{}\r\n\r\n{"a":1}\r\n', [":1", ":3"]),
        ("a.json", "[{},\n{},\n\n{}]", [":1, item 1", ":2, item 2", ":4, item 3"]),
        ("a.csv", 'a,b\r\n"x\r\ny",1\r\n\r\nz,2\r\n', [":2", ":5"]),
        ("a.md", "# Title\n\ntext\n", [""]),
    ],
)
def test_places(write_file, name, text, expected):
    assert places(write_file(name, text)) == expected


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.txt.gz"])
def test_a_document_is_one_record(write_file, name):
    content = "\ufeffone\r\n\r\ntwo\r\n".encode()
    path = write_file(name, gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    assert [record.value for record in read_records(path)] == [{"text": "one\n\ntwo\n"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [(f"a.{kind}", b"") for kind in ("jsonl", "json", "csv", "tsv", "txt", "md", "jsonl.gz")]
    + [(f"a.{kind}", b"\n \n") for kind in ("jsonl", "json", "txt", "md")]
    + [("a.csv", b"prompt,completion\n")],
)
def test_files_without_content_have_no_records(write_file, name, content):
    assert list(read_records(write_file(name, content))) == []


@pytest.mark.parametrize(
    ("line", "part"),
    [
        (b'{"a": 1', "not valid JSON"),
        (b'{"a": "\xff"}', "not UTF-8 text (byte 0xff at column 8); save the file as UTF-8"),
        (b"[", "a file that is one list should end in .json"),
        (b"[" * 100_000, "nested too deeply"),
        (b"1" * 5000, "not valid JSON"),
    ],
)
def test_a_bad_line_is_kept_and_the_next_one_read(write_file, line, part):
    records = list(read_records(write_file("a.jsonl", b"{}\n" + line + b"\n{}\n")))
    assert [record.number for record in records] == [1, 2, 3]
    assert [record.problem is None for record in records] == [True, False, True]
    assert part in records[1].problem
    assert isinstance(records[1].value, str)


def test_a_row_of_the_wrong_length_is_kept(write_file):
    records = list(read_records(write_file("a.csv", "a,b\n1,2\n1,2,3\n1\n3,4\n")))
    problems = [record.problem for record in records]
    assert problems[1] == "the row has 3 columns, the first row of the file has 2"
    assert [problem is None for problem in problems] == [True, False, False, True]


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("a.jsonl", '{"a": 1}\n'.encode("utf-16"), "a.jsonl:1: the file is UTF-16 text; save it as UTF-8"),
        ("a.csv", b"a,b\n1,2\n\xff,2\n", "a.csv:3: not UTF-8 text (byte 0xff at column 1)"),
        ("a.csv", b'a,b\n1,"2\n', "a.csv:2: not valid CSV"),
        ("a.csv", b"a,a\n1,2\n", "a.csv:1: the first row must name each column once; seen: a, a"),
        ("a.csv", b"a,\n1,2\n", "a.csv:1: the first row must name each column once"),
        ("a.txt", b"fine\n\xff\n", "a.txt:2: not UTF-8 text"),
        ("a.json", b"[{},\n{]", "a.json:2: not valid JSON"),
        ("a.jsonl.gz", gzip.compress(LINES.encode(), mtime=0)[:-10], "the gzip file is truncated or damaged"),
        ("a.json.gz", gzip.compress(LINES.encode(), mtime=0)[:30], "the gzip file is truncated or damaged"),
        ("a.csv.gz", b"a,b\n1,2\n", "the gzip file is truncated or damaged"),
    ],
)
def test_damage_that_no_skipping_can_mend(write_file, name, content, part):
    path = write_file(name, content)
    with pytest.raises(DataError) as caught:
        list(read_records(path))
    assert str(caught.value).startswith(str(path))
    assert part in str(caught.value)


def test_a_field_longer_than_the_usual_limit(write_file):
    path = write_file("a.csv", f"a\n{'x' * 500_000}\n")
    assert [len(record.value["a"]) for record in read_records(path)] == [500_000]
