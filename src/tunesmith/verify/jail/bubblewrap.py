"""The jail made by bubblewrap: namespaces of its own, almost nothing to see, nothing to write but a small folder."""

import json
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from tunesmith.verify.jail.cgroup import cgroup
from tunesmith.verify.jail.interpreter import Interpreter, interpreter
from tunesmith.verify.jail.limits import Limits
from tunesmith.verify.jail.process import Ended, run_command
from tunesmith.verify.jail.seccomp import seccomp_filter
from tunesmith.verify.jail.watch import memory_watch

SCRATCH = "/tmp"
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
# bwrap and its own init, which count as processes of the control group.
OVERHEAD_PROCESSES = 3
OVERHEAD_BYTES = 32 * 1024 * 1024
# Root becomes one of these users inside, another for each jail: they own nothing and share no process count.
FIRST_USER, NUM_USERS = 1_900_000_000, 2**20
# The shell only enters the control groups, so that all that follows is born in them.
ENTER = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit 125; shift; done; shift; exec "$@"'


def bubblewrap_path() -> str | None:
    """Where bwrap is, if it is installed."""
    return shutil.which("bwrap")


def run_in_bubblewrap(program: bytes, limits: Limits, mark: str) -> tuple[Ended, bool]:
    """Run a program in a jail of its own; the second value says whether memory ran out for all of it."""
    bwrap = bubblewrap_path()
    if bwrap is None:
        raise FileNotFoundError("bwrap")
    memory = limits.memory_mib * 1024 * 1024 + OVERHEAD_BYTES
    filter_fd = _filter_pipe()
    try:
        with cgroup(memory, limits.processes + OVERHEAD_PROCESSES) as group:
            command = [bwrap, *_walls(limits, filter_fd), "--", *_inside(limits, mark)]
            if group is not None:
                command = ["/bin/sh", "-c", ENTER, "sh", *group.entrances, "--", *command]
            ended = run_command(
                command,
                program,
                mark,
                limits,
                pass_fds=[] if filter_fd is None else [filter_fd],
                watch=memory_watch(memory) if group is None else None,
            )
            return ended, group is not None and group.ran_out_of_memory()
    finally:
        if filter_fd is not None:
            os.close(filter_fd)


def _walls(limits: Limits, filter_fd: int | None) -> list[str]:
    view = interpreter()
    walls = [*_namespaces(), "--die-with-parent", "--new-session", "--clearenv", "--hostname", "jail"]
    walls += ["--cap-drop", "ALL"]
    if _is_root():
        walls += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    walls += _files(view)
    walls += ["--perms", "1777", "--size", str(limits.scratch_mib * 1024 * 1024), "--tmpfs", SCRATCH]
    walls += ["--perms", "0755", "--dir", "/dev"]
    for device in DEVICES:
        walls += ["--dev-bind", device, device]
    walls += ["--symlink", SCRATCH, "/dev/shm", "--remount-ro", "/", "--chdir", SCRATCH]
    return walls if filter_fd is None else [*walls, "--seccomp", str(filter_fd)]


def _namespaces() -> list[str]:
    """All of them; root keeps the user namespace, in which it can become a user without any rights at all."""
    if not _is_root():
        return ["--unshare-all", "--unshare-user"]
    return ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]


def _files(view: Interpreter) -> list[str]:
    """Open the way to what is readable (bwrap gives folders on it the modes they have outside), then bind it."""
    files: list[str] = []
    on_the_way = {str(parent) for path in view.readable for parent in Path(path).parents} - {"/"}
    for folder in sorted(on_the_way):
        files += ["--perms", "0755", "--dir", folder]
    for path in view.readable:
        files += ["--ro-bind", path, path]
    for target, place in view.links:
        files += ["--symlink", target, place]
    for folder in view.covered:
        files += ["--tmpfs", folder, "--remount-ro", folder]
    return files


def _inside(limits: Limits, mark: str) -> Sequence[str]:
    user = FIRST_USER + secrets.randbelow(NUM_USERS) if _is_root() else None
    return [interpreter().binary, *inside_arguments(limits, mark, user)]


def inside_arguments(limits: Limits, mark: str, user: int | None) -> list[str]:
    """The arguments of Python that make it enter the jail: isolated mode, no site packages, UTF-8.

    It says `mark` on its standard error first, so that a jail that did not come up is told from a program that fails.
    """
    source = (Path(__file__).parent / "inside.py").read_text(encoding="utf-8")
    settings = {
        "mark": mark,
        "user": user,
        "cpu_seconds": limits.cpu_seconds,
        "memory_mib": limits.memory_mib,
        "scratch_mib": limits.scratch_mib,
        "processes": limits.processes,
        "files": limits.files,
    }
    return ["-I", "-S", "-B", "-X", "utf8", "-c", source, json.dumps(settings)]


def _filter_pipe() -> int | None:
    """The reading end of a pipe that holds the seccomp filter."""
    content = seccomp_filter()
    if content is None:
        return None
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(content)
    return reading


def _is_root() -> bool:
    return os.geteuid() == 0
