"""Append-only JSON lines that survive a killed writer and serve several at once.

A line counts once its newline is on disk. What a killed writer left after the last whole line is ignored by
readers and removed by the next writer.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunesmith.errors import PoolError


def now() -> str:
    """The time in UTC, as ISO 8601 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@contextmanager
def locked(pool: Path) -> Iterator[None]:
    """Hold the pool alone while it changes; others wait. The system frees the lock when the process dies."""
    import fcntl

    pool.mkdir(parents=True, exist_ok=True)
    with (pool / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole lines; none when there is no file. Raises PoolError when a line before the last is broken."""
    return _whole(path)[0]


def append_line(path: Path, line: dict[str, Any]) -> None:
    """Append one line and sync it to disk; call it under `locked`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _, length = _whole(path)
    with path.open("ab") as file:
        file.truncate(length)
        file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(path.parent)


def _whole(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The whole lines, and how many bytes they take."""
    content = path.read_bytes() if path.exists() else b""
    rows = content.split(b"\n")[:-1]
    lines: list[dict[str, Any]] = []
    length = 0
    for number, row in enumerate(rows, 1):
        line = _parse(row)
        if line is None and number < len(rows):
            raise PoolError(f"{path}:{number}: not a JSON object; restore this line from a backup or delete it")
        if line is not None:
            lines.append(line)
            length += len(row) + 1
    return lines, length


def _parse(row: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(row)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
