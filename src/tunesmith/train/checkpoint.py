"""Checkpoints: what resuming needs, written whole or not at all, as safetensors and JSON.

`checkpoints/step-000050/` holds `state.safetensors` (exact weights, moments, the random state) and `state.json` (the
step, the data cursor, the schedule, the checksums of both). The newest few are kept. One that was damaged since is
found by its checksum, put aside as `damaged-step-000050`, and the one before it is taken.
"""

import errno
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tunesmith.errors import DataError, TrainError
from tunesmith.files import atomic_folder, fingerprint, read_json, write_json

TENSORS, FACTS = "state.safetensors", "state.json"
_RANDOM_STATE = "random_state"
_CUDA_STATE = "cuda_random_state"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Saved(NamedTuple):
    """What a checkpoint held. `damaged` are the newer ones that could not be read, each with the reason."""

    path: Path
    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    damaged: tuple[str, ...] = ()


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], facts: dict[str, Any], keep: int) -> Path:
    """Save the state after `step` optimizer steps, then remove all but the newest `keep` checkpoints.

    `facts` are plain JSON. Raises TrainError when the disk is full; the checkpoints of before are then still whole.
    """
    path = folder / f"step-{step:06d}"
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with room_for(path, folder), atomic_folder(path) as temporary:
        save_file({**plain, **random_states()}, temporary / TENSORS)
        content = {"step": step, "checksum": checksum(temporary / TENSORS), **facts}
        write_json(temporary / FACTS, {**content, "fingerprint": fingerprint(content)})
    for older in checkpoints(folder)[:-keep]:
        shutil.rmtree(older)
    return path


def load_newest(folder: Path) -> Saved | None:
    """The newest whole checkpoint, with the random state set to what it was; None where there is none.

    Damaged newer ones are renamed to `damaged-...`. Raises TrainError when there are checkpoints and none is whole.
    """
    damaged: list[str] = []
    for path in reversed(checkpoints(folder)):
        try:
            saved = _read(path)
        except (DataError, SafetensorError, KeyError) as error:
            damaged.append(f"{path.name} ({error})")
            aside = path.with_name(f"damaged-{path.name}")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
            continue
        restore_random_states(saved.tensors)
        return saved._replace(damaged=tuple(damaged))
    if damaged:
        raise TrainError(
            f"no checkpoint in {folder} is whole: {'; '.join(damaged)}. They were renamed to damaged-*; the same "
            "command now starts the training from its beginning"
        )
    return None


def _read(path: Path) -> Saved:
    facts: dict[str, Any] = read_json(path / FACTS)
    mark = facts.pop("fingerprint", None)
    if mark != fingerprint(facts):
        raise DataError(f"{path / FACTS}: its content does not match its fingerprint")
    if not (path / TENSORS).is_file():
        raise DataError(f"{path / TENSORS}: missing")
    if checksum(path / TENSORS) != facts["checksum"]:
        raise DataError(f"{path / TENSORS}: its content does not match its checksum")
    return Saved(path, int(facts["step"]), load_file(path / TENSORS), facts)


def checksum(path: Path) -> int:
    """CRC-32 of a file, which finds torn writes and flipped bits at the disk's speed."""
    found = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found = zlib.crc32(block, found)
    return found


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest first."""
    return sorted(folder.glob("step-*"))


@contextmanager
def room_for(path: Path, folder: Path) -> Iterator[None]:
    """Make a full disk a TrainError that names `path`, the room left, and the last good checkpoint in `folder`."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        code = error.errno if isinstance(error, OSError) else _system_code(error)
        if code not in _FULL:
            raise
        kept = checkpoints(folder)
        place = next(parent for parent in path.parents if parent.exists())
        raise TrainError(
            f"the disk is full: {path} could not be written ({shutil.disk_usage(place).free / 1e6:,.1f} MB free). "
            f"Last good checkpoint: {kept[-1] if kept else 'none yet'}. Make room and run the same command again: it "
            "goes on from there. train.keep_checkpoints = 1 takes the least room"
        ) from error


def _system_code(error: SafetensorError) -> int | None:
    """The operating system's error number, which safetensors gives only in its text."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None


def random_states() -> dict[str, Tensor]:
    """The state of torch's random numbers on the CPU and, where there is one, on the GPU."""
    states = {_RANDOM_STATE: torch.get_rng_state()}
    return {**states, _CUDA_STATE: torch.cuda.get_rng_state()} if torch.cuda.is_available() else states


def restore_random_states(tensors: dict[str, Tensor]) -> None:
    """The inverse of `random_states`; takes the states out of `tensors`."""
    torch.set_rng_state(tensors.pop(_RANDOM_STATE))
    on_gpu = tensors.pop(_CUDA_STATE, None)
    if on_gpu is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(on_gpu)
