"""The records of a data file: .jsonl, .json (a list), .csv and .tsv, plain or .gz."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.errors import DataError, EvaluateError
from tunesmith.files import open_text, read_jsonl

DELIMITERS = {".csv": ",", ".tsv": "\t"}


def read_records(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(place, record) of each record; raises DataError or EvaluateError at file:line."""
    kind = next((suffix for suffix in reversed(path.suffixes) if suffix != ".gz"), "")
    if kind == ".jsonl":
        found: Iterator[tuple[int, Any]] = read_jsonl(path)
    elif kind == ".json":
        found = enumerate(_json_list(path), 1)
    elif kind in DELIMITERS:
        found = _table(path, DELIMITERS[kind])
    else:
        raise EvaluateError(f"{path}: a benchmark's data is .jsonl, .json, .csv or .tsv, plain or .gz")
    for number, record in found:
        if not isinstance(record, dict):
            raise EvaluateError(f"{path}:{number}: a record is an object with named fields, not {record!r:.80}")
        yield f"{path}:{number}", record


def read_rows(path: Path) -> list[list[str]]:
    """The rows of a table whose first line need not name its columns."""
    kind = next((suffix for suffix in reversed(path.suffixes) if suffix != ".gz"), "")
    with _opened(path) as file:
        return [row for row in csv.reader(file, delimiter=DELIMITERS.get(kind, ",")) if row]


def wanted(record: Mapping[str, Any], names: Sequence[str], place: str) -> Any:
    """The value of the first of `names` that the record has; raises EvaluateError where it has none."""
    for name in names:
        if record.get(name) is not None:
            return record[name]
    raise EvaluateError(f"{place}: the record has none of the fields {', '.join(names)}; it has {', '.join(record)}")


def wanted_text(record: Mapping[str, Any], names: Sequence[str], place: str) -> str:
    """As `wanted`, for a text that is not empty."""
    value = wanted(record, names, place)
    if not isinstance(value, str) or not value.strip():
        raise EvaluateError(f"{place}: {names[0]} must be a text, not {value!r:.80}")
    return value


def _opened(path: Path) -> Any:
    try:
        return open_text(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None


def _json_list(path: Path) -> list[Any]:
    with _opened(path) as file:
        try:
            found = json.load(file)
        except ValueError as error:
            raise DataError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(found, list):
        raise EvaluateError(f"{path}: expected a list of records, not {type(found).__name__}")
    return found


def _table(path: Path, delimiter: str) -> Iterator[tuple[int, dict[str, Any]]]:
    with _opened(path) as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        for record in reader:
            yield reader.line_num, record
