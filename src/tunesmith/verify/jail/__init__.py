"""The jail: the only place where code that a model wrote is run.

    outcome = run_python("print(6 * 7)", Limits(wall_seconds=5))

bubblewrap first, docker or podman where it does not work, SkippedError where neither does: never bare. Before the
first run of a process the chosen way must prove that it holds.
"""

from tunesmith.verify.jail.limits import Limits, Outcome
from tunesmith.verify.jail.probe import find_jail
from tunesmith.verify.jail.ways import Jail, run_in

__all__ = ["Jail", "Limits", "Outcome", "find_jail", "run_python"]


def run_python(program: str | bytes, limits: Limits | None = None) -> Outcome:
    """Run a Python program where it can harm nothing: no network, no files of yours, bounded in all it uses.

    It sees the standard library, a small writable /tmp that is gone afterwards, an empty environment and an empty
    standard input. Raises SkippedError, with how to mend it, where no jail works on this machine.
    """
    return run_in(find_jail(), program, limits or Limits())
