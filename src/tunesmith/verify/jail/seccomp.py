"""A seccomp filter that takes from a jailed program the system calls that no Python program needs.

The other walls (namespaces, no capabilities, limits) hold without it. It keeps the kernel's rarely used corners,
where escapes were found, out of reach, and makes memory impossible to hide outside of the address space.
"""

import platform
import struct
from collections.abc import Mapping

EPERM, ENOSYS = 1, 38
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
LOAD, EQUAL, GREATER_OR_EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE = 0, 4
FIRST_ARGUMENT, SECOND_ARGUMENT = 16, 24
# CLONE_NEW*: a new user, mount, net, pid, ipc, uts, cgroup or time namespace.
NEW_NAMESPACE = 0x7E020080
# ioctl requests that type into a terminal: TIOCSTI and TIOCLINUX.
TERMINAL_REQUESTS = (0x5412, 0x541C)
# Families that are a way out of a network namespace or rarely used kernel code; UNIX, INET and INET6 stay.
FAMILIES = (1, 2, 10)
X32_SYSCALLS = 0x40000000

# name: number on x86_64, on aarch64
DENIED: Mapping[str, tuple[int, int]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "init_module": (175, 105),
    "delete_module": (176, 106),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "syslog": (103, 116),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
}
# machine: audit number of the architecture, column of DENIED, and its clone, clone3, ioctl and socket
MACHINES: Mapping[str, tuple[int, int, int, int, int, int]] = {
    "x86_64": (0xC000003E, 0, 56, 435, 16, 41),
    "aarch64": (0xC00000B7, 1, 220, 435, 29, 198),
}


def seccomp_filter(machine: str | None = None) -> bytes | None:
    """The filter as an array of `struct sock_filter`, or None where this machine's numbers are not known here."""
    known = MACHINES.get(machine or platform.machine())
    if known is None:
        return None
    architecture, column, clone, clone3, ioctl, socket = known
    steps = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, KILL), (LOAD, 0, 0, NUMBER)]
    if column == 0:
        steps += [(GREATER_OR_EQUAL, 0, 1, X32_SYSCALLS), (RETURN, 0, 0, KILL)]
    for numbers in DENIED.values():
        steps += [(EQUAL, 0, 1, numbers[column]), (RETURN, 0, 0, ERRNO | EPERM)]
    # Its flags stand in memory, where a filter cannot look; with "no such call" libraries fall back to clone.
    steps += [(EQUAL, 0, 1, clone3), (RETURN, 0, 0, ERRNO | ENOSYS)]
    steps += _on_argument(clone, FIRST_ARGUMENT, [(ANY_BIT, 0, 1, NEW_NAMESPACE), (RETURN, 0, 0, ERRNO | EPERM)])
    for request in TERMINAL_REQUESTS:
        steps += _on_argument(ioctl, SECOND_ARGUMENT, [(EQUAL, 0, 1, request), (RETURN, 0, 0, ERRNO | EPERM)])
    steps += _on_argument(socket, FIRST_ARGUMENT, _only(FAMILIES))
    steps.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _on_argument(call: int, offset: int, steps: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """`steps` on an argument of one call; afterwards the number of the call is loaded again."""
    body = [(LOAD, 0, 0, offset), *steps, (LOAD, 0, 0, NUMBER)]
    return [(EQUAL, 0, len(body), call), *body]


def _only(values: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    """Refuse every value but these."""
    jumps = [(EQUAL, len(values) - n, 0, value) for n, value in enumerate(values)]
    return [*jumps, (RETURN, 0, 0, ERRNO | EPERM)]
