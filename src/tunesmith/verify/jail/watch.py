"""Measure the memory of a process and all its descendants, where no control group bounds it.

A look every few hundredths of a second is not a wall: between two looks a process may take what its own limit allows.
"""

import os
from collections.abc import Callable
from pathlib import Path

LOOK_SECONDS = 0.05
# Pages that forked processes still share are counted for each; an interpreter holds about as much.
SHARED_BYTES = 8 * 1024 * 1024
PROC = Path("/proc")


def memory_watch(memory_bytes: int) -> Callable[[int], bool]:
    """A function of a process id: do it and its descendants hold more private memory than this?"""

    def is_exceeded(pid: int) -> bool:
        family = descendants(pid)
        return sum(map(private_bytes, family)) > memory_bytes + SHARED_BYTES * len(family)

    return is_exceeded


def descendants(pid: int) -> list[int]:
    """A process and all below it; those that end meanwhile are left out."""
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += _children(found[-1])
    return found


def private_bytes(pid: int) -> int:
    """Resident memory that belongs to no file."""
    try:
        _, resident, shared, *_ = (PROC / str(pid) / "statm").read_text().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for task in (PROC / str(pid) / "task").iterdir():
            children += map(int, (task / "children").read_text().split())
    except OSError:
        pass
    return children
