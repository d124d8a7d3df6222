"""The first thing that runs inside the jail: give up what is left of power, set the limits, become the program.

Only the standard library: this file's text travels into the jail, where the project cannot be imported. It reads
the program from its standard input, so that no file in the jail holds it.
"""

import json
import os
import resource
import sys
from typing import Any

MIB = 1024 * 1024


def enter(settings: dict[str, Any]) -> None:
    """Become another user (where this is root), bound this process and its children, run the program."""
    program = sys.stdin.buffer.read()
    _no_inherited_files()
    os.write(2, settings["mark"].encode())
    _limit(resource.RLIMIT_NPROC, settings["processes"])
    if settings["user"] is not None:
        os.setgroups([])
        os.setresgid(settings["user"], settings["user"], settings["user"])
        os.setresuid(settings["user"], settings["user"], settings["user"])
    _limit(resource.RLIMIT_CORE, 0)
    # The soft limit names itself by its signal; who ignores that is killed a second later.
    resource.setrlimit(resource.RLIMIT_CPU, (settings["cpu_seconds"], settings["cpu_seconds"] + 1))
    _limit(resource.RLIMIT_AS, settings["memory_mib"] * MIB)
    _limit(resource.RLIMIT_FSIZE, settings["scratch_mib"] * MIB)
    _limit(resource.RLIMIT_NOFILE, settings["files"])
    _limit(resource.RLIMIT_MEMLOCK, 0)
    for name in ("RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_SIGPENDING"):
        if hasattr(resource, name):
            _limit(getattr(resource, name), 64 if name == "RLIMIT_SIGPENDING" else 0)
    if os.getpid() == 1:
        _leave_to_a_child()
    os.environ.clear()
    sys.argv[:] = ["program.py"]
    exec(compile(program, "program.py", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})


def _leave_to_a_child() -> None:
    """The first process of a container is spared by most signals; the program must not be."""
    child = os.fork()
    if child == 0:
        return
    ended = 0
    while ended != child:
        ended, status = os.wait()
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _no_inherited_files() -> None:
    """Nothing but an empty standard input and the two output pipes."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.closerange(3, 4096)


def _limit(which: int, value: int) -> None:
    """Both limits, so that it cannot be raised again; a lower one that is already there stays."""
    hard = resource.getrlimit(which)[1]
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (bound, bound))


if __name__ == "__main__":
    enter(json.loads(sys.argv[1]))
