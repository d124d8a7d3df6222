r"""The type `maths`: LaTeX and expressions, compared by math-verify in a process that can be killed.

math-verify's own timeouts do not always fire (5^(5^(5^5)) hangs in one multiplication; signals need the main thread),
so they are off: bounds on length, nesting, digits and powers come first, then a bound on processor time that the
kernel enforces, one on memory, and one on the clock. A process that dies is replaced.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

from tunesmith.errors import EvaluateError, SkippedError
from tunesmith.verify.equivalence.readings import Kind, Reading, Wanted
from tunesmith.verify.equivalence.texts import cut, plain, trimmed

CHILD = Path(__file__).with_name("maths_child.py")
WALL_SECONDS = 60.0
LONGEST, DEEPEST, LONGEST_DIGITS, MOST_POWERS = 500, 20, 60, 20
DECIMALS = 6
END = ".,;: "
WORDS = re.compile(r"[A-Za-z]{4,}|\\(?:text|mathrm|mathbf|textbf)\b")
COMMANDS = re.compile(
    r"\\(?!text\b|mathrm\b|mathbf\b|textbf\b)[A-Za-z]+|\b(?:sqrt|sinh|cosh|tanh|arcsin|arccos|arctan|infty|infinity)\b"
)
UNITS = re.compile(
    r"\\(?:text|mathrm) ?\{ ?(?:[a-z]{1,3}|and|or|[a-z]*meters?|inches|units?|degrees?|dollars?)(?:\^?[23])? ?\}"
)
DELIMITED = re.compile(r"\$\$?([^$]{1,600})\$\$?|\\\((.{1,600}?)\\\)|\\\[(.{1,600}?)\\\]", re.DOTALL)
WHOLE_DELIMITED = re.compile(r"\$\$?([^$]*)\$\$?|\\\((.*)\\\)|\\\[(.*)\\\]", re.DOTALL)
PERCENT = re.compile(r"([0-9])\s*\\?%")
ROOT = re.compile(r"√ ?(?:\(([^()]{1,200})\)|([0-9]{1,60}|[A-Za-z]))")
COMMAND_OF = {
    "π": r"\pi",
    "×": r"\times",
    "·": r"\cdot",
    "÷": "/",
    "≤": r"\le",
    "≥": r"\ge",
    "≠": r"\ne",
    "∞": r"\infty",
}
COMMAND_OF |= {"∪": r"\cup", "∩": r"\cap", "∈": r"\in", "θ": r"\theta", "α": r"\alpha", "β": r"\beta"}
SIGNS = re.compile("[" + "".join(COMMAND_OF) + "]")
NOISE = re.compile(r"\\(?:left|right|displaystyle)\b|\\[,;:! ]|[\s$]")
NESTING = re.compile(r"[(\[{]|[)\]}]")


def read_maths(text: str, wanted: Wanted) -> Reading | None:
    """A text that is one expression: without words, but for those of units in \\text."""
    delimited = WHOLE_DELIMITED.fullmatch(text)
    inner = trimmed((next(part for part in delimited.groups() if part is not None) if delimited else text).strip(), END)
    if not inner or "boxed" in inner or WORDS.search(COMMANDS.sub(" ", UNITS.sub(" ", inner))):
        return None
    return Reading(inner, "by math-verify", 0, len(text), _beyond_bounds(inner))


def find_maths(text: str, wanted: Wanted) -> list[Reading]:
    """The expressions between dollar signs and other delimiters; where there are none, the last line's end."""
    found = []
    for match in DELIMITED.finditer(text):
        reading = read_maths(match[0], wanted)
        if reading is not None:
            found.append(Reading(reading.value, reading.form, *match.span(), reading.problem))
    if found:
        return found
    end = re.split(r" is | are |: ", text.rpartition("\n")[2][-2 * LONGEST :])[-1]
    last = read_maths(trimmed(end, END), wanted)
    return [Reading(last.value, last.form, len(text) - len(end), len(text), last.problem)] if last else []


def maths_differ(gold: Reading, seen: Reading, wanted: Wanted) -> str | None:
    """Equal by math-verify to six decimals; 10 % is 0.1 and never 10, x is not X."""
    if spelling(gold.value) == spelling(seen.value):
        return None
    if gold.problem or seen.problem:
        return gold.problem or seen.problem
    if _letters_differ_in_case(gold.value, seen.value):
        return "differs"
    answer = POOL.compare(_sent(gold.value), _sent(seen.value))
    if answer == "gold":
        raise EvaluateError(f"the answer {cut(gold.value)} cannot be read as mathematics; mend the item")
    return None if answer == "equal" else answer


def spelling(text: str) -> str:
    return NOISE.sub("", trimmed(plain(text), END))


def require_math_verify() -> None:
    """Raises SkippedError where math-verify is not installed: items are then not counted as wrong."""
    if importlib.util.find_spec("math_verify") is None:
        raise SkippedError("answers of type maths need math-verify: pip install 'tunesmith[maths]'")


def _sent(text: str) -> str:
    """What math-verify reads: 10 % as 10/100, signs such as √ and π as commands."""
    text = ROOT.sub(lambda found: f"\\sqrt{{{found[1] or found[2]}}}", PERCENT.sub(r"\1/100", text))
    return SIGNS.sub(lambda found: f" {COMMAND_OF[found[0]]} ", text)


def _beyond_bounds(text: str) -> str:
    depth = deepest = 0
    for bracket in NESTING.findall(text[: LONGEST + 1]):
        depth += 1 if bracket in "([{" else -1
        deepest = max(deepest, depth)
    bad = len(text) > LONGEST or deepest > DEEPEST or text.count("^") + text.count("**") > MOST_POWERS
    return "beyond bounds" if bad or re.search(rf"[0-9]{{{LONGEST_DIGITS + 1}}}", text) else ""


def _letters_differ_in_case(one: str, other: str) -> bool:
    """Whether the letters would be the same but for their case, which math-verify does not see."""
    letters, others = (set(re.findall("[A-Za-z]", COMMANDS.sub("", UNITS.sub("", text)))) for text in (one, other))
    return any(letter.swapcase() in others - letters for letter in letters - others)


class _Child:
    """One process that compares. `ask` gives None when it dies or takes too long; it is then gone."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},
        )
        self.is_ready = self._line() == "ready"

    def ask(self, request: dict[str, object]) -> str | None:
        try:
            assert self.process.stdin is not None
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except OSError:
            self.close()
            return None
        return self._line()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            try:
                if stream is not None:
                    stream.close()
            except OSError:  # what was not yet written has no reader any more
                pass

    def _line(self) -> str | None:
        assert self.process.stdout is not None
        clock = threading.Timer(WALL_SECONDS, self.process.kill)
        clock.daemon = True
        clock.start()
        line = self.process.stdout.readline().strip()
        clock.cancel()
        if not line:
            self.close()
        return line or None


class _Pool:
    """Idle processes, one for each thread that compares at the same time; a forked process starts with none."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.owner, self.idle = os.getpid(), list[_Child]()

    def compare(self, gold: str, seen: str) -> str:
        """equal, differs, gold, unreadable or timeout."""
        child = self._take()
        if not child.is_ready:
            raise SkippedError("math-verify does not start; answers of type maths cannot be judged on this machine")
        answer = child.ask({"gold": gold, "seen": seen, "decimals": DECIMALS})
        if answer is None:
            return "timeout"
        with self.lock:
            self.idle.append(child)
        return answer

    def _take(self) -> _Child:
        with self.lock:
            if self.owner != os.getpid():
                self.owner, self.idle = os.getpid(), []
            if self.idle:
                return self.idle.pop()
        return _Child()


POOL = _Pool()
MATHS = Kind(plain, read_maths, find_maths, maths_differ, (), spelling, lambda text: trimmed(text.strip("*_` \n"), END))
