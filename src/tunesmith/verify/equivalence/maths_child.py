"""The process that compares mathematical expressions by math-verify. Run as a file; it imports nothing of tunesmith.

One JSON object a line in, {"gold", "seen", "decimals"}; one word a line out: equal, differs, gold (the expected
answer is unreadable) or unreadable. The kernel ends the process when a comparison takes too much processor time.
"""

import json
import logging
import signal
import sys
from typing import Any

MEMORY_BYTES = 2 * 1024**3
CPU_SECONDS = 2.0


def main() -> None:
    bound_memory()
    logging.disable(logging.CRITICAL)
    from math_verify import parse, verify

    print("ready", flush=True)
    for line in sys.stdin:
        bound_time(CPU_SECONDS)
        try:
            answer = compare(parse, verify, json.loads(line))
        except (Exception, RecursionError) as error:
            answer = "unreadable"
            if isinstance(error, MemoryError):
                raise
        bound_time(0.0)
        print(answer, flush=True)


def compare(parse: Any, verify: Any, request: dict[str, Any]) -> str:
    """The expected answer goes first: math-verify forgives more in the second. Its own timeouts stay off."""
    gold = [value for value in parse(f"${request['gold']}$", parsing_timeout=None) if not isinstance(value, str)]
    if not gold or any(is_empty_relation(value) for value in gold):
        return "gold"
    seen = [value for value in parse(f"${request['seen']}$", parsing_timeout=None) if not isinstance(value, str)]
    if not seen or any(is_empty_relation(value) for value in seen):
        return "unreadable"
    return "equal" if verify(gold, seen, float_rounding=request["decimals"], timeout_seconds=None) else "differs"


def is_empty_relation(value: Any) -> bool:
    """True, False, 1 < 2 and 0 = 0: any two of them would be equal."""
    from sympy.core.relational import Relational
    from sympy.logic.boolalg import BooleanAtom

    return isinstance(value, BooleanAtom | bool) or (isinstance(value, Relational) and not value.free_symbols)


def bound_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows: the parent's clock is the only bound
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def bound_time(seconds: float) -> None:
    """After so much processor time the kernel sends SIGPROF, whose default is death, whatever the code is doing."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


if __name__ == "__main__":
    main()
