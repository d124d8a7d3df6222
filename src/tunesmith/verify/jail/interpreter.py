"""What a Python interpreter needs of the file system, and nothing besides.

The jail sees the interpreter's binary, its standard library and the system's shared libraries, all read-only.
Installed packages under these folders are covered, so that neither the project nor its data can be read.
"""

import os
import sys
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SYSTEM_LIBRARIES = ("/lib", "/lib64", "/lib32", "/usr/lib", "/usr/lib64", "/usr/lib32")
LINKER_FILES = ("/etc/ld.so.cache",)
INSTALLED = ("site-packages", "dist-packages")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """Paths of this process's own Python, outside of any virtual environment."""

    binary: str
    readable: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    covered: tuple[str, ...]


@cache
def interpreter() -> Interpreter:
    """The interpreter of this process: `readable` files and folders, `links` (target, place), `covered` folders."""
    binary = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    base = Path(sys.base_prefix).resolve()
    folders = [str(base / name) for name in (sys.platlibdir, "lib")]
    folders += [os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
    folders += [path for path in SYSTEM_LIBRARIES if os.path.isdir(path) and not os.path.islink(path)]
    readable = _outermost([path for path in folders if os.path.isdir(path)])
    files = [path for path in (binary, *LINKER_FILES) if os.path.isfile(path) and not _inside(path, readable)]
    links = [(os.readlink(path), path) for path in SYSTEM_LIBRARIES if os.path.islink(path)]
    return Interpreter(binary, (*readable, *files), tuple(links), tuple(_covered(readable)))


def _covered(folders: list[str]) -> list[str]:
    """Folders of installed packages, of this Python or another, and this package wherever it is."""
    found = [
        str(place)
        for folder in folders
        for pattern in ("python*", "*/python*")
        for python in Path(folder).glob(pattern)
        for place in ([python / name for name in INSTALLED] if python.name != "python3" else [python])
        if place.is_dir() and not place.is_symlink()
    ]
    inside = [str(Path(folder) / name) for folder in folders for name in INSTALLED if (Path(folder) / name).is_dir()]
    package = str(Path(__file__).resolve().parents[2])
    return _outermost(found + inside + ([package] if _inside(package, folders) else []))


def _outermost(paths: list[str]) -> list[str]:
    """Without those that lie inside another."""
    unique = list(dict.fromkeys(paths))
    return [path for path in unique if not _inside(path, [other for other in unique if other != path])]


def _inside(path: str, folders: list[str]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)
