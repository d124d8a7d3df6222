"""Files become records, one at a time, each with its place in the file.

A line that cannot be read is a Record with a `problem`, so that it can be skipped and kept. Damage after
which nothing in the file can be trusted (a truncated gzip, a broken quote in a CSV) raises DataError at once.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tunesmith.data.json_text import JsonText, top_level_objects
from tunesmith.data.sources import kind
from tunesmith.errors import DataError, MissingExtra

UTF8_BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
MAX_FIELD_BYTES = 2**31 - 1
PARQUET_BATCH_ROWS = 256


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `place` follows the file name in messages; `number` tells it from its neighbors."""

    number: int
    place: str
    value: Any
    problem: str | None = None


def read_records(path: Path) -> Iterator[Record]:
    """Stream the records of one file, read as its suffix says."""
    return READERS[kind(path)](path)


def read_jsonl(path: Path) -> Iterator[Record]:
    """One JSON object a line; empty lines do not count."""
    for number, line in _lines(path):
        if line.strip():
            yield _json_record(number, line)


def _json_record(number: int, line: bytes) -> Record:
    try:
        return Record(number, f":{number}", json.loads(line.decode()))
    except UnicodeDecodeError as error:
        problem = f"{_not_utf8(error)}; save the file as UTF-8"
    except RecursionError:
        problem = "JSON nested too deeply"
    except ValueError as error:
        hint = " (a file that is one list should end in .json)" if line.lstrip()[:1] == b"[" else ""
        problem = f"not valid JSON ({error}); expected one object a line{hint}"
    return Record(number, f":{number}", line.decode(errors="backslashreplace").rstrip("\r\n"), problem)


def read_json(path: Path) -> Iterator[Record]:
    """The objects of a list, of the list under the key "data", or one after the other; streamed."""
    with _open(path) as file:
        found = top_level_objects(JsonText(path, file.read))
        for number, (line, value) in enumerate(found, 1):
            yield Record(number, f":{line}, item {number}", value)


def read_csv(path: Path) -> Iterator[Record]:
    """One record a row, the first row names the columns."""
    csv.field_size_limit(MAX_FIELD_BYTES)
    delimiter = "\t" if kind(path) == ".tsv" else ","
    reader = csv.reader(_text_lines(path), delimiter=delimiter, strict=True)
    try:
        columns = next(reader, None)
        if columns is not None:
            yield from _csv_records(path, reader, columns)
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not valid CSV ({error}); mend the quotes") from None


def _csv_records(path: Path, reader: Any, columns: list[str]) -> Iterator[Record]:
    if len(set(columns)) < len(columns) or "" in columns:
        raise DataError(f"{path}:1: the first row must name each column once; seen: {', '.join(columns)}")
    line = reader.line_num + 1
    for row in reader:
        if len(row) == len(columns):
            yield Record(line, f":{line}", dict(zip(columns, row, strict=True)))
        elif row:
            problem = f"the row has {len(row)} columns, the first row of the file has {len(columns)}"
            yield Record(line, f":{line}", row, problem)
        line = reader.line_num + 1


def read_document(path: Path) -> Iterator[Record]:
    """A whole file as one plain document."""
    text = "".join(_text_lines(path)).replace("\r\n", "\n")
    if text.strip():
        yield Record(1, "", {"text": text})


def read_parquet(path: Path) -> Iterator[Record]:
    """One record a row, in batches."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("pyarrow", "parquet", f"reading {path.name}") from None
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=PARQUET_BATCH_ROWS):
                for value in batch.to_pylist():
                    number += 1
                    yield Record(number, f":{number}", value)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable parquet file ({error})") from None


READERS: dict[str, Callable[[Path], Iterator[Record]]] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".txt": read_document,
    ".md": read_document,
    ".parquet": read_parquet,
}


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    """Open for reading bytes, `.gz` decompressed on the way; damage becomes DataError."""
    is_gzipped = path.name.lower().endswith(".gz")
    try:
        with gzip.open(path, "rb") if is_gzipped else path.open("rb") as file:
            yield file  # type: ignore[misc]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        what = f"the gzip file is truncated or damaged ({error})"
        raise DataError(f"{path}: {what}; nothing of it is used, copy or download it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, line) without the byte order mark."""
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            if number == 1 and line.startswith(UTF16_BOMS):
                raise DataError(f"{path}:1: the file is UTF-16 text; save it as UTF-8")
            yield number, line.removeprefix(UTF8_BOM) if number == 1 else line


def _text_lines(path: Path) -> Iterator[str]:
    for number, line in _lines(path):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise DataError(f"{path}:{number}: {_not_utf8(error)}; save the file as UTF-8") from None


def _not_utf8(error: UnicodeDecodeError) -> str:
    return f"not UTF-8 text (byte 0x{error.object[error.start]:02x} at column {error.start + 1})"
