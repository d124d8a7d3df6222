"""A step back towards the base: weights = base + alpha * (tuned - base).

What tuning changed fades evenly, and losses often fade sooner than gains (WiSE-FT: Wortsman et al. 2022,
arXiv:2109.01903; task arithmetic: Ilharco et al. 2023, arXiv:2212.04089). Shard by shard, in float32.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from tunesmith.errors import MissingExtra, ModelError
from tunesmith.files import atomic_folder, read_json
from tunesmith.model import ModelConfig, model_folder

try:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file
except ImportError as error:
    raise MissingExtra("safetensors", "train", "merging models") from error

ADAPTER = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
COPIED = (".json", ".jinja", ".txt", ".model")
FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight")
HEADS = ("lm_head.weight", "embed_out.weight")


def merge_back(base: ModelConfig, tuned: Path, alpha: float, folder: Path) -> Literal["lora", "full"]:
    """Write the model that lies at `alpha` on the way from `base` (0) to `tuned` (1) into `folder`, atomically.

    `tuned` is a whole model folder, or an adapter folder of `base`. A plain LoRA stays an adapter, whose B matrices
    are scaled; an adapter that is no linear function of its weights, or that holds whole layers, is put into the
    weights of a whole model first. Returns what was written. Raises ModelError where the two do not fit together.
    """
    if not 0 <= alpha <= 1:
        raise ModelError(f"alpha = {alpha:g}: give a number from 0 (the base) to 1 (the tuned model)")
    if not (tuned / ADAPTER).is_file():
        _interpolate(model_folder(base), tuned, alpha, folder)
        return "full"
    if _is_linear(tuned):
        _scale(tuned, alpha, folder)
        return "lora"
    from tunesmith.model.load import write_merged

    with tempfile.TemporaryDirectory(dir=_parent(folder)) as temporary:
        whole = Path(temporary) / "whole"
        write_merged(base, tuned, whole)
        _interpolate(model_folder(base), whole, alpha, folder)
    return "full"


def lerp(base: Tensor, tuned: Tensor, alpha: float) -> Tensor:
    """base + alpha * (tuned - base) in float32, in the number format of `tuned`; exact at both ends."""
    between = torch.lerp(base.to(torch.float32), tuned.to(torch.float32), alpha)
    return between.to(tuned.dtype)


def _parent(folder: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder.parent


def _is_linear(adapter: Path) -> bool:
    """Whether the change of the weights is proportional to the adapter's B matrices, and there is nothing else."""
    config = read_json(adapter / ADAPTER)
    extras = ("use_dora", "modules_to_save", "trainable_token_indices")
    if config.get("peft_type") != "LORA" or any(config.get(key) for key in extras) or config.get("bias") != "none":
        return False
    with safe_open(adapter / ADAPTER_WEIGHTS, "pt") as file:
        names = file.keys()
    return all("lora_A" in name or "lora_B" in name or "lora_embedding_" in name for name in names)


def _scale(adapter: Path, alpha: float, folder: Path) -> None:
    tensors: dict[str, Tensor] = load_file(adapter / ADAPTER_WEIGHTS)
    scaled = {
        name: lerp(torch.zeros_like(tensor), tensor, alpha) if _is_b(name) else tensor
        for name, tensor in tensors.items()
    }
    with atomic_folder(folder) as temporary:
        _copy_others(adapter, temporary)
        save_file(scaled, temporary / ADAPTER_WEIGHTS, metadata={"format": "pt"})


def _is_b(name: str) -> bool:
    return "lora_B" in name or "lora_embedding_B" in name


def _interpolate(base: Path, tuned: Path, alpha: float, folder: Path) -> None:
    """One output shard for each shard of `tuned`, so no more than a shard of each is in memory."""
    shards = sorted(tuned.glob("*.safetensors"))
    if not shards:
        raise ModelError(f"{tuned}: neither an adapter nor *.safetensors weights in this folder")
    with _reading(base) as before, _reading(tuned) as after, atomic_folder(folder) as temporary:
        before.check_against(after)
        _copy_others(tuned, temporary)
        for shard in shards:
            names = [name for name, path in after.places.items() if path == shard]
            merged = {name: _between(before.tensor(name), after.tensor(name), alpha, name) for name in names}
            save_file(merged, temporary / shard.name, metadata={"format": "pt"})


def _between(base: Tensor, tuned: Tensor, alpha: float, name: str) -> Tensor:
    if base.shape != tuned.shape:
        raise ModelError(
            f"{name} has the shape {tuple(tuned.shape)} in the tuned model and {tuple(base.shape)} in the base; "
            "name the base that it was tuned from, with the same vocabulary"
        )
    if tuned.dtype in FLOATS and base.dtype in FLOATS:
        return lerp(base, tuned, alpha).contiguous()
    if torch.equal(base, tuned):
        return tuned
    raise ModelError(f"{name} is {tuned.dtype}: quantized weights cannot be merged; use the models before quantization")


class _Weights:
    """The tensors of a model folder by name, read from their shards when they are asked for."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.files = {path: stack.enter_context(safe_open(path, "pt")) for path in sorted(folder.glob("*.safetensors"))}
        self.places = {name: path for path, file in self.files.items() for name in file.keys()}  # noqa: SIM118
        # Families that tie by default leave the field out of config.json.
        self.is_tied = bool(read_json(folder / "config.json").get("tie_word_embeddings", True))

    def tensor(self, name: str) -> Tensor:
        found: Tensor = self.files[self.places[self._stored(name)]].get_tensor(self._stored(name))
        return found

    def holds(self, name: str) -> bool:
        return self._stored(name) in self.places

    def _stored(self, name: str) -> str:
        """A head that is tied to the embedding may be stored under the embedding's name alone."""
        if name in self.places or not self.is_tied or not name.endswith(HEADS):
            return name
        return next((each for each in self.places if each.endswith(EMBEDDINGS)), name)

    def check_against(self, other: "_Weights") -> None:
        missing = [name for name in other.places if not self.holds(name)]
        missing += [name for name in self.places if not other.holds(name)]
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise ModelError(
                f"{other.folder} was not tuned from {self.folder}: only one of them has {', '.join(missing[:3])}{more}"
            )


@contextmanager
def _reading(folder: Path) -> Iterator[_Weights]:
    with ExitStack() as stack:
        yield _Weights(folder, stack)


def _copy_others(source: Path, target: Path) -> None:
    """Configuration, tokenizer and chat template; a manifest belongs to the run that wrote it."""
    for path in sorted(source.iterdir()):
        if path.is_file() and path.suffix in COPIED and path.name != "manifest.json":
            shutil.copy2(path, target / path.name)


def merge_facts(alpha: float, base: str, tuned: str, method: str, lineage: Any = None) -> dict[str, Any]:
    """What a pool remembers of a merge: the digests of both ends and the way between, after the lineage of `tuned`."""
    step = {"phase": "merge", "alpha": alpha, "parent": base, "tuned": tuned, "method": method}
    return {"method": method, "lineage": [*(lineage or []), step]}
