"""Find a jail that works on this machine, and let it prove that it holds, before anything is run in it."""

import functools
import json
import os
import platform
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from tunesmith.errors import EvaluateError, SkippedError
from tunesmith.verify.jail.bubblewrap import bubblewrap_path
from tunesmith.verify.jail.cgroup import has_cgroup
from tunesmith.verify.jail.container import container_engine
from tunesmith.verify.jail.limits import Limits
from tunesmith.verify.jail.seccomp import seccomp_filter
from tunesmith.verify.jail.ways import Jail, run_in

ANSWER_SECONDS = 10.0
APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
LIMITS = Limits(wall_seconds=20.0, cpu_seconds=5)
# What the jail must not be able to do; it prints what it managed to.
PROGRAM = """
import json, os, socket
leaks = []
for path in {files!r}:
    try:
        open(path).read()
        leaks.append("it reads a file of yours")
    except OSError:
        pass
try:
    socket.create_connection(("127.0.0.1", {port}), timeout=2).close()
    leaks.append("it reaches the network")
except OSError:
    pass
try:
    open({neighbor!r}, "w").close()
    leaks.append("it writes beside the interpreter")
except OSError:
    pass
if os.geteuid() == 0:
    leaks.append("it runs as root")
print(json.dumps({{"nonce": {nonce!r}, "leaks": leaks}}))
"""
_lock = threading.Lock()


def find_jail() -> Jail:
    """The jail of this machine, probed once a process. Raises SkippedError with the reasons and how to mend them."""
    with _lock:
        jail, reasons = _search()
    if jail is None:
        raise SkippedError(f"no sandbox for code works here, so it is not run: {reasons}")
    return jail


@functools.cache
def _search() -> tuple[Jail | None, str]:
    jail, why_not_bubblewrap = _bubblewrap()
    if jail is None:
        jail, why_not_container = _container()
        return jail, f"{why_not_bubblewrap}; {why_not_container}"
    return jail, ""


def _bubblewrap() -> tuple[Jail | None, str]:
    if sys.platform != "linux":
        return None, f"bubblewrap is for Linux, and this is {platform.system()}"
    path = bubblewrap_path()
    if path is None:
        return None, "bubblewrap is not installed (apt-get install bubblewrap, or dnf install bubblewrap)"
    if "--size" not in _answer([path, "--help"]):
        return (
            None,
            "bubblewrap is too old (0.7 or newer is needed: Debian 12 and Ubuntu 24.04 have it)",
        )
    memory = (
        "a control group bounds the memory of all"
        if has_cgroup()
        else "memory is bounded for each process and watched for all"
    )
    calls = "rare system calls are refused" if seccomp_filter() else "system calls are not filtered on this processor"
    jail = Jail("bubblewrap", path, f"bubblewrap; {memory}; {calls}")
    problem = probe(jail)
    return (jail, "") if problem is None else (None, f"bubblewrap does not hold here: {problem}{_hint()}")


def _container() -> tuple[Jail | None, str]:
    path, reason = container_engine()
    if path is None:
        return None, reason
    jail = Jail("container", path, f"{reason}; the engine bounds the memory of all")
    problem = probe(jail)
    return (jail, "") if problem is None else (None, f"{reason} does not hold here: {problem}")


def probe(jail: Jail) -> str | None:
    """Run a program that tries to read a file, reach a server and write; what it managed, or None."""
    nonce = secrets.token_hex(16)
    with socket.create_server(("127.0.0.1", 0)) as server, tempfile.NamedTemporaryFile("w") as file:
        file.write(nonce)
        file.flush()
        os.chmod(file.name, 0o644)  # so that its mode is not what protects it
        program = PROGRAM.format(
            files=[file.name, os.path.abspath(__file__)],
            port=server.getsockname()[1],
            neighbor=os.path.join(os.path.dirname(os.__file__), "tunesmith-probe"),
            nonce=nonce,
        )
        try:
            outcome = run_in(jail, program, LIMITS)
        except (EvaluateError, OSError, subprocess.SubprocessError) as error:
            return str(error)
    try:
        said = json.loads(outcome.stdout)
        leaks = said["leaks"] if said["nonce"] == nonce else ["its answer is not its own"]
    except (ValueError, KeyError, TypeError):
        leaks = [f"its probe says nothing ({outcome.killed_by or outcome.stderr.strip()[-200:]})"]
    return ", ".join(leaks) or None


def _hint() -> str:
    """What stands in the way most often: Ubuntu lets only named programs make user namespaces."""
    if os.geteuid() != 0 and _read(APPARMOR) == "1":
        return (
            " (this Ubuntu forbids user namespaces: give bwrap an AppArmor profile that has `userns,`, as docs/jail.md "
            "shows, or use docker)"
        )
    if os.geteuid() != 0 and _read(Path("/proc/sys/kernel/unprivileged_userns_clone")) == "0":
        return " (user namespaces are switched off: sysctl kernel.unprivileged_userns_clone=1)"
    if os.geteuid() != 0 and _read(Path("/proc/sys/user/max_user_namespaces")) == "0":
        return " (user namespaces are switched off: sysctl user.max_user_namespaces=15000)"
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _answer(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr
