"""Models from scratch: a named architecture, a seed and the tokenizer of another model become a model folder.

`new:llama-15m` takes the tokenizer of the default embedded model, `new:llama-15m@FOLDER` that of any other model. The
weights are random, as transformers initializes them, and a function of the seed and of torch's version. Written once
into the cache as a model folder like any other.
"""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tunesmith.errors import ModelError
from tunesmith.files import atomic_folder, fingerprint
from tunesmith.model import ModelConfig, cache_folder, copy_tokenizer, tokenizer_folder
from tunesmith.model.tokenizer import Tokenizer

PREFIX = "new:"


@dataclass(frozen=True, slots=True)
class Architecture:
    """A Llama with tied embeddings and full multi-head attention."""

    width: int
    num_layers: int
    num_heads: int
    mlp_width: int
    max_tokens: int = 2048


ARCHITECTURES = {
    "llama-1m": Architecture(width=128, num_layers=4, num_heads=4, mlp_width=384),
    # The shape of stories15M (Karpathy 2023, llama2.c).
    "llama-15m": Architecture(width=288, num_layers=6, num_heads=6, mlp_width=768),
    # The shape of llama_60m (Zhao et al. 2024, GaLore).
    "llama-60m": Architecture(width=512, num_layers=8, num_heads=8, mlp_width=1376),
}


def scratch_folder(config: ModelConfig) -> Path:
    """The folder of a new model, made on first use; raises ModelError for an unknown architecture."""
    name = _architecture_name(config)
    tokens_from = scratch_tokenizer(config)
    tokenizer = Tokenizer.load(tokens_from)
    versions = [version("torch"), version("transformers")]
    mark = fingerprint([name, ARCHITECTURES[name], config.seed, tokenizer.fingerprint, versions])
    folder = cache_folder() / "new" / f"{name}-{mark}"
    if not folder.exists():
        from tunesmith.model.load import write_random_llama

        with atomic_folder(folder) as temporary:
            write_random_llama(ARCHITECTURES[name], tokenizer, config.seed, temporary)
            copy_tokenizer(tokens_from, temporary)
    return folder


def scratch_tokenizer(config: ModelConfig) -> Path:
    """The folder of the tokenizer that a new model takes; needs no torch."""
    _architecture_name(config)
    _, _, other = config.name.partition("@")
    return tokenizer_folder(ModelConfig(name=other) if other else ModelConfig())


def _architecture_name(config: ModelConfig) -> str:
    name = config.name.removeprefix(PREFIX).partition("@")[0]
    if name not in ARCHITECTURES:
        raise ModelError(
            f"model {config.name!r}: no architecture {name!r}; there are {', '.join(ARCHITECTURES)}, for example "
            "new:llama-15m, or new:llama-15m@FOLDER for the tokenizer of another model"
        )
    return name
