"""Logs of Inspect (inspect_ai): one .json file, or an .eval archive with header.json and samples/ID_epoch_N.json.

Each scorer becomes a task named TASK_SCORER, and each key of a scorer that gives several values TASK_SCORER_KEY. An
item's value is the mean over its epochs.
"""

import json
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunesmith.errors import EvaluateError, MissingExtra
from tunesmith.evaluate.logs import Log, broken, mean_of, plain_name, task_report, text_of
from tunesmith.files import fingerprint
from tunesmith.types import Report, Sample

LETTERS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
"""Inspect's grades (correct, incorrect, partial, no answer), and the words that it reads as 1 and 0."""
ZSTANDARD = 93
"""The number of its method in a zip archive."""
MOST_BYTES = 256 * 2**20
"""One member of an archive may unpack to at most so many bytes."""
Values = dict[str, dict[str, list[float | None]]]
"""Task -> item -> the value of each epoch, in the order of the log."""


def read_inspect(path: Path) -> Log:
    """The report of one log; raises EvaluateError where the run did not finish."""
    header, rows = _archive(path) if path.suffix == ".eval" else _single(path)
    try:
        spec, status = header["eval"], header.get("status")
        if status != "success":
            raise EvaluateError(f"{path}: the run that wrote this log ended with {status!r}; finish it first")
        task = str(spec["task"]).rpartition("/")[2]
        values: Values = {}
        content: dict[str, str] = {}
        samples = []
        for row in rows:
            item = str(row["id"])
            content[item] = fingerprint([_messages(row["input"]), row["target"], row.get("choices")])
            for name, value, score in _scores(row):
                full = plain_name(task, name)
                values.setdefault(full, {}).setdefault(item, []).append(value)
                samples.append(_sample(full, item, row, value, score))
    except (KeyError, TypeError, AttributeError) as error:
        raise broken(path, repr(error)) from None
    if not values:
        raise EvaluateError(f"{path}: this log has no scored samples; run Inspect without --no-log-samples")
    reports = tuple(
        task_report(name, {item: mean_of(found.get(item, ())) for item in content}, content, f"{name}, by Inspect")
        for name, found in values.items()
    )
    return Log(_report(spec, reports), tuple(samples))


def _report(spec: Mapping[str, Any], reports: tuple[Any, ...]) -> Report:
    model = str(spec["model"])
    seen = [model, spec.get("model_args"), spec.get("model_base_url")]
    version = (spec.get("packages") or {}).get("inspect_ai", "")
    return Report(model, f"inspect:{fingerprint(seen)}", reports, f"inspect {version}".strip())


def _single(path: Path) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    try:
        data = json.loads(path.read_bytes())
    except ValueError as error:
        raise broken(path, error) from None
    if not isinstance(data, dict) or "eval" not in data:
        raise broken(path, "neither a report of `tunesmith evaluate` nor a log of Inspect")
    return data, iter(data.get("samples") or ())


def _archive(path: Path) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted({name for name in archive.namelist() if name.startswith("samples/")})
            header = _member(archive, "header.json")
    except (zipfile.BadZipFile, KeyError) as error:
        raise broken(path, f"{error}; an archive without header.json is of a run that did not finish") from None
    except (NotImplementedError, ValueError, OSError, struct.error) as error:
        raise broken(path, f"{error}; `inspect log convert --to json` writes one that can be read") from None
    return header, _members(path, names)


def _members(path: Path, names: list[str]) -> Iterator[dict[str, Any]]:
    """The samples, one in memory at a time, those of an item in the order of their epochs."""
    with zipfile.ZipFile(path) as archive:
        for name in names:
            try:
                yield _member(archive, name)
            except (ValueError, NotImplementedError, OSError, struct.error, zipfile.BadZipFile) as error:
                raise broken(path, f"{name}: {error}") from None


def _member(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    info = archive.getinfo(name)
    if info.file_size > MOST_BYTES:
        raise ValueError(f"{name} unpacks to {info.file_size:,} bytes, and at most {MOST_BYTES:,} are read")
    data = json.loads(_unpacked(archive, info))
    if not isinstance(data, dict):
        raise ValueError(f"{name} is no JSON object")
    return data


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """The bytes of a member. Inspect compresses with Zstandard since 2026, which zipfile knows from Python 3.14 on."""
    if info.compress_type != ZSTANDARD:
        with archive.open(info) as file:
            return file.read(MOST_BYTES)
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtra("pyarrow", "parquet", "reading this archive of Inspect") from error
    # The packed bytes follow the member's own header: 30 bytes, the last four of which say how long name and extra are.
    with Path(str(archive.filename)).open("rb") as file:
        file.seek(info.header_offset)
        file.seek(sum(struct.unpack("<26x2H", file.read(30))), 1)
        packed = file.read(info.compress_size)
    with pyarrow.CompressedInputStream(pyarrow.BufferReader(packed), "zstd") as stream:
        found: bytes = stream.read(info.file_size + 1)
    if len(found) != info.file_size or zlib.crc32(found) != info.CRC:
        raise zipfile.BadZipFile(f"{info.filename} is damaged")
    return found


def _scores(row: Mapping[str, Any]) -> Iterator[tuple[str, float | None, Mapping[str, Any]]]:
    """(scorer, value, score) of one sample; a sample that stopped with an error has no value."""
    for scorer, score in (row.get("scores") or {}).items():
        value = score["value"]
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for key, part in parts:
            yield plain_name(scorer, key), None if row.get("error") else _value(part), score


def _value(value: Any) -> float | None:
    """As Inspect reads it: grades, words, numbers and numbers in text; None for NaN, its mark of "not scored"."""
    if isinstance(value, str):
        known = LETTERS.get(value, LETTERS.get(value.lower()))
        if known is not None:
            return known
        try:
            value = float(value)
        except ValueError:
            return None
    return float(value) if isinstance(value, bool | int | float) and math.isfinite(value) else None


def _messages(value: Any) -> Any:
    """A prompt without what differs from run to run, such as the ids of its messages."""
    if isinstance(value, list):
        return [[each.get("role"), each.get("content")] for each in value]
    return value


def _sample(task: str, item: str, row: Mapping[str, Any], value: float | None, score: Mapping[str, Any]) -> Sample:
    output = row.get("output") or {}
    choices = output.get("choices") or [{}]
    reason = choices[0].get("stop_reason", "stop")
    answer = output.get("completion") or (choices[0].get("message") or {}).get("content") or ""
    return Sample(
        task=task,
        item_id=item,
        cluster=item,
        prompt=_prompt(row["input"]),
        expected=text_of(row["target"]),
        completion=text_of(answer),
        num_tokens=int((output.get("usage") or {}).get("output_tokens") or 0),
        stopped=reason not in ("max_tokens", "model_length"),
        score=math.nan if value is None else value,
        explanation=str(score.get("explanation") or score.get("answer") or ""),
        rule=task,
        number=int(row.get("epoch") or 1) - 1,
    )


def _prompt(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(f"{each.get('role')}: {text_of(each.get('content'))}" for each in value)
    return text_of(value)
