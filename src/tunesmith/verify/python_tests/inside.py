"""Both programs of a test of code, as they run in the jail: one examines, the other answers.

The model's code runs in a process of its own (`answer`). The tests run in another (`examine`), which alone holds the
token of the verdict. They exchange plain data: arguments one way, values and exceptions the other. So the code can
answer calls, rightly or wrongly, and nothing else: it has no access to the tests, to what they expect, to the builtins
they use or to the verdict, and an object that claims to equal everything does not get across.

Only the standard library: this file's text travels into the jail, where the project cannot be imported.
"""

import builtins
import ctypes
import json
import linecache
import os
import signal
import subprocess
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any, BinaryIO

LONGEST_MESSAGE = 16 * 1024 * 1024
SHOWN_LENGTH = 200
PLAIN_INTEGERS = 2**53
SET_DUMPABLE = 4
GONE_SECONDS = 1.0
SEQUENCES: dict[str, Callable[[Any], Any]] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


class LostError(Exception):
    """The process that runs the code is gone, or says what cannot be read; `rule` names which."""

    def __init__(self, said: str, rule: str = "lost") -> None:
        super().__init__(said)
        self.rule = rule


class UncrossableError(TypeError):
    """A value that is no plain data."""


def pack(value: Any) -> Any:
    """Plain data as JSON that keeps the types apart: 1 and 1.0, list and tuple."""
    if value is None or isinstance(value, bool | str):
        return value if value is None or isinstance(value, bool) else str(value)
    if isinstance(value, int):
        return int(value) if abs(value) < PLAIN_INTEGERS else ["int", hex(value)]
    if isinstance(value, float):
        return ["float", float(value).hex()]
    if isinstance(value, complex):
        return ["complex", value.real.hex(), value.imag.hex()]
    if isinstance(value, bytes | bytearray):
        return [type(value).__name__, value.hex()]
    if isinstance(value, range):
        return ["range", value.start, value.stop, value.step]
    if isinstance(value, dict):
        return ["dict", [[pack(key), pack(each)] for key, each in value.items()]]
    for name, kind in SEQUENCES.items():
        if isinstance(value, kind):  # type: ignore[arg-type]
            return [name, [pack(each) for each in value]]
    raise UncrossableError(f"a value of type {type(value).__name__} cannot be compared: only plain data can")


def unpack(packed: Any) -> Any:
    """What `pack` packed; raises ValueError or TypeError for anything else."""
    if packed is None or isinstance(packed, bool | str | int):
        return packed
    kind, *rest = packed
    if kind in SEQUENCES:
        return SEQUENCES[kind]([unpack(each) for each in rest[0]])
    if kind == "dict":
        return {unpack(key): unpack(each) for key, each in rest[0]}
    if kind == "int":
        return int(rest[0], 16)
    if kind == "float":
        return float.fromhex(rest[0])
    if kind == "complex":
        return complex(float.fromhex(rest[0]), float.fromhex(rest[1]))
    if kind in ("bytes", "bytearray"):
        return getattr(builtins, kind).fromhex(rest[0])
    if kind == "range":
        return range(*rest)
    raise ValueError("no such kind")


# --- the tests


def examine(task: dict[str, Any]) -> None:
    """Run the tests of `task` against its code; say the verdict, with the token, on standard output."""
    verdict = os.dup(1)
    os.dup2(2, 1)
    # No process beside this one may look into its memory, even where it has the same user.
    if ctypes.CDLL(None).prctl(SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError("this process cannot be hidden from others")
    rule, said = _examined(task)
    os.write(verdict, json.dumps({"token": task["token"], "rule": rule, "said": said}).encode() + b"\n")


def _examined(task: dict[str, Any]) -> tuple[str, str]:
    """The rule that decided, and what there is to say."""
    try:
        setup = [compile(text, "setup.py", "exec") for text in task["setup"]]
        tests = compile(task["tests"], "tests.py", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return "fault", f"the tests cannot be compiled: {_described(error)}"
    code = _Code(task)
    try:
        return _run(task, setup, tests, code)
    except LostError as error:
        return error.rule, str(error)
    finally:
        code.process.kill()


def _run(task: dict[str, Any], setup: list[types.CodeType], tests: types.CodeType, code: "_Code") -> tuple[str, str]:
    began = code.receive()
    if "failed" in began:
        return "raised", f"the code does not load: {_shown(began['failed'])}"
    if began.get("missing"):
        return "missing", f"the code does not define {_shown(', '.join(map(str, began['missing'])))}"
    space: dict[str, Any] = {"__name__": "tests"}
    linecache.cache["tests.py"] = (len(task["tests"]), None, task["tests"].splitlines(True), "tests.py")
    try:
        for part in setup:
            exec(part, space)
        space.update({name: code.function(name) for name in task["names"]})
        exec(tests, space)
        if callable(space.get("check")):
            space["check"](*(space[name] for name in task["names"]))
    except LostError:
        raise
    except BaseException as error:  # whatever the tests raise is their verdict
        return _failed(error, code)
    return ("passed", "all tests pass") if code.num_calls else ("fault", "the tests never call the code")


def _failed(error: BaseException, code: "_Code") -> tuple[str, str]:
    places = [place for place in traceback.extract_tb(error.__traceback__) if place.filename == "tests.py"]
    line = _shown(places[-1].line or "") if places else ""
    if isinstance(error, AssertionError) and error is not code.raised:
        detail = f" ({_shown(str(error))})" if str(error) else ""
        return "wrong", f"`{line}` does not hold{detail}"
    origin = "the code raises" if error is code.raised else "there is"
    return "raised", f"at `{line}` {origin} {_described(error)}"


class _Code:
    """The process that runs the model's code, seen from the tests."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.num_calls = 0
        self.raised: BaseException | None = None
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", task["source"] + "\nanswer()\n"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.send({"code": task["code"], "names": task["names"]})

    def function(self, name: str) -> Callable[..., Any]:
        """What the tests take for the function of the code."""

        def called(*given: Any, **named: Any) -> Any:
            self.num_calls += 1
            self.send({"name": name, "given": [pack(each) for each in given], "named": _packed(named)})
            reply = self.receive()
            try:
                for value, changed in zip(given, reply.get("changed", []), strict=False):
                    _change(value, unpack(changed))
                if "raised" in reply:
                    self.raised = _exception(str(reply["raised"]), _shown(str(reply.get("said", ""))))
                    raise self.raised
                return unpack(reply["value"])
            except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
                if error is self.raised:
                    raise
                raise LostError("the code answers what cannot be read") from None

        called.__name__ = name
        return called

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            _write(self.process.stdin, message)
        except OSError:
            raise self._gone() from None

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline(LONGEST_MESSAGE)
        if not line.endswith(b"\n"):
            raise LostError("the code answers too much") if line else self._gone()
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise LostError("the code answers what cannot be read")
        return message

    def _gone(self) -> LostError:
        """Why the process is no more."""
        try:
            ended = self.process.wait(timeout=GONE_SECONDS)
        except subprocess.TimeoutExpired:
            ended = 0
        if ended == -signal.SIGXCPU:
            return LostError("the code takes too much processor time", "cpu")
        return LostError("the code ended its process")


def _change(value: Any, new: Any) -> None:
    """What a function did to a list, dict or set that it was given; nothing where it did nothing."""
    if type(value) is not type(new):
        return
    if isinstance(value, list):
        value[:] = new
    elif isinstance(value, dict | set):
        value.clear()
        value.update(new)


def _exception(name: str, said: str) -> BaseException:
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(said)
        except TypeError:  # such as UnicodeDecodeError, which wants more
            pass
    return RuntimeError(f"{name[:40]}: {said}")


# --- the code


def answer() -> None:
    """Load the code of the first message, then answer calls of its functions."""
    asked, said = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(nothing, stream)
    task = json.loads(asked.readline())
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    try:
        exec(compile(task["code"], "solution.py", "exec"), module.__dict__)
    except BaseException as error:  # also SystemExit
        _write(said, {"failed": _described(error)})
        return
    _write(said, {"missing": [name for name in task["names"] if not callable(module.__dict__.get(name))]})
    for line in asked:
        _write(said, _answered(module, json.loads(line)))


def _answered(module: types.ModuleType, call: dict[str, Any]) -> dict[str, Any]:
    given = [unpack(each) for each in call["given"]]
    named = {name: unpack(each) for name, each in call["named"].items()}
    try:
        reply = {"value": pack(module.__dict__[call["name"]](*given, **named))}
    except BaseException as error:  # the tests shall see it, whatever it is
        reply = {"raised": type(error).__name__, "said": str(error)[:SHOWN_LENGTH]}
    try:
        changed = [pack(each) for each in given]
    except (TypeError, RecursionError):
        return reply
    return reply if changed == call["given"] else {**reply, "changed": changed}


# --- both


def _packed(named: dict[str, Any]) -> dict[str, Any]:
    return {name: pack(value) for name, value in named.items()}


def _write(pipe: BinaryIO | Any, message: dict[str, Any]) -> None:
    pipe.write(json.dumps(message).encode() + b"\n")
    pipe.flush()


def _described(error: BaseException) -> str:
    return _shown(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def _shown(text: str) -> str:
    line = " ".join(str(text)[: 4 * SHOWN_LENGTH].split())
    return line if len(line) <= SHOWN_LENGTH else f"{line[:SHOWN_LENGTH]}…"
