"""The jail made by docker or podman, where bubblewrap is not to be had."""

import contextlib
import os
import shutil
import subprocess
import uuid

from tunesmith.verify.jail.bubblewrap import SCRATCH, inside_arguments
from tunesmith.verify.jail.limits import Limits
from tunesmith.verify.jail.process import Ended, run_command

ENGINES = ("docker", "podman")
# An image with a Python of version 3.11 or newer. It is never pulled in silence.
IMAGE_VARIABLE = "TUNESMITH_JAIL_IMAGE"
DEFAULT_IMAGE = "python:3-slim"
NOBODY = "65534:65534"
ANSWER_SECONDS = 20.0


def container_image() -> str:
    """The image a container is made of."""
    return os.environ.get(IMAGE_VARIABLE) or DEFAULT_IMAGE


def container_engine() -> tuple[str | None, str]:
    """An engine that answers and has the image, or None; and the reason in words."""
    reasons = []
    for name in ENGINES:
        path = shutil.which(name)
        if path is None:
            reasons.append(f"{name} is not installed")
            continue
        problem = _problem(path, container_image())
        if problem is None:
            return path, f"{name} with the image {container_image()}"
        reasons.append(f"{name}: {problem}")
    return None, "; ".join(reasons)


def run_in_container(engine: str, program: bytes, limits: Limits, mark: str) -> tuple[Ended, bool]:
    """Run a program in a container of its own; the second value says whether it was killed for want of memory."""
    name = f"tunesmith-{uuid.uuid4().hex}"
    command = [
        engine,
        *_walls(engine, name, limits),
        container_image(),
        "python3",
        *inside_arguments(limits, mark, None),
    ]

    def kill() -> None:
        _quietly([engine, "kill", "--signal", "KILL", name])

    try:
        ended = run_command(command, program, mark, limits, environment=os.environ, kill=kill)
        state = _quietly([engine, "inspect", "--format", "{{.State.OOMKilled}}", name])
    finally:
        _quietly([engine, "rm", "--force", name])
    return ended, state is not None and state.stdout.strip() == "true"


def _walls(engine: str, name: str, limits: Limits) -> list[str]:
    memory = f"{limits.memory_mib}m"
    scratch = f"{SCRATCH}:rw,noexec,nosuid,nodev,size={limits.scratch_mib}m,mode=1777"
    # podman would add writable folders of its own, without a bound.
    own = ["--read-only-tmpfs=false"] if os.path.basename(engine) == "podman" else []
    return [
        *("run", "--interactive", "--pull", "never", "--name", name, "--user", NOBODY, "--workdir", SCRATCH),
        *("--network", "none", "--read-only", "--tmpfs", scratch, "--memory", memory, "--memory-swap", memory),
        *("--pids-limit", str(limits.processes), "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        *("--ipc", "none", "--hostname", "jail", "--entrypoint", "", "--log-driver", "none", "--stop-timeout", "0"),
        *own,
    ]


def _problem(engine: str, image: str) -> str | None:
    answer = _quietly([engine, "image", "inspect", "--format", "{{.Id}}", image])
    if answer is None:
        return "it does not answer"
    if answer.returncode == 0:
        return None
    said = (answer.stderr.strip().splitlines() or ["no reason given"])[-1][:200]
    return f"{said} (get the image once with: {os.path.basename(engine)} pull {image})"


def _quietly(command: list[str]) -> subprocess.CompletedProcess[str] | None:
    """Ask the engine; None where it cannot be started or hangs."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(
            command, capture_output=True, text=True, timeout=ANSWER_SECONDS, stdin=subprocess.DEVNULL, check=False
        )
    return None
