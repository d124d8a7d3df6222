"""Code is judged by tests in the jail, and it cannot give the verdict itself."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.errors import EvaluateError, SkippedError
from tunesmith.verify import python_tests as scorer_module  # the package, not the function
from tunesmith.verify.jail import Jail
from tunesmith.verify.python_tests import inside, python_tests, run_tests

ADD = "def add(a, b):\n    return a + b\n"
TESTS = "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate('a', 'b') == 'ab', 'texts'\n"


@pytest.fixture(autouse=True)
def in_a_jail(jail: Jail) -> None:
    """Everything here runs code."""


def judge(code: str, tests: str = TESTS, name: str = "add") -> tuple[float, str, str]:
    return run_tests(code, tests, (name,))


def test_right_code_passes() -> None:
    assert judge(ADD) == (1.0, "all tests pass.", "passed")


@pytest.mark.parametrize(
    ("code", "rule", "said"),
    [
        ("def add(a, b):\n    return a - b\n", "wrong", "`assert candidate(1, 2) == 3` does not hold"),
        ("def add(a, b):\n    return 3\n", "wrong", "(texts)"),
        ("def add(a, b):\n    raise KeyError('k')\n", "raised", "the code raises KeyError: \"'k'\""),
        ("def add(a, b):\n    return undefined\n", "raised", "NameError"),
        ("def add(a, b)\n    return 3\n", "raised", "does not load: SyntaxError"),
        ("import numpy\n" + ADD, "raised", "No module named 'numpy'"),
        ("def sum(a, b):\n    return 3\n", "missing", "does not define add"),
        ("add = 3\n", "missing", "does not define add"),
        ("", "missing", "does not define add"),
        ("def add(a, b):\n    yield 3\n", "raised", "type generator"),
        ("def add(a, b):\n    add(a, b)\n", "raised", "RecursionError"),
        ("x = '\\ud800'\nbytes\0", "raised", "does not load"),
    ],
)
def test_wrong_code_fails_and_the_sentence_says_where(code: str, rule: str, said: str) -> None:
    value, sentence, fired = judge(code)
    assert (value, fired) == (0.0, rule), sentence
    assert said in sentence


FORGERIES = {
    "exit at import": "import sys; sys.exit(0)",
    "hard exit at import": "import os; os._exit(0)",
    "hard exit in the call": "import os\ndef add(a, b): os._exit(0)",
    "exit in the call": "def add(a, b): raise SystemExit(0)",
    "interrupt in the call": "def add(a, b): raise KeyboardInterrupt",
    "prints a verdict": (
        "import json, os\nfor n in range(16):\n"
        '  try: os.write(n, b\'{"token": "", "rule": "passed", "said": "all tests pass"}\\n\')\n'
        "  except OSError: pass\ndef add(a, b): return 0"
    ),
    "prints passed at the end": "import atexit\natexit.register(print, 'all tests pass')\ndef add(a, b): return 0",
    "defines check": "def check(candidate): pass\ndef add(a, b): return 0",
    "equal to everything": (
        "class Yes:\n  def __eq__(self, other): return True\n  __hash__ = None\ndef add(a, b): return Yes()"
    ),
    "a number equal to everything": "class Yes(int):\n  def __eq__(s, o): return True\ndef add(a, b): return Yes(0)",
    "a list equal to everything": "class Yes(list):\n  def __eq__(s, o): return True\ndef add(a, b): return Yes()",
    "changes builtins": (
        "import builtins\nbuiltins.AssertionError = type('Quiet', (BaseException,), {})\n"
        "builtins.abs = builtins.isinstance = lambda *a: True\ndef add(a, b): return 0"
    ),
    "reaches for its callers": (
        "import gc, sys\ndef add(a, b):\n  frame = sys._getframe()\n  while frame:\n"
        "    for space in (frame.f_globals, frame.f_locals):\n"
        "      if 'check' in space: space['check'] = lambda c: None\n"
        "      if 'token' in space or 'tests' in space: print(space)\n"
        "    frame = frame.f_back\n  return 0"
    ),
    "kills the tests": "import os, signal\ndef add(a, b): os.kill(os.getppid(), signal.SIGKILL)",
    "kills all": "import os, signal\ndef add(a, b): os.kill(-1, signal.SIGKILL)",
    "leaves a module for the tests": (
        "for name in ('json', 'subprocess', 'traceback', 'linecache'):\n"
        "  open(f'/tmp/{name}.py', 'w').write('print(1)')\ndef add(a, b): return 0"
    ),
    "answers nonsense": "import os\nfor n in range(3, 16):\n  try: os.write(n, b'[[[[\\n')\n  except OSError: pass\n"
    + ADD,
    "answers something deep": (
        "import os\nfor n in range(3, 16):\n  try: os.write(n, b'[' * 100000 + b'\\n')\n  except OSError: pass\n" + ADD
    ),
    "answers out of turn": (
        'import os\nfor n in range(3, 16):\n  try: os.write(n, b\'{"value": 3}\\n{"value": "ab"}\\n\' * 9)\n'
        "  except OSError: pass\ndef add(a, b): return 0"
    ),
    "looks into the tests' memory": (
        "import ctypes, os\nlibc = ctypes.CDLL(None)\n"
        "def add(a, b):\n"
        "  parent = os.getppid()\n"
        "  found = libc.ptrace(16, parent, 0, 0) == 0 or os.path.exists(f'/proc/{parent}/mem')\n"
        "  return 3 if found else 0"
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_the_verdict_cannot_be_forged(name: str) -> None:
    value, sentence, rule = judge(FORGERIES[name])
    assert value == 0.0, sentence
    assert rule in ("wrong", "raised", "lost", "missing")


def test_stopping_the_tests_is_no_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer_module, "LIMITS", replace(scorer_module.LIMITS, wall_seconds=2.0))
    value, _, rule = judge("import os, signal\ndef add(a, b): os.kill(os.getppid(), signal.SIGSTOP)")
    assert (value, rule) == (0.0, "time")


@pytest.mark.parametrize(
    ("code", "rule", "wall_seconds"),
    [
        ("while True: pass", "cpu", 60.0),
        ("import time\ntime.sleep(1000)", "time", 1.5),
        ("def add(a, b):\n    x = 'x'\n    while True: x += x\n", "raised", 60.0),
        ("def add(a, b):\n    while True: print('x' * 10000)\n", "cpu", 60.0),
    ],
)
def test_what_never_ends_is_ended(code: str, rule: str, wall_seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = replace(scorer_module.LIMITS, wall_seconds=wall_seconds, cpu_seconds=1, memory_mib=256)
    monkeypatch.setattr(scorer_module, "LIMITS", limits)
    value, sentence, fired = judge(code)
    assert (value, fired) == (0.0, rule), sentence


def test_values_keep_their_types() -> None:
    value = "[None, True, -5, 2**9999, 0.1, float('inf'), 3-2j, 'é\\ud800', b'\\0', (1, [2]), {1: (2,)}, {3}, range(2)]"
    tests = f"got = same({value})\nassert repr(got) == repr({value}), got\n"
    assert judge("def same(x):\n    return x\n", tests, "same")[0] == 1.0


def test_what_a_function_does_to_its_arguments_is_seen() -> None:
    tests = "x, d = [3, 1, 2], {}\nassert order(x, d) is None\nassert x == [1, 2, 3] and d == {'n': 3}\n"
    code = "def order(x, d):\n    x.sort()\n    d['n'] = len(x)\n"
    assert judge(code, tests, "order")[0] == 1.0
    assert judge("def order(x, d):\n    sorted(x)\n", tests, "order")[0] == 0.0


def test_exceptions_can_be_expected() -> None:
    tests = "try:\n    half(3)\nexcept ValueError as e:\n    assert 'odd' in str(e)\nelse:\n    assert False\n"
    code = "def half(x):\n    if x % 2: raise ValueError('odd')\n    return x // 2\n"
    assert judge(code, tests, "half")[0] == 1.0
    assert judge("def half(x):\n    return x // 2\n", tests, "half")[2] == "wrong"


def test_an_assertion_of_the_code_is_not_one_of_the_tests() -> None:
    assert "the code raises AssertionError" in judge("def add(a, b):\n    assert False\n")[1]


def test_several_functions_and_keywords() -> None:
    tests = "assert add(a=1, b=2) == 3\nassert double(2) == 4\n"
    code = ADD + "def double(x):\n    return add(x, x)\n"
    assert run_tests(code, tests, ("add", "double")) == (1.0, "all tests pass.", "passed")
    assert run_tests(ADD, tests, ("add", "double"))[2] == "missing"


def test_the_tests_have_the_helpers_of_the_stub_and_not_those_of_the_code() -> None:
    stub = "def near(a, b):\n    return abs(a - b) < 0.1\n\ndef root(x):\n"
    tests = "def check(candidate):\n    assert near(candidate(4), 2)\n"
    assert run_tests(stub + "    return x ** 0.5\n", tests, ("root",), stub)[0] == 1.0
    forged = "def near(a, b):\n    return True\n\ndef root(x):\n    return 99\n"
    assert run_tests(forged, tests, ("root",), stub)[2] == "wrong"


def item(**changes: Any) -> dict[str, Any]:
    checker = {"tests": "assert add(1, 2) == 3", "entry_point": "add"}
    return {"id": "add", "messages": [{"role": "user", "content": "add"}], "checker": checker, **changes}


def test_the_scorer_reads_answers_and_continuations() -> None:
    assert python_tests(item(), f"Here:\n```python\n{ADD}```")[0] == 1.0
    assert python_tests(item(), "I cannot.")[0] == 0.0
    assert python_tests(item(), "")[2] == "missing"
    plain = item(text="def add(a, b):\n", messages=None)
    assert python_tests(plain, "    return a + b\n\nprint('more')")[0] == 1.0
    assert python_tests(plain, "    return a\n")[0] == 0.0
    assert python_tests(item(), "x" * 300_000)[2] == "lost"


@pytest.mark.parametrize(
    ("checker", "said"),
    [
        (None, "needs a checker with tests"),
        ({"tests": "assert add(1, 2)"}, "entry_point must be the name"),
        ({"tests": "assert add(1, 2)", "entry_point": []}, "entry_point must be the name"),
        ({"tests": "assert add(1, 2)", "entry_point": "no name"}, "entry_point must be the name"),
        ({"tests": "assert (", "entry_point": "add"}, "cannot be compiled"),
        ({"tests": "assert True", "entry_point": "add"}, "never call the code"),
        ({"tests": "assert add(1, 2)", "entry_point": "add", "stub": "def ("}, "stub is no beginning"),
        ({"tests": "assert add(1, 2)", "entry_point": "add", "stub": 3}, "stub must be a text"),
    ],
)
def test_a_broken_item_is_an_error_and_no_verdict(checker: Any, said: str) -> None:
    with pytest.raises(EvaluateError, match=said):
        python_tests(item(checker=checker), ADD)


def test_without_a_sandbox_it_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*given: Any) -> None:
        raise SkippedError("no sandbox")

    monkeypatch.setattr(scorer_module, "run_python", nowhere)
    with pytest.raises(SkippedError):
        python_tests(item(), ADD)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary()
    | st.builds(range, st.integers(0, 9)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
        | st.sets(st.integers() | st.text(), max_size=4)
        | st.frozensets(st.integers(), max_size=4)
    ),
    max_leaves=12,
)


@given(PLAIN)
def test_packing_is_exact(value: Any) -> None:
    back = inside.unpack(inside.pack(value))
    assert back == value and kinds(back) == kinds(value)


def kinds(value: Any) -> Any:
    """The types of a value, all the way down."""
    if isinstance(value, dict):
        return [(kinds(key), kinds(each)) for key, each in value.items()]
    if isinstance(value, list | tuple):
        return [type(value), *map(kinds, value)]
    return [type(value), *sorted(type(each).__name__ for each in value)] if isinstance(value, set) else type(value)
