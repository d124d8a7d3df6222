"""Files: JSON lines in and out, atomic writes, fingerprints, and the run folder.

A stage's folder ends with `manifest.json`, written last: a folder with a manifest is done, one without is not.
"""

import gzip
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel

from tunesmith.errors import DataError, TunesmithError

MANIFEST = "manifest.json"


def to_plain(value: Any) -> Any:
    """Dataclasses, configs, paths and numpy values as plain JSON types."""
    if is_dataclass(value) and not isinstance(value, type):
        return to_plain(asdict(value))
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): to_plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(inner) for inner in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    return value


def canonical_json(value: Any) -> str:
    """One spelling for equal values: sorted keys, no spaces, non-ASCII as it is."""
    return json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def fingerprint(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`, shortened to 16 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Full SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path, suffixes: tuple[str, ...] = ()) -> str:
    """Full SHA-256 over the relative names and contents of the files in `folder`, manifests left out; only of those
    with one of `suffixes` where these are given."""
    found = [path for path in folder.rglob("*") if path.is_file() and (not suffixes or path.suffix in suffixes)]
    names = sorted(path.relative_to(folder).as_posix() for path in found)
    listed = {name: file_digest(folder / name) for name in names if name != MANIFEST}
    return hashlib.sha256(canonical_json(listed).encode()).hexdigest()


@contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Write `path` whole or not at all: a temporary neighbor, synced to disk, then renamed over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    encoding = None if "b" in mode else "utf-8"
    try:
        with temporary.open(mode, encoding=encoding) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Fill a temporary neighbor folder and rename it to `path` when the block ends well.

    An existing `path` is replaced. A block that raises leaves `path` as it was, and so does a killed process, but
    for the instant between the two renames of a replacement, in which `path` is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        _sync_files(temporary)
        if path.exists():
            old = path.with_name(f".{path.name}.{os.getpid()}.old")
            path.rename(old)
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_leftovers(path: Path) -> None:
    """Remove what killed processes left beside `path`: temporary neighbors whose process is gone."""
    for leftover in path.parent.glob(f".{path.name}.*"):
        pid, _, kind = leftover.name.removeprefix(f".{path.name}.").partition(".")
        if kind in ("tmp", "old") and pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc").is_dir():
            shutil.rmtree(leftover, ignore_errors=True)


def _sync_files(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Atomically write readable JSON."""
    with atomic_write(path) as file:
        json.dump(to_plain(value), file, indent=2, ensure_ascii=False)
        file.write("\n")


def read_json(path: Path) -> Any:
    """Read one JSON file; raises DataError naming the file and line when it is broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not valid JSON ({error.msg}); mend or delete it") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error}); mend or delete it") from None


def open_text(path: Path) -> IO[str]:
    """Open a text file for reading; `.gz` is decompressed on the way."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def read_jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (line number from 1, value) of each non-empty line; raises DataError at file:line."""
    try:
        with open_text(path) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, json.loads(line)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{number}: not valid JSON ({error.msg}); one JSON object a line") from None
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error}); it may be damaged or cut short") from None


def write_jsonl(path: Path, values: Iterable[Any]) -> int:
    """Atomically write one JSON object a line; returns how many."""
    count = 0
    with atomic_write(path) as file:
        for value in values:
            file.write(json.dumps(to_plain(value), ensure_ascii=False) + "\n")
            count += 1
    return count


class StageFolder:
    """One stage's folder inside a run: done when its manifest matches the fingerprint of its inputs."""

    def __init__(self, path: Path, stage: str) -> None:
        self.path = path
        self.stage = stage
        self._started = time.monotonic()

    def manifest(self) -> dict[str, Any] | None:
        """The manifest, or None when the stage has not finished here."""
        path = self.path / MANIFEST
        return read_json(path) if path.exists() else None

    def is_done(self, inputs: str) -> bool:
        manifest = self.manifest()
        return manifest is not None and manifest.get("fingerprint") == inputs

    def begun_on(self) -> str | None:
        """The inputs of the work that the folder holds, finished or not; None where there is none."""
        note = self.path / ".inputs"
        return note.read_text() if note.is_file() else None

    def open(self, inputs: str) -> Path:
        """Make the folder ready for work on `inputs`.

        Unfinished work on the same inputs stays, to be resumed; work on other inputs moves to a sibling folder
        `replaced/`, so that nothing is lost.
        """
        note = self.path / ".inputs"
        if self.path.exists() and self.begun_on() != inputs:
            attic = self.path.parent / "replaced" / f"{self.path.name}-{time.time_ns() // 1_000_000}"
            attic.parent.mkdir(exist_ok=True)
            self.path.rename(attic)
        self.path.mkdir(parents=True, exist_ok=True)
        if not note.exists():
            with atomic_write(note) as file:
                file.write(inputs)
        (self.path / MANIFEST).unlink(missing_ok=True)
        self._started = time.monotonic()
        return self.path

    def finish(self, inputs: str, **facts: Any) -> dict[str, Any]:
        """Write the manifest, last of all."""
        seconds = round(time.monotonic() - self._started, 2)
        manifest = {"stage": self.stage, "fingerprint": inputs, "seconds": seconds, **facts}
        write_json(self.path / MANIFEST, manifest)
        return manifest


class RunDir:
    """`runs/NAME/`: the interface between stages, studies, faces and a person with a pager."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def stage(self, name: str) -> StageFolder:
        """The folder of a stage, or of a part of one such as `evaluate/base`."""
        return StageFolder(self.path / name, name)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run folder alone; a second process gets a clear error. The system frees it on any death."""
        import fcntl

        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise TunesmithError(
                    f"{self.path}: another tunesmith process is working in this run folder. "
                    "Wait for it, or give this run another name with --set name=..."
                ) from None
            yield
