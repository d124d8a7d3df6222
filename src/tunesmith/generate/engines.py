"""What names an engine before anything heavy is loaded: its line in a report, and the mark of its answers."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from tunesmith.files import fingerprint, read_json, write_json
from tunesmith.generate import Prompt, Shapes
from tunesmith.model import cache_folder
from tunesmith.render import Renderer
from tunesmith.types import TokenArray

DECIDING = ("torch", "transformers", "tokenizers")


def prompt_tokens(prompt: Prompt, renderer: Renderer) -> TokenArray:
    """The tokens that a local model is given to go on behind."""
    if prompt.text is not None:
        return renderer.plain(prompt.text)
    asked = renderer.prompt(prompt.messages, prompt.tools)
    return np.concatenate([asked, renderer.continued(prompt.begun)]) if prompt.begun else asked


def stops_of(prompt: Prompt, renderer: Renderer) -> tuple[int, ...]:
    """What ends the answer: the end of a turn, or of a document."""
    return renderer.stop_tokens if prompt.text is None else renderer.document_stops


def local_mode(dtype: str, batch_prompts: int, shapes: Shapes) -> str:
    """How generation on this machine was asked for; what serves the model then is found when it is loaded."""
    return f"local, dtype {dtype}, {batch_prompts} at once, {shapes} shapes"


def known_engine(mark: str) -> str | None:
    """The report's line for a model that was loaded before, from the cache."""
    path = _line_file(mark)
    return str(read_json(path)["engine"]) if path.exists() else None


def remember_engine(mark: str, engine: str) -> None:
    write_json(_line_file(mark), {"engine": engine})


def _line_file(mark: str) -> Path:
    return cache_folder() / "generate" / "engines" / f"{mark}.json"


def local_mark(digest: str, mode: str, renderer: Renderer) -> str:
    """Changes with anything but prompt and sampling that could change an answer.

    The weights, the mode, the chat template, the libraries' versions, and the processor, whose kind
    decides number formats and the order of sums.
    """
    return fingerprint([digest, mode, renderer.fingerprint, [_version(name) for name in DECIDING], machine()])


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
