"""Run one command, read a bounded part of what it prints, and end it and all it started."""

import contextlib
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.verify.jail.watch import LOOK_SECONDS

READ_BYTES = 65536
# After the end or the kill: how long what was printed may still be on its way.
DRAIN_SECONDS = 5.0
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
    seconds: float,
    output_bytes: int,
    pass_fds: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
    kill: Callable[[], None] | None = None,
    watch: Callable[[int], bool] | None = None,
) -> Ended:
    """Run `command` with `given` as its standard input and an empty environment.

    It is killed when `seconds` have passed or when either output stream exceeds `output_bytes`; `kill` is called
    first where killing the process is not enough, and `watch` looks now and then whether it takes too much memory.
    Raises OSError where the command cannot be started.
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
        stdout, stderr, cut = _read(process, began + seconds, output_bytes, watch)
        if cut is not None:
            _end(process, kill)
        exit_code = process.wait(timeout=DRAIN_SECONDS)
    except BaseException:
        _end(process, kill)
        raise
    finally:
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    return Ended(stdout, stderr, exit_code, cut, time.monotonic() - began)


def _read(
    process: subprocess.Popen[bytes], deadline: float, output_bytes: int, watch: Callable[[int], bool] | None
) -> tuple[bytes, bytes, str | None]:
    """What both streams hold until they close and the process has ended, or until it must be cut."""
    assert process.stdout is not None and process.stderr is not None
    texts = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    cut = None
    with selectors.DefaultSelector() as waiting:
        for stream in texts:
            waiting.register(stream, selectors.EVENT_READ)
        while cut is None and (waiting.get_map() or process.poll() is None):
            _take(waiting, texts, _pause(waiting, deadline, watch is not None))
            if any(len(text) > output_bytes for text in texts.values()):
                cut = "output"
            elif time.monotonic() > deadline:
                cut = "time"
            elif watch is not None and watch(process.pid):
                cut = "memory"
    out, err = (bytes(text[:output_bytes]) for text in texts.values())
    return out, err, cut


def _pause(waiting: selectors.BaseSelector, deadline: float, is_watched: bool) -> float:
    """Until when to wait for output: a look at memory, or at a program that closed its output, comes earlier."""
    left = max(0.0, deadline - time.monotonic())
    return min(left, LOOK_SECONDS) if is_watched or not waiting.get_map() else left


def _take(waiting: selectors.BaseSelector, texts: dict[int, bytearray], seconds: float) -> None:
    if not waiting.get_map():
        time.sleep(min(seconds, CLOSED_SECONDS))
        return
    for key, _ in waiting.select(seconds):
        block = os.read(key.fd, READ_BYTES)
        texts[key.fd] += block
        if not block:
            waiting.unregister(key.fd)


def _end(process: subprocess.Popen[bytes], kill: Callable[[], None] | None) -> None:
    if kill is not None:
        kill()
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=DRAIN_SECONDS)
