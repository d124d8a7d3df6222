"""Programs that try to get out of the jail, each in a test of its own.

A program prints LEAK where it got out, and TRIED at its end. Where it is harmless, the same program runs bare as
well and must leak there: this shows that the test can fail.
"""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import tunesmith
from tunesmith.verify.jail import Jail, Limits, Outcome, bubblewrap, run_python

pytestmark = pytest.mark.usefixtures("walls")
MIB = 1024 * 1024
PROJECT = Path(tunesmith.__file__).parents[2]
QUICK = Limits(wall_seconds=20.0, cpu_seconds=5)
WAYS = ["as this user", "as any user"] if os.geteuid() == 0 else ["as this user"]
LIBC = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"


@pytest.fixture(params=WAYS)
def walls(request: pytest.FixtureRequest, jail: Jail, monkeypatch: pytest.MonkeyPatch) -> str:
    """The jail as it is made here; for root also the one that other users get: a user namespace, no control group."""
    if request.param == "as any user":
        monkeypatch.setattr(bubblewrap, "_is_root", lambda: False)
        monkeypatch.setattr(bubblewrap, "cgroup", lambda *_: contextlib.nullcontext())
    return str(request.param)


def held(program: str, limits: Limits = QUICK) -> Outcome:
    """Run an escape; it must come to its end and find nothing."""
    outcome = run_python(f"{program}\nprint('TRIED')\n", limits)
    assert "TRIED" in outcome.stdout, f"it did not come to its end: {outcome}"
    assert "LEAK" not in outcome.stdout, outcome
    return outcome


def leaks_bare(program: str, **options: object) -> bool:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    return "LEAK" in done.stdout


def reading(path: object) -> str:
    return f"try:\n  print('LEAK', open({str(path)!r}).read())\nexcept OSError:\n  pass"


@contextlib.contextmanager
def secret_in(folder: Path) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".jail-secret-") as file:
        file.write(secrets.token_hex(16))
        file.flush()
        os.chmod(file.name, 0o666)
        yield Path(file.name)


def survivors(limits: Limits) -> list[str]:
    """Processes of jails with these limits, found by the settings in their command line."""
    mark = f'"cpu_seconds": {limits.cpu_seconds}, '.encode()
    lines = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            lines.append((folder / "cmdline").read_bytes())
    return [line.decode("utf-8", "replace")[-200:] for line in lines if mark in line]


def test_the_jail_runs_programs() -> None:
    assert run_python("print(6 * 7)", QUICK).stdout == "42\n"


# --- files


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/hostname", "/etc/resolv.conf", "/proc/self/environ"])
def test_system_files_cannot_be_read(path: str) -> None:
    assert leaks_bare(reading(path))
    held(reading(path))


@pytest.mark.parametrize("folder", [Path.home(), PROJECT, Path(tempfile.gettempdir())], ids=["home", "project", "tmp"])
def test_secrets_of_the_user_cannot_be_read(folder: Path) -> None:
    with secret_in(folder) as path:
        assert leaks_bare(reading(path))
        held(reading(path))


def test_nothing_of_the_project_is_in_sight() -> None:
    outcome = held(
        "import os\n"
        "for root, folders, files in os.walk('/'):\n"
        "  for name in folders + files:\n"
        "    if 'tunesmith' in name or name.endswith('.jsonl'): print('LEAK', root, name)\n"
        "  if root.endswith('/encodings'): print('the library is in sight')"
    )
    assert "the library is in sight" in outcome.stdout


def test_golden_answers_cannot_be_read() -> None:
    answers = PROJECT / "src" / "tunesmith" / "verify" / "sets" / "general.jsonl"
    program = reading(answers)
    assert leaks_bare(program)
    held(program)


@pytest.mark.parametrize("name", ["tunesmith", "numpy", "pydantic"])
def test_project_and_installed_packages_cannot_be_imported(name: str) -> None:
    paths = [path for path in sys.path if path] + [str(PROJECT / "src")]
    program = f"import sys\nsys.path += {paths!r}\ntry:\n  import {name}\n  print('LEAK')\nexcept ImportError:\n  pass"
    assert leaks_bare(program)
    held(program)


def test_nothing_outside_tmp_can_be_written() -> None:
    outcome = held(
        "import os\n"
        "open('/tmp/mine', 'w').write('x')\n"
        "tried = 0\n"
        "for root, _, files in os.walk('/'):\n"
        "  if root == '/tmp' or root.startswith('/tmp/') or root == '/dev/shm': continue\n"
        "  tried += 1\n"
        "  try:\n"
        "    open(root + '/mine', 'w'); print('LEAK', root)\n"
        "  except OSError: pass\n"
        "  for name in files[:3]:\n"
        "    if root == '/dev': continue\n"
        "    try:\n"
        "      open(os.path.join(root, name), 'r+'); print('LEAK', root, name)\n"
        "    except OSError: pass\n"
        "print('tried', tried > 20)"
    )
    assert "tried True" in outcome.stdout


def test_what_is_readable_cannot_be_changed() -> None:
    held(
        "import os\n"
        "for action in (lambda: os.chmod(os.__file__, 0o777), lambda: os.utime(os.__file__),\n"
        "               lambda: os.unlink(os.__file__), lambda: os.rename(os.__file__, '/tmp/os.py'),\n"
        "               lambda: os.mkdir('/new'), lambda: os.chmod('/', 0o777)):\n"
        "  try:\n"
        "    action(); print('LEAK')\n"
        "  except OSError: pass"
    )
    assert os.path.isfile(os.__file__)


def test_a_symlink_does_not_lead_out() -> None:
    with secret_in(PROJECT) as path:
        program = f"import os\nos.symlink({str(path)!r}, 'link')\n{reading('link')}"
        with tempfile.TemporaryDirectory() as folder:
            assert leaks_bare(program, cwd=folder)
        held(program)


def test_a_hard_link_does_not_lead_out() -> None:
    with secret_in(PROJECT) as path:
        held(
            "import os\n"
            f"for target in ({str(path)!r}, os.__file__, '/etc/passwd'):\n"
            "  try:\n    os.link(target, '/tmp/link'); print('LEAK', target)\n  except OSError: pass"
        )


def test_climbing_up_does_not_lead_out() -> None:
    with secret_in(PROJECT) as path:
        held(reading("/tmp" + "/.." * 40 + str(path)))
        held(f"import os\nos.chdir('/')\nfor n in range(40): os.chdir('..')\n{reading(str(path)[1:])}")


def test_what_one_program_writes_is_gone_for_the_next() -> None:
    assert run_python("open('/tmp/note', 'w').write('x')", QUICK).exit_code == 0
    held("import os\nif os.listdir('/tmp') or os.listdir('/dev/shm'): print('LEAK')")
    assert not Path("/tmp/note").exists()


def test_open_files_of_the_parent_are_not_inherited() -> None:
    with secret_in(PROJECT) as path, path.open() as file:
        program = (
            "import os\n"
            "for number in range(3, 512):\n"
            "  try:\n    os.fstat(number); print('LEAK', number)\n  except OSError: pass"
        )
        os.set_inheritable(file.fileno(), True)
        assert leaks_bare(program, close_fds=False)
        held(program)


# --- devices and the terminal


def test_devices_are_four_harmless_ones() -> None:
    outcome = held(
        "import os\n"
        "print(sorted(os.listdir('/dev')))\n"
        "for number in range(1, 256):\n"
        "  try:\n    os.mknod('/tmp/device', 0o60666, os.makedev(8, 0)); print('LEAK')\n  except OSError: pass\n"
        "  break"
    )
    assert "['null', 'random', 'shm', 'urandom', 'zero']" in outcome.stdout


def test_nothing_can_be_typed_into_a_terminal() -> None:
    parent, child = os.openpty()
    program = (
        "import fcntl, os\n"
        "for path in ('/dev/tty', '/dev/pts/0', '/dev/ptmx', '/dev/console'):\n"
        "  try:\n    os.open(path, os.O_RDWR); print('LEAK', path)\n  except OSError: pass\n"
        "for number in range(0, 64):\n"
        "  for request in (0x5412, 0x541C):\n"
        "    try:\n      fcntl.ioctl(number, request, b'x'); print('LEAK', number)\n    except OSError: pass"
    )
    try:
        os.set_inheritable(child, True)
        held(program)
    finally:
        os.close(parent)
        os.close(child)


def test_standard_input_and_environment_are_empty() -> None:
    os.environ["TUNESMITH_SECRET"] = "LEAK"
    try:
        program = "import os, sys\nprint(dict(os.environ), repr(sys.stdin.read()))"
        assert leaks_bare(program, input="LEAK")
        assert held(program).stdout.startswith("{} ''")
    finally:
        del os.environ["TUNESMITH_SECRET"]


# --- other processes


def test_the_parents_environment_cannot_be_read_through_proc() -> None:
    program = (
        "import glob, os\n"
        "for path in [f'/proc/{os.getppid()}/environ', '/proc/1/environ', *glob.glob('/proc/[0-9]*/environ')]:\n"
        "  try:\n    print('LEAK', open(path).read())\n  except OSError: pass"
    )
    assert leaks_bare(program)
    held(program)


def test_no_process_outside_can_be_signaled() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        program = (
            "import os, signal\n"
            f"for pid in ({other.pid}, {os.getpid()}):\n"
            "  try:\n    os.kill(pid, 0); print('LEAK', pid)\n  except OSError: pass"
        )
        assert leaks_bare(program)
        held(program)
        run_python("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nos.kill(-1, signal.SIGKILL)", QUICK)
        assert other.poll() is None
        other.communicate(b"\n")


def test_no_process_can_be_traced() -> None:
    held(
        f"{LIBC}"
        "import subprocess, sys\n"
        "for request, pid in ((16, os.getppid()), (16, 1), (0x4206, os.getppid()), (0, 0)):\n"
        "  if libc.ptrace(request, pid, 0, 0) == 0: print('LEAK', request, pid)\n"
        "child = subprocess.Popen([sys.executable, '-I', '-S', '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "buffer, zero = ctypes.create_string_buffer(8), 0\n"
        "class Vector(ctypes.Structure): _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]\n"
        "here, there = Vector(ctypes.addressof(buffer), 8), Vector(id(None), 8)\n"
        "if libc.ptrace(16, child.pid, 0, 0) == 0: print('LEAK attach')\n"
        "if libc.process_vm_readv(child.pid, ctypes.byref(here), 1, ctypes.byref(there), 1, zero) > 0: print('LEAK')\n"
        "child.kill()"
    )


def test_signals_that_are_ignored_do_not_save_a_program() -> None:
    limits = Limits(wall_seconds=1.0, cpu_seconds=21)
    began = time.monotonic()
    outcome = run_python(
        "import signal, time\n"
        "for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:\n"
        "  signal.signal(number, signal.SIG_IGN)\n"
        "while True: time.sleep(1)",
        limits,
    )
    assert outcome.killed_by == "time" and outcome.timed_out
    assert time.monotonic() - began < 10.0
    _soon(lambda: survivors(limits) == [])


def test_a_daemon_does_not_outlive_its_jail() -> None:
    limits = Limits(wall_seconds=20.0, cpu_seconds=22)
    began = time.monotonic()
    outcome = run_python(
        "import os, time, signal\n"
        "if os.fork() == 0:\n"
        "  os.setsid()\n"
        "  if os.fork() == 0:\n"
        "    signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "    print('daemon', flush=True)\n"
        "    time.sleep(300)\n"
        "  os._exit(0)\n"
        "time.sleep(0.3)",
        limits,
    )
    assert "daemon" in outcome.stdout and outcome.exit_code == 0
    assert time.monotonic() - began < 15.0
    _soon(lambda: survivors(limits) == [])


def test_the_jail_dies_with_its_parent() -> None:
    limits = Limits(wall_seconds=60.0, cpu_seconds=23)
    program = "import time; time.sleep(60)"
    parent = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "from tunesmith.verify.jail import Limits, run_python\n"
            f"run_python({program!r}, Limits(wall_seconds=60.0, cpu_seconds=23))",
        ]
    )
    try:
        _soon(lambda: len(survivors(limits)) > 0)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    _soon(lambda: survivors(limits) == [])


def _soon(is_true: object, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.02)


# --- bombs


# The kernel exempts root from the limit of processes, and the jail of other users is only acted by root here.
@pytest.mark.parametrize("walls", ["as this user"], indirect=True)
def test_a_fork_bomb_is_bounded_and_leaves_nothing() -> None:
    limits = Limits(wall_seconds=1.0, cpu_seconds=24, processes=16)
    outcome = run_python(
        "import os, time\n"
        "children = 0\n"
        "for _ in range(200):\n"
        "  try:\n"
        "    if os.fork() == 0: time.sleep(30); os._exit(0)\n"
        "    children += 1\n"
        "  except OSError: break\n"
        "print(children, flush=True)\n"
        "while True:\n"
        "  try: os.fork()\n"
        "  except OSError: pass",
        limits,
    )
    assert outcome.killed_by == "time"
    assert 0 < int(outcome.stdout.split()[0]) <= 20
    _soon(lambda: survivors(limits) == [])


def test_a_thread_bomb_is_bounded() -> None:
    outcome = run_python(
        "import threading, time\n"
        "started = 0\n"
        "try:\n"
        "  for _ in range(500):\n"
        "    threading.Thread(target=time.sleep, args=(30,), daemon=True).start(); started += 1\n"
        "except RuntimeError: pass\n"
        "print(started)",
        Limits(wall_seconds=10.0, cpu_seconds=5, processes=16),
    )
    assert 0 < int(outcome.stdout) < 100, outcome


def test_a_memory_bomb_meets_its_limit() -> None:
    outcome = run_python("x = bytearray(10**9)", Limits(memory_mib=256))
    assert outcome.exit_code == 1 and "MemoryError" in outcome.stderr


def test_many_processes_together_meet_the_memory_limit() -> None:
    outcome = run_python(
        "import os, time\n"
        "for n in range(8):\n"
        "  if os.fork() == 0:\n"
        "    x = bytearray(90 * 2**20); time.sleep(2); os._exit(0)\n"
        "time.sleep(2)",
        Limits(wall_seconds=10.0, memory_mib=128),
    )
    assert outcome.killed_by == "memory", outcome


def test_memory_cannot_be_hidden_outside_of_the_address_space() -> None:
    held(
        f"{LIBC}"
        "if libc.memfd_create(b'x', 0) >= 0: print('LEAK memfd')\n"
        "if libc.shmget(0, 2**20, 0o1600) >= 0: print('LEAK shm')\n"
        "if libc.msgget(0, 0o1600) >= 0: print('LEAK msg')\n"
        "if libc.semget(0, 1, 0o1600) >= 0: print('LEAK sem')"
    )


def test_the_scratch_folder_is_bounded() -> None:
    outcome = held(
        "written = 0\n"
        "block = bytes(2**20)\n"
        "try:\n"
        "  for n in range(200):\n"
        "    with open(f'/tmp/{n}', 'wb') as file: file.write(block)\n"
        "    written += 1\n"
        "except OSError: pass\n"
        "print(written)",
        Limits(scratch_mib=16),
    )
    assert 0 < int(outcome.stdout.split()[0]) <= 16


def test_a_file_cannot_be_huge() -> None:
    held(
        "import signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try:\n  open('/tmp/huge', 'wb').truncate(2**40); print('LEAK')\nexcept OSError: pass"
    )


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_huge_output_is_cut_and_ended(stream: str) -> None:
    outcome = run_python(f"import sys\nwhile True: sys.{stream}.write('x' * 10000)", QUICK)
    assert outcome.killed_by == "output" and outcome.exit_code is None
    assert len(getattr(outcome, stream)) <= QUICK.output_bytes


def test_an_endless_loop_ends_by_its_processor_time() -> None:
    outcome = run_python("while True: pass", Limits(wall_seconds=30.0, cpu_seconds=1))
    assert outcome.killed_by == "cpu" and outcome.timed_out


def test_sleeping_for_ever_ends_by_the_clock() -> None:
    outcome = run_python("import time; time.sleep(10**6)", Limits(wall_seconds=0.5))
    assert outcome.killed_by == "time" and outcome.seconds < 10.0


def test_closing_its_output_does_not_hide_a_program() -> None:
    outcome = run_python("import os, time\nos.close(1); os.close(2)\ntime.sleep(10**6)", Limits(wall_seconds=0.5))
    assert outcome.killed_by == "time" and outcome.seconds < 10.0


def test_limits_cannot_be_raised() -> None:
    held(
        "import resource\n"
        "for name in ('RLIMIT_AS', 'RLIMIT_CPU', 'RLIMIT_NPROC', 'RLIMIT_NOFILE', 'RLIMIT_FSIZE', 'RLIMIT_CORE'):\n"
        "  hard = resource.getrlimit(getattr(resource, name))[1]\n"
        "  if hard == resource.RLIM_INFINITY: print('LEAK', name)\n"
        "  try:\n    resource.setrlimit(getattr(resource, name), (hard + 1, hard + 1)); print('LEAK', name)\n"
        "  except (OSError, ValueError): pass"
    )


def test_no_core_is_dumped() -> None:
    outcome = run_python("import os\nos.abort()", QUICK)
    assert outcome.killed_by == f"signal {int(signal.SIGABRT)}"
    held("import resource\nif resource.getrlimit(resource.RLIMIT_CORE) != (0, 0): print('LEAK')")


def test_no_priority_over_others_can_be_had() -> None:
    held(
        "import os\n"
        "for action in (lambda: os.nice(-1), lambda: os.setpriority(os.PRIO_PROCESS, 0, -5),\n"
        "               lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))):\n"
        "  try:\n    action(); print('LEAK')\n  except OSError: pass"
    )


# --- network


def test_a_server_on_this_machine_cannot_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = (
            "import socket\n"
            "try:\n"
            f"  socket.create_connection(('127.0.0.1', {port}), timeout=3); print('LEAK')\n"
            "except OSError: pass"
        )
        assert leaks_bare(program)
        held(program)


def test_no_packet_leaves_and_no_name_is_found() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.3)
        send = f"import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', {server.getsockname()})"
        assert not leaks_bare(send) and server.recv(10) == b"x"
        held(f"{send}\ntry:\n  socket.getaddrinfo('example.org', 80); print('LEAK')\nexcept OSError: pass")
        with pytest.raises(TimeoutError):
            server.recv(10)


@pytest.mark.parametrize("is_abstract", [False, True], ids=["in a file", "abstract"])
def test_a_unix_socket_of_this_machine_cannot_be_reached(is_abstract: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        address = f"\0{secrets.token_hex(8)}" if is_abstract else f"{folder}/socket"
        server.bind(address)
        server.listen()
        accepting = threading.Thread(target=_accept_one, args=(server,), daemon=True)
        accepting.start()
        program = (
            "import socket\n"
            f"try:\n  socket.socket(socket.AF_UNIX).connect({address!r}); print('LEAK')\nexcept OSError: pass"
        )
        assert leaks_bare(program)
        held(program)


def _accept_one(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        server.accept()[0].close()


def test_other_families_of_sockets_are_refused() -> None:
    held(
        "import socket\n"
        "for family in (socket.AF_NETLINK, socket.AF_PACKET, socket.AF_VSOCK, socket.AF_ALG):\n"
        "  try:\n    socket.socket(family, socket.SOCK_RAW if family != socket.AF_ALG else socket.SOCK_SEQPACKET)\n"
        "    print('LEAK', family)\n  except OSError: pass"
    )


# --- power


def test_nothing_can_be_mounted() -> None:
    held(
        f"{LIBC}"
        "os.mkdir('/tmp/place')\n"
        "if libc.mount(b'none', b'/tmp/place', b'tmpfs', 0, None) == 0: print('LEAK tmpfs')\n"
        "if libc.mount(b'none', b'/tmp/place', b'proc', 0, None) == 0: print('LEAK proc')\n"
        "if libc.mount(None, b'/', None, 32, None) == 0: print('LEAK remount')\n"
        "if libc.umount2(b'/tmp', 2) == 0: print('LEAK umount')"
    )


def test_the_root_cannot_be_changed() -> None:
    held(f"{LIBC}os.mkdir('/tmp/root')\ntry:\n  os.chroot('/tmp/root'); print('LEAK')\nexcept OSError: pass\n")


def test_no_new_namespace_can_be_made() -> None:
    held(
        f"{LIBC}"
        "for flag in (0x10000000, 0x00020000, 0x40000000, 0x20000000, 0x04000000, 0x08000000, 0x02000000):\n"
        "  if libc.unshare(flag) == 0: print('LEAK', hex(flag))\n"
        "import platform\n"
        "if platform.machine() == 'x86_64':\n"
        "  pid = libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)\n"
        "  if pid == 0: os._exit(0)\n"
        "  if pid > 0: print('LEAK clone')\n"
        "if libc.syscall(435, 0, 0) != -1 or ctypes.get_errno() != 38: print('LEAK clone3')"
    )


def test_no_right_is_left_and_none_can_be_had() -> None:
    held(
        f"{LIBC}"
        "header = (ctypes.c_uint32 * 2)(0x20080522, 0)\n"
        "rights = (ctypes.c_uint32 * 6)()\n"
        "effective_and_permitted = [0, 1, 3, 4]\n"
        "if libc.capget(header, rights) != 0 or any(rights[n] for n in effective_and_permitted): print('LEAK')\n"
        "if libc.prctl(39, 0, 0, 0, 0) != 1: print('LEAK new privileges')\n"
        "for name in ('setuid', 'setgid', 'seteuid'):\n"
        "  try:\n"
        "    getattr(os, name)(12345); print('LEAK', name)\n"
        "  except OSError: pass\n"
        "try:\n  os.sethostname(b'mine') if hasattr(os, 'sethostname') else None\nexcept OSError: pass\n"
        "import time\n"
        "try:\n  time.clock_settime(time.CLOCK_REALTIME, 0); print('LEAK clock')\nexcept OSError: pass"
    )


def test_programs_that_give_rights_have_none_here() -> None:
    held(
        "import os, shutil\n"
        "for root, _, files in os.walk('/'):\n"
        "  if not os.statvfs(root).f_flag & os.ST_NOSUID: print('LEAK', root)\n"
        "for name in ('su', 'sudo', 'mount', 'passwd', 'sh', 'bash'):\n"
        "  if shutil.which(name, path='/bin:/usr/bin:/sbin:/usr/sbin'): print('LEAK', name)"
    )
