"""Checkpoints: what resuming needs, written whole or not at all, as safetensors and JSON.

`checkpoints/step-000050/` holds `state.safetensors` (exact weights, moments, the random state) and `state.json` (the
step, the data cursor, the schedule, the checksums of both). Several ranks write `shard-*.safetensors` in place of the
one file. The newest few are kept. One that was damaged since is
found by its checksum, put aside as `damaged-step-000050`, and the one before it is taken.
"""

import errno
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tunesmith.errors import DataError, TrainError
from tunesmith.files import atomic_folder, fingerprint, read_json, write_json
from tunesmith.train.parallel.ranks import ALONE, Ranks
from tunesmith.train.parallel.sharded import load_sharded, save_sharded

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


def save_checkpoint(
    folder: Path, step: int, tensors: dict[str, Tensor], facts: dict[str, Any], keep: int, ranks: Ranks = ALONE
) -> Path:
    """Save the state after `step` optimizer steps, then remove all but the newest `keep` checkpoints.

    `facts` are plain JSON. Raises TrainError when the disk is full; the checkpoints of before are then still whole.
    Every rank must call it, and raises what one of them raises.
    """
    path = folder / f"step-{step:06d}"
    tensors = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    tensors |= random_states(ranks)
    with room_for(path, folder), _common_folder(path, ranks) as temporary:
        if ranks.world_size == 1:
            save_file({name: tensor.cpu() for name, tensor in tensors.items()}, temporary / TENSORS)
        else:
            save_sharded(temporary, tensors)
        checksums = _checksums(temporary, ranks)
        if ranks.is_first:
            content = {"step": step, "checksums": checksums, **facts}
            write_json(temporary / FACTS, {**content, "fingerprint": fingerprint(content)})
    if ranks.is_first:
        prune(folder, keep)
    ranks.barrier()
    return path


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints."""
    for older in checkpoints(folder)[:-keep]:
        shutil.rmtree(older)


@contextmanager
def _common_folder(path: Path, ranks: Ranks) -> Iterator[Path]:
    """The temporary folder in which all ranks write; the first one made it, and renames it to `path` in the end."""
    if ranks.is_first:
        with atomic_folder(path) as temporary:
            yield ranks.gather(temporary)[0]
    else:
        yield ranks.gather(path)[0]


def _checksums(folder: Path, ranks: Ranks) -> dict[str, int]:
    """The checksum of each tensor file; the ranks divide the files among them."""
    paths = sorted(folder.glob("*.safetensors"))
    mine = {path.name: checksum(path) for path in paths[ranks.rank :: ranks.world_size]}
    return {name: value for found in ranks.gather(mine) for name, value in found.items()}


def load_newest(folder: Path, like: Mapping[str, Tensor] | None = None, ranks: Ranks = ALONE) -> Saved | None:
    """The newest whole checkpoint, with the random state set to what it was; None where there is none.

    Any number of ranks reads what any number wrote: a tensor `KEY/NAME` comes sharded as `like[NAME]` is. Damaged
    newer checkpoints are renamed to `damaged-...`. Raises TrainError when there are checkpoints and none is whole.
    """
    damaged: list[str] = []
    for path in reversed(ranks.gather(checkpoints(folder))[0]):
        complaint = next(filter(None, ranks.gather(_complaint(path, ranks))), None)
        if complaint is not None:
            damaged.append(f"{path.name} ({complaint})")
            if ranks.is_first:
                aside = path.with_name(f"damaged-{path.name}")
                shutil.rmtree(aside, ignore_errors=True)
                path.rename(aside)
            ranks.barrier()
            continue
        is_simple = ranks.world_size == 1 and (path / TENSORS).is_file()
        tensors = load_file(path / TENSORS) if is_simple else load_sharded(path, like or {})
        facts = read_json(path / FACTS)
        restore_random_states(tensors, ranks)
        return Saved(path, int(facts["step"]), tensors, facts, tuple(damaged))
    if damaged:
        raise TrainError(
            f"no checkpoint in {folder} is whole: {'; '.join(damaged)}. They were renamed to damaged-*; the same "
            "command now starts the training from its beginning"
        )
    return None


def _complaint(path: Path, ranks: Ranks) -> str | None:
    """What is wrong with a checkpoint, as far as this rank looks; None where nothing is."""
    try:
        facts: dict[str, Any] = read_json(path / FACTS)
    except DataError as error:
        return str(error)
    mark = facts.pop("fingerprint", None)
    if mark != fingerprint(facts):
        return f"{path / FACTS}: its content does not match its fingerprint"
    for name, expected in sorted(facts["checksums"].items())[ranks.rank :: ranks.world_size]:
        if not (path / name).is_file():
            return f"{path / name}: missing"
        if checksum(path / name) != expected:
            return f"{path / name}: its content does not match its checksum"
    return None


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


def random_states(ranks: Ranks = ALONE) -> dict[str, Tensor]:
    """The state of this rank's random numbers in torch, on the CPU and, where there is one, on the GPU."""
    states = {_of_rank(_RANDOM_STATE, ranks): torch.get_rng_state()}
    if torch.cuda.is_available():
        states[_of_rank(_CUDA_STATE, ranks)] = torch.cuda.get_rng_state()
    return states


def restore_random_states(tensors: dict[str, Tensor], ranks: Ranks = ALONE) -> None:
    """The inverse of `random_states`; takes the states out of `tensors`. A rank that the checkpoint does not know
    keeps the state it has."""
    on_cpu = tensors.pop(_of_rank(_RANDOM_STATE, ranks), None)
    if on_cpu is not None:
        torch.set_rng_state(on_cpu)
    on_gpu = tensors.pop(_of_rank(_CUDA_STATE, ranks), None)
    if on_gpu is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(on_gpu)


def _of_rank(name: str, ranks: Ranks) -> str:
    return name if ranks.is_first else f"{name} of rank {ranks.rank}"
