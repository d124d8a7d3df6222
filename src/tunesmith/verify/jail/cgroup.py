"""A control group for one jail: a bound on the memory and processes of all of it, where this user may make one.

Version 1 (root) and version 2 (root, or a user to whom systemd delegated a part of the tree). Elsewhere the limits
of each process and their number are what bounds memory.
"""

import contextlib
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
REMOVE_SECONDS = 5.0
# An OOM kill is for the whole jail; swap would make the bound a slow one.
FILES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "v1": (
        ("memory", "memory.limit_in_bytes"),
        ("memory", "memory.memsw.limit_in_bytes"),
        ("pids", "pids.max"),
    ),
    "v2": (("", "memory.max"), ("", "pids.max"), ("", "memory.swap.max"), ("", "memory.oom.group")),
}
OPTIONAL = ("memory.memsw.limit_in_bytes", "memory.swap.max", "memory.oom.group")


@dataclass(frozen=True, slots=True)
class Cgroup:
    """Where a jail's processes enter (`entrances`: files that take a process id), and its folders."""

    folders: tuple[Path, ...]

    @property
    def entrances(self) -> tuple[str, ...]:
        return tuple(str(folder / "cgroup.procs") for folder in self.folders)

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel ended a process of this group for want of memory."""
        for folder in self.folders:
            for name in ("memory.events", "memory.oom_control"):
                with contextlib.suppress(OSError):
                    counts = dict(line.split() for line in (folder / name).read_text().splitlines())
                    if int(counts.get("oom_kill", 0)):
                        return True
        return False


@contextmanager
def cgroup(memory_bytes: int, processes: int) -> Iterator[Cgroup | None]:
    """A new group with these bounds, gone afterwards; None where this user cannot make one."""
    parents = _parents()
    if parents is None:
        yield None
        return
    name = f"tunesmith-{os.getpid()}-{uuid.uuid4().hex[:12]}"
    group = Cgroup(tuple(parent / name for parent in parents))
    try:
        yield group if _make(group, memory_bytes, processes) else None
    finally:
        _remove(group)


@cache
def has_cgroup() -> bool:
    """Whether this user can bound all processes of a jail together."""
    with cgroup(1 << 26, 16) as group:
        return group is not None


@cache
def _parents() -> tuple[Path, ...] | None:
    """The folders in which a group can be made: one for version 2, one a controller for version 1."""
    try:
        lines = [line.split(":", 2) for line in OWN.read_text().splitlines()]
    except OSError:
        return None
    own = {controller: path for _, names, path in lines for controller in names.split(",")}
    if "memory" in own and "pids" in own:
        candidates = tuple(_existing(ROOT / name, own[name]) for name in ("memory", "pids"))
    else:
        # In version 2 a group with processes cannot have children with bounds: a sibling can.
        here = _existing(ROOT, own.get("", "/"))
        candidates = (here if here == ROOT else here.parent,)
        with contextlib.suppress(OSError):
            if not {"memory", "pids"} <= set((candidates[0] / "cgroup.subtree_control").read_text().split()):
                return None
    return candidates if all(os.access(parent, os.W_OK) for parent in candidates) else None


def _existing(root: Path, path: str) -> Path:
    """Inside a container the path may be the host's; then the root is where this process is."""
    folder = root / path.lstrip("/")
    return folder if folder.is_dir() else root


def _make(group: Cgroup, memory_bytes: int, processes: int) -> bool:
    version = "v1" if len(group.folders) == 2 else "v2"
    values = {"pids.max": processes, "memory.swap.max": 0, "memory.oom.group": 1}
    try:
        for folder in group.folders:
            folder.mkdir()
        for controller, name in FILES[version]:
            folder = group.folders[1 if controller == "pids" else 0]
            if name in OPTIONAL and not (folder / name).exists():
                continue
            (folder / name).write_text(str(values.get(name, memory_bytes)))
    except OSError:
        return False
    return True


def _remove(group: Cgroup) -> None:
    """The kernel takes a moment to bury the last process."""
    deadline = time.monotonic() + REMOVE_SECONDS
    for folder in group.folders:
        while folder.is_dir() and time.monotonic() < deadline:
            try:
                folder.rmdir()
            except OSError:
                time.sleep(0.005)
