"""The parts of the jail, each by itself."""

import os
import struct
import subprocess
import sys

import pytest

from tunesmith.verify.jail.cgroup import cgroup, has_cgroup
from tunesmith.verify.jail.interpreter import _outermost, interpreter
from tunesmith.verify.jail.seccomp import ALLOW, DENIED, ERRNO, KILL, MACHINES, seccomp_filter
from tunesmith.verify.jail.watch import descendants, memory_watch, private_bytes

MIB = 1024 * 1024


def decide(machine: str, call: int, first: int = 0, second: int = 0, architecture: int | None = None) -> int:
    """Run the filter as the kernel would on one system call."""
    program = seccomp_filter(machine)
    assert program is not None
    steps = list(struct.iter_unpack("=HBBI", program))
    data = {0: call, 4: MACHINES[machine][0] if architecture is None else architecture, 16: first, 24: second}
    value, at = 0, 0
    while True:
        code, yes, no, number = steps[at]
        at += 1
        if code == 0x20:
            value = data[number]
        elif code == 0x06:
            return int(number)
        else:
            holds = {0x15: value == number, 0x35: value >= number, 0x45: bool(value & number)}[code]
            at += yes if holds else no


@pytest.mark.parametrize("machine", MACHINES)
def test_the_filter_refuses_what_it_lists_and_nothing_else(machine: str) -> None:
    _, column, clone, clone3, ioctl, socket = MACHINES[machine]
    denied = {numbers[column] for numbers in DENIED.values()}
    for call in set(range(600)) - {clone, clone3, ioctl, socket}:
        assert decide(machine, call) == (ERRNO | 1 if call in denied else ALLOW), call
    assert decide(machine, clone3) == ERRNO | 38
    assert decide(machine, clone, first=17) == ALLOW
    for namespace in (0x80, 0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert decide(machine, clone, first=namespace | 17) == ERRNO | 1
    assert decide(machine, ioctl, second=0x5401) == ALLOW
    assert decide(machine, ioctl, second=0x5412) == decide(machine, ioctl, second=0x541C) == ERRNO | 1
    assert [family for family in range(50) if decide(machine, socket, first=family) == ALLOW] == [1, 2, 10]
    assert decide(machine, 0, architecture=0x40000003) == KILL


def test_the_filter_ends_calls_by_the_x32_door() -> None:
    assert decide("x86_64", 0x40000000 | 1) == KILL


def test_a_machine_with_unknown_numbers_has_no_filter() -> None:
    assert seccomp_filter("riscv64") is None


def test_the_interpreter_needs_no_home_and_no_project() -> None:
    view = interpreter()
    assert all(os.path.exists(path) for path in view.readable)
    for private in (os.path.expanduser("~"), os.getcwd(), "/", "/etc", "/usr", "/home"):
        assert private not in view.readable
    assert _outermost(["/a/b", "/a", "/ab", "/a"]) == ["/a", "/ab"]


def test_the_memory_of_a_family_is_measured() -> None:
    hold = (
        "import sys; x = bytearray(64 * 2**20); x[::4096] = b'x' * len(x[::4096]); print('held', flush=True); input()"
    )
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", start], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == "held\n"
        family = descendants(parent.pid)
        assert len(family) == 2
        assert sum(map(private_bytes, family)) >= 64 * MIB
        assert memory_watch(32 * MIB)(parent.pid) and not memory_watch(256 * MIB)(parent.pid)
        parent.communicate("\n")
    assert descendants(parent.pid) == [parent.pid] and private_bytes(parent.pid) == 0


def test_a_control_group_is_gone_afterwards() -> None:
    with cgroup(64 * MIB, 8) as group:
        assert (group is not None) == has_cgroup()
        folders = group.folders if group is not None else ()
        assert all(folder.is_dir() for folder in folders)
        assert group is None or not group.ran_out_of_memory()
    assert not any(folder.exists() for folder in folders)
