"""What names an engine before anything heavy is loaded: its line in a report, and the mark of its answers."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tunesmith.files import fingerprint
from tunesmith.render import Renderer

DECIDING = ("torch", "transformers", "tokenizers")


def local_engine(dtype: str, batch_prompts: int) -> str:
    """The report's line of generation on this machine, for example `local, dtype auto, batches of 64`."""
    return f"local, dtype {dtype}, batches of {batch_prompts}"


def local_mark(digest: str, engine: str, renderer: Renderer) -> str:
    """Changes with anything but prompt and sampling that could change an answer.

    The weights, the engine and its mode, the chat template, the libraries' versions, and the processor, whose kind
    decides number formats and the order of sums.
    """
    return fingerprint([digest, engine, renderer.fingerprint, [_version(name) for name in DECIDING], machine()])


def machine() -> list[str]:
    """What computes here: the processor, and the graphics devices that this process may use. Imports nothing heavy."""
    names = sorted(path.read_text() for path in Path("/proc/driver/nvidia/gpus").glob("*/information"))
    models = [line for name in names for line in name.splitlines() if line.startswith("Model:")]
    return [platform.system(), platform.machine(), _processor(), *models, os.environ.get("CUDA_VISIBLE_DEVICES", "all")]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
