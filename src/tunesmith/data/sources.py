"""Paths, folders and patterns become the list of files to read, each with a short name of its own."""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.errors import DataError

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".md", ".parquet")
NOT_GZIPPED = (".parquet",)
ACCEPTED = f"accepted: {', '.join(SUFFIXES)}, and all but .parquet with .gz behind"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to read. `name` and `stem` tell it from the others, and stay when the folder moves."""

    path: Path
    name: str
    stem: str


def kind(path: Path) -> str:
    """The suffix that says how to read a file, `.gz` left out; raises DataError for an unknown one."""
    name = path.name.lower()
    is_gzipped = name.endswith(".gz")
    suffix = Path(name.removesuffix(".gz")).suffix
    if suffix not in SUFFIXES or (is_gzipped and suffix in NOT_GZIPPED):
        seen = f"suffix {''.join(path.suffixes[-2:])!r}" if path.suffix else "no suffix"
        raise DataError(f"{path}: {seen} is not a kind of file that can be read; {ACCEPTED}")
    return suffix


def source_files(paths: Sequence[str]) -> tuple[SourceFile, ...]:
    """All files that `paths` name, in order, each once; raises DataError where one names nothing readable."""
    found: dict[Path, Path] = {}
    for pattern in paths:
        for path in _expand(pattern):
            kind(path)
            found.setdefault(path.resolve(), path)
    return _named(list(found.values()))


def _expand(pattern: str) -> Iterator[Path]:
    path = Path(pattern).expanduser()
    if path.is_dir():
        return _files_below(path)
    if path.exists():
        return iter([path])
    matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
    files = [match for match in matches if match.is_file()]
    if not files:
        what = "no file matches this pattern" if glob.has_magic(pattern) else "no such file or folder"
        raise DataError(f"{pattern}: {what} (looked from {Path.cwd()})")
    return iter(files)


def _files_below(folder: Path) -> Iterator[Path]:
    """The files of a folder and of the folders in it, without hidden ones such as `.DS_Store`."""
    below = sorted(path for path in folder.rglob("*") if path.is_file())
    files = [path for path in below if not _is_hidden(path.relative_to(folder))]
    if not files:
        raise DataError(f"{folder}: no files in this folder; {ACCEPTED}")
    for path in files:
        try:
            kind(path)
        except DataError as error:
            hint = f"name the files of the folder with a pattern instead, such as '{folder}/*.jsonl'"
            raise DataError(f"{error}; {hint}") from None
    return iter(files)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _named(paths: list[Path]) -> tuple[SourceFile, ...]:
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        resolved = [path.resolve() for path in paths]
        common = os.path.commonpath([path.parent for path in resolved])
        names = [path.relative_to(common).as_posix() for path in resolved]
    stems = [_stem(name) for name in names]
    counts = Counter(stems)
    unique = [stem if counts[stem] == 1 else name for stem, name in zip(stems, names, strict=True)]
    return tuple(SourceFile(*parts) for parts in zip(paths, names, unique, strict=True))


def _stem(name: str) -> str:
    return str(Path(name.removesuffix(".gz")).with_suffix("").as_posix())
