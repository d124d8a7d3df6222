"""Checkpoints: what resuming needs, written whole or not at all, as safetensors and JSON.

`checkpoints/step-000050/` holds `state.safetensors` (fp32 masters, both moments, the random state) and `state.json`
(the step, the data cursor). Only the newest is kept; it replaces the one before after it is safely on disk.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tunesmith.files import atomic_folder, read_json, write_json
from tunesmith.train.optim import MasterAdamW

_RANDOM_STATE = "random_state"
_CUDA_STATE = "cuda_random_state"


def save_checkpoint(folder: Path, step: int, optimizer: MasterAdamW, batches_state: dict[str, Any]) -> Path:
    """Save the state after `step` optimizer steps, then remove older checkpoints."""
    path = folder / f"step-{step:06d}"
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in optimizer.tensors().items()}
    with atomic_folder(path) as temporary:
        save_file({**tensors, **_random_states()}, temporary / "state.safetensors")
        write_json(temporary / "state.json", {"step": step, "batches": batches_state})
    for older in _checkpoints(folder):
        if older != path:
            shutil.rmtree(older)
    return path


def load_newest(folder: Path, optimizer: MasterAdamW) -> dict[str, Any] | None:
    """Restore the newest checkpoint into `optimizer` and the random state; None where there is none."""
    found = _checkpoints(folder)
    if not found:
        return None
    tensors = load_file(found[-1] / "state.safetensors")
    torch.set_rng_state(tensors.pop(_RANDOM_STATE))
    if _CUDA_STATE in tensors:
        torch.cuda.set_rng_state(tensors.pop(_CUDA_STATE))
    optimizer.restore(tensors)
    state: dict[str, Any] = read_json(found[-1] / "state.json")
    return state


def _random_states() -> dict[str, torch.Tensor]:
    states = {_RANDOM_STATE: torch.get_rng_state()}
    return {**states, _CUDA_STATE: torch.cuda.get_rng_state()} if torch.cuda.is_available() else states


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))
