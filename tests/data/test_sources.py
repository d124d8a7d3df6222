import pytest

from tunesmith.data.sources import kind, source_files
from tunesmith.errors import DataError


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.jsonl", ".jsonl"), ("a.b.CSV.gz", ".csv"), ("a.ndjson.GZ", ".ndjson"), ("a.parquet", ".parquet")],
)
def test_kinds(tmp_path, name, expected):
    assert kind(tmp_path / name) == expected


@pytest.mark.parametrize("name", ["a.py", "a", "a.parquet.gz", "a.gz", ".jsonl"])
def test_unknown_kinds_list_the_accepted_ones(tmp_path, name):
    with pytest.raises(DataError, match=r"accepted: \.jsonl, \.ndjson, \.json"):
        kind(tmp_path / name)


def test_folders_patterns_and_files_in_order_each_once(write_file, tmp_path):
    for name in (
        "in/b.jsonl",
        "in/a.jsonl",
        "in/deep/c.jsonl",
        "in/.hidden.jsonl",
        "in/.git/x.py",
        "z.jsonl",
    ):
        write_file(name, "{}")
    paths = (str(tmp_path / "z.jsonl"), str(tmp_path / "in"), str(tmp_path / "*.jsonl"))
    assert [file.name for file in source_files(paths)] == ["z.jsonl", "a.jsonl", "b.jsonl", "c.jsonl"]


def test_a_hidden_file_named_by_itself_is_read(write_file):
    path = write_file(".hidden.jsonl", "{}")
    assert [file.path for file in source_files([str(path)])] == [path]


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(write_file):
    path = write_file("a[1].jsonl", "{}")
    assert [file.path for file in source_files([str(path)])] == [path]


def test_equal_names_are_told_apart_by_their_folders(write_file, tmp_path):
    for name in ("x/train.jsonl", "y/train.jsonl"):
        write_file(name, "{}")
    files = source_files([str(tmp_path)])
    assert [file.name for file in files] == ["x/train.jsonl", "y/train.jsonl"]
    assert [file.stem for file in files] == ["x/train", "y/train"]


def test_equal_stems_are_told_apart_by_their_suffixes(write_file, tmp_path):
    for name in ("train.csv", "train.jsonl", "other.jsonl.gz"):
        write_file(name, "{}")
    assert [file.stem for file in source_files([str(tmp_path)])] == ["other", "train.csv", "train.jsonl"]


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("gone.jsonl", "no such file or folder"),
        ("gone*.jsonl", "no file matches this pattern"),
        ("empty", "no files in this folder"),
        ("mixed", "name the files of the folder with a pattern"),
        ("mixed/build.py", "suffix '.py' is not a kind of file that can be read"),
    ],
)
def test_paths_that_name_nothing_readable(write_file, tmp_path, path, part):
    write_file("empty/.keep", "")
    write_file("mixed/build.py", "")
    write_file("mixed/a.jsonl", "{}")
    with pytest.raises(DataError) as caught:
        source_files([str(tmp_path / path)])
    assert part in str(caught.value)
    assert path.split("/")[0] in str(caught.value)
