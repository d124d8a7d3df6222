"""The scorer `python_tests`: does the code in the answer pass the tests? It runs in the jail (docs/jail.md)."""

import hmac
import json
import secrets
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tunesmith.errors import EvaluateError
from tunesmith.verify.jail import Limits, run_python
from tunesmith.verify.python_tests.extract import code_of_answer, code_of_continuation

LIMITS = Limits(wall_seconds=40.0, cpu_seconds=10)
LONGEST_CODE = 200_000
EXAMPLE = '{"tests": "assert add(2, 2) == 4", "entry_point": "add"}'
KILLED = {
    "cpu": f"the code takes more than {LIMITS.cpu_seconds} s of processor time",
    "time": f"the code takes more than {LIMITS.wall_seconds:g} s",
    "memory": f"the code takes more than {LIMITS.memory_mib} MiB of memory",
    "output": "the code prints too much",
}
ENDED = "the tests did not come to their end"


def python_tests(item: dict[str, Any], completion: str) -> tuple[float, str, str]:
    """Right when all tests of the item's `checker` pass: `{"tests", "entry_point", "stub"}`.

    `entry_point` is the function that the tests call, or a list of them. The tests are asserts, or define
    `check(candidate)` as HumanEval does. `stub` is the code that the model was to complete (imports, helpers,
    signature); for an item with `text` it is that text. Raises SkippedError where no sandbox works.
    """
    checker = item.get("checker")
    tests, names, stub = _checked(checker, item)
    if isinstance(item.get("text"), str):
        code = code_of_continuation(item["text"], completion)
    else:
        code = code_of_answer(completion, names, stub)
    if len(code) > LONGEST_CODE:
        return 0.0, f"the code has more than {LONGEST_CODE} characters.", "lost"
    return run_tests(code, tests, names, stub)


def run_tests(code: str, tests: str, names: tuple[str, ...], stub: str = "") -> tuple[float, str, str]:
    """Value, explanation and rule of a program against its tests.

    The rules: passed, wrong (an assert does not hold), raised (an exception), missing (it does not define the
    function), lost (it ended its process or said what cannot be read), time, cpu, memory, output (a limit).
    """
    token = secrets.token_hex(16)
    task = {
        "token": token,
        "code": code,
        "tests": tests,
        "names": names,
        "setup": [_complete(stub)] if stub.strip() else [],
        "source": _inside(),
    }
    program = f"{_inside()}\nexamine(json.loads({json.dumps(task)!r}))\n"
    outcome = run_python(program, LIMITS)
    verdict = _verdict(outcome.stdout, token)
    if verdict is None:
        killed_by = outcome.killed_by or ""
        return 0.0, f"{KILLED.get(killed_by, ENDED)}.", killed_by if killed_by in KILLED else "lost"
    rule, said = verdict
    if rule == "fault":
        raise EvaluateError(f"{said}; mend the item's checker")
    return float(rule == "passed"), f"{said}.", rule


def _verdict(said: str, token: str) -> tuple[str, str] | None:
    """What the process of the tests said, if the token shows that it was this process."""
    try:
        message = json.loads(said)
        is_genuine = hmac.compare_digest(str(message["token"]).encode(), token.encode())
        return (str(message["rule"]), str(message["said"])) if is_genuine else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _complete(stub: str) -> str:
    """A stub that ends in a signature and its docstring needs a body before Python reads it."""
    for text in (stub, f"{stub.rstrip()}\n    pass\n"):
        try:
            compile(text, "setup.py", "exec")
        except (SyntaxError, ValueError):
            continue
        return text
    raise EvaluateError("the stub is no beginning of a Python program; mend the item's checker")


def _checked(checker: Any, item: Mapping[str, Any]) -> tuple[str, tuple[str, ...], str]:
    """Tests, entry points and stub; raises EvaluateError where the item is not made for this scorer."""
    if not isinstance(checker, dict) or not isinstance(checker.get("tests"), str):
        raise EvaluateError(f"the scorer 'python_tests' needs a checker with tests, such as {EXAMPLE}")
    names = checker.get("entry_point")
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not names or not all(isinstance(n, str) and n.isidentifier() for n in names):
        raise EvaluateError(f"checker.entry_point must be the name of a function or a list of them, as in {EXAMPLE}")
    stub = checker.get("stub", item.get("text") or "")
    if not isinstance(stub, str):
        raise EvaluateError(f"checker.stub must be a text, not {stub!r:.80}")
    return checker["tests"], tuple(names), stub


@cache
def _inside() -> str:
    return (Path(__file__).parent / "inside.py").read_text(encoding="utf-8")
