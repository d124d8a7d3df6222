"""Compiles `native.cpp` with the machine's own C++ compiler, once for each source, set of flags, compiler and CPU.

The library stands in the cache under the digest of those four. Its last 32 bytes are the SHA-256 of what is before
them (a loader ignores what follows a library), so that a torn file is never loaded. It is written beside its place
and renamed: processes that build at the same time end with one whole file.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from tunesmith.files import fingerprint
from tunesmith.model import cache_folder

SOURCE = Path(__file__).with_name("native.cpp")
COMPILERS = ("g++", "clang++")
BUILD_SECONDS = 120.0
# -ffast-math is left out on purpose: see the head of native.cpp.
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-shared", "-fPIC")
_DIGEST_BYTES = 32


class CannotBuildError(Exception):
    """There is no library, for the reason given; never seen outside the kernels."""


def library() -> Path:
    """The compiled kernels, built if they are not in the cache. Raises CannotBuildError with one line of reason."""
    path = cache_folder() / "kernels" / f"{_name()}.so"
    try:
        if not is_whole(path):
            _build(path)
    except OSError as error:
        raise CannotBuildError(f"{path.parent}: cannot be written ({error})") from error
    return path


def is_whole(path: Path) -> bool:
    """Whether the file is there, to its last byte."""
    if not path.is_file():
        return False
    content = path.read_bytes()
    return hashlib.sha256(content[:-_DIGEST_BYTES]).digest() == content[-_DIGEST_BYTES:]


def _name() -> str:
    """The digest of everything that the library depends on."""
    compiler = _compiler()
    version = _run([compiler, "--version"])
    return fingerprint([SOURCE.read_text(encoding="utf-8"), _flags(), compiler, version, _processor()])


def _compiler() -> str:
    found = next(filter(None, map(shutil.which, COMPILERS)), None)
    if found is None:
        raise CannotBuildError(f"no C++ compiler found ({' or '.join(COMPILERS)})")
    return found


def _flags() -> tuple[str, ...]:
    return (*FLAGS, "-march=native" if platform.machine() in ("x86_64", "AMD64") else "-mcpu=native")


def _processor() -> str:
    """What `-march=native` looks at."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    kept = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(kept)}))


def _build(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=path.parent) as scratch:
        made = Path(scratch) / path.name
        _run([_compiler(), *_flags(), str(SOURCE), "-o", str(made)])
        content = made.read_bytes()
        with made.open("ab") as file:
            file.write(hashlib.sha256(content).digest())
            file.flush()
            os.fsync(file.fileno())
        made.replace(path)


def _run(command: list[str]) -> str:
    """What a command prints. Raises CannotBuildError with its complaint."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotBuildError(f"{command[0]} cannot be run ({error})") from error
    if done.returncode:
        complaint = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
        raise CannotBuildError(f"{command[0]} failed: {complaint.strip()[:200]}")
    return done.stdout
