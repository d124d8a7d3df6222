"""What a jailed program may use, and how its run ended."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one run. `memory_mib` is for each process, and for all together where a control group is to be had."""

    wall_seconds: float = 30.0
    cpu_seconds: int = 10
    memory_mib: int = 512
    scratch_mib: int = 32
    processes: int = 32
    files: int = 64
    output_bytes: int = 64 * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a jailed program ended.

    `exit_code` is its own, or None where it was killed. `killed_by` is "time" (the wall clock), "cpu", "memory",
    "output" or "signal N"; None where it ended by itself.
    """

    stdout: str
    stderr: str
    exit_code: int | None
    killed_by: str | None
    seconds: float

    @property
    def timed_out(self) -> bool:
        return self.killed_by in ("time", "cpu")
