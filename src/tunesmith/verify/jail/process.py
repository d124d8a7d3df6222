"""Run one command, read a bounded part of what it prints, and end it and all it started."""

import contextlib
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.verify.jail.limits import Limits
from tunesmith.verify.jail.watch import LOOK_SECONDS

READ_BYTES = 65536
# The clock of a program begins when it does; a jail may take this long to be made.
START_SECONDS = 30.0
END_SECONDS = 10.0
# How often to see whether a program that closed its output has ended.
CLOSED_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. `cut` says why it was killed from outside: "time", "output", "memory" or None."""

    stdout: bytes
    stderr: bytes
    exit_code: int
    cut: str | None
    seconds: float


def run_command(
    command: Sequence[str],
    given: bytes,
    mark: str,
    limits: Limits,
    *,
    pass_fds: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
    kill: Callable[[], None] = lambda: None,
    watch: Callable[[int], bool] | None = None,
) -> Ended:
    """Run `command` with `given` as its standard input, in an environment that is empty unless given.

    It is killed when `limits.wall_seconds` have passed since it said `mark` on its standard error, when either output
    stream exceeds `limits.output_bytes`, and when `watch`, asked now and then with its process id, says that it takes
    too much memory. `kill` is called first, where killing the process is not enough. Raises OSError where the command
    cannot be started.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile() as source:
        source.write(given)
        source.seek(0)
        process = subprocess.Popen(
            list(command),
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment or {}),
            cwd="/",
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
    try:
        reader = _Reader(process, mark.encode(), limits, watch)
        cut = reader.read()
    finally:
        if process.poll() is None:
            _end(process, kill)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    stdout, stderr = reader.texts()
    return Ended(stdout, stderr, process.wait(), cut, time.monotonic() - began)


class _Reader:
    """Takes what a process prints until it has ended, or until it must be cut."""

    def __init__(
        self, process: subprocess.Popen[bytes], mark: bytes, limits: Limits, watch: Callable[[int], bool] | None
    ) -> None:
        assert process.stdout is not None and process.stderr is not None
        self.process, self.mark, self.limits, self.watch = process, mark, limits, watch
        self.stderr = process.stderr.fileno()
        self.blocks = {process.stdout.fileno(): bytearray(), self.stderr: bytearray()}
        self.deadline = time.monotonic() + START_SECONDS
        self.has_begun = False

    def read(self) -> str | None:
        """Read to the end; the reason to cut where there is one."""
        with selectors.DefaultSelector() as waiting:
            for stream in self.blocks:
                waiting.register(stream, selectors.EVENT_READ)
            while waiting.get_map() or self.process.poll() is None:
                self._take(waiting)
                reason = self._excess()
                if reason is not None:
                    return reason
        return None

    def texts(self) -> tuple[bytes, bytes]:
        """What was printed, as far as it may be long."""
        out, err = (bytes(text[: self.limits.output_bytes]) for text in self.blocks.values())
        return out, err

    def _take(self, waiting: selectors.BaseSelector) -> None:
        left = max(0.0, self.deadline - time.monotonic())
        if not waiting.get_map():
            time.sleep(min(left, CLOSED_SECONDS))
            return
        for key, _ in waiting.select(left if self.watch is None else min(left, LOOK_SECONDS)):
            block = os.read(key.fd, READ_BYTES)
            self.blocks[key.fd] += block
            if not block:
                waiting.unregister(key.fd)
        if not self.has_begun and self.mark in self.blocks[self.stderr]:
            self.has_begun = True
            self.deadline = time.monotonic() + self.limits.wall_seconds

    def _excess(self) -> str | None:
        if any(len(text) > self.limits.output_bytes for text in self.blocks.values()):
            return "output"
        if time.monotonic() > self.deadline:
            return "time"
        return "memory" if self.watch is not None and self.watch(self.process.pid) else None


def _end(process: subprocess.Popen[bytes], kill: Callable[[], None]) -> None:
    kill()
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.wait(timeout=END_SECONDS)
