"""Rendered conversations on disk, read by position through memory maps.

A folder holds `shards/` and `index.bin`, which is written last. A shard holds what one chunk of the input became,
end to end; it knows the content alone, so that a cache can share it between runs. The index says in which order the
shards come, how long each conversation is and what it is called. Memory stays small whatever the size, and any order
of reading costs the same, so that shuffling and exact resumption are a matter of indices.

Both are files of arrays, little-endian:

    magic (8 bytes) | CRC-32 of all that follows (uint32) | length of the header (uint32) | length of the file (uint64)
    | header (JSON: facts, and each array's type, shape and place) | the arrays, each at a multiple of 64 bytes
"""

import json
import mmap
import struct
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from tunesmith.errors import DataError
from tunesmith.files import atomic_write
from tunesmith.types import LINEAR, Rendered

INDEX = "index.bin"
SHARDS = "shards"
SUFFIX = ".shard"
MAGIC = b"tunesm1\n"
HEAD = struct.Struct("<8sI")
SIZES = struct.Struct("<IQ")
ALIGNMENT = 64
MAX_OPEN_SHARDS = 256  # each holds a file descriptor, of which a process often has 1,024


class Arrays(NamedTuple):
    """What a file of arrays holds. The arrays are read-only views of a memory map."""

    facts: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


def write_arrays(path: Path, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a file of arrays, whole or not at all."""
    table: dict[str, Any] = {}
    blocks: list[bytes] = []
    place = 0
    for name, array in arrays.items():
        table[name] = [array.dtype.str, list(array.shape), place]
        blocks.append(_padded(array.tobytes(), 0))
        place += len(blocks[-1])
    start = HEAD.size + SIZES.size
    header = _padded(json.dumps({"facts": facts, "arrays": table}).encode(), start, b" ")
    blocks = [SIZES.pack(len(header), start + len(header) + place), header, *blocks]
    checksum = 0
    for block in blocks:
        checksum = zlib.crc32(block, checksum)
    with atomic_write(path, "wb") as file:
        file.write(HEAD.pack(MAGIC, checksum))
        file.writelines(blocks)


def _padded(block: bytes, before: int, filler: bytes = b"\0") -> bytes:
    return block + filler * (-(before + len(block)) % ALIGNMENT)


def open_arrays(path: Path, *, check: bool = False) -> Arrays:
    """Map a file of arrays; with `check` its every byte is proven by the checksum.

    Raises DataError when the file is missing, cut short, damaged, or something else.
    """
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; render again") from None
    except ValueError:  # an empty file cannot be mapped
        raise _damaged(path, "it is empty") from None
    start = HEAD.size + SIZES.size
    if len(mapped) < start or mapped[: len(MAGIC)] != MAGIC:
        raise _damaged(path, "it does not begin like one")
    header_bytes, size = SIZES.unpack_from(mapped, HEAD.size)
    if len(mapped) != size or size < start + header_bytes:
        raise _damaged(path, f"it has {len(mapped):,} bytes in place of {size:,}")
    if check and _checksum(mapped) != HEAD.unpack_from(mapped)[1]:
        raise _damaged(path, "its checksum does not match")
    try:
        header = json.loads(mapped[start : start + header_bytes])
        views = {name: _view(mapped, start + header_bytes, *spec) for name, spec in header["arrays"].items()}
        return Arrays(header["facts"], views)
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"its header cannot be read: {error}") from None


def _checksum(mapped: mmap.mmap) -> int:
    with memoryview(mapped) as view, view[HEAD.size :] as rest:
        return zlib.crc32(rest)


def _view(mapped: mmap.mmap, start: int, kind: str, shape: list[int], place: int) -> NDArray[Any]:
    count = int(np.prod(shape, dtype=np.int64))
    if count == 0:  # nothing can be mapped at the end of the file
        return np.zeros(shape, np.dtype(kind))
    return np.frombuffer(mapped, np.dtype(kind), count, start + place).reshape(shape)


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"{path}: not a whole file of rendered conversations ({what}); render again")


def is_rendered(folder: Path) -> bool:
    """Whether `folder` holds rendered conversations, finished."""
    return (folder / INDEX).is_file()


class RenderedFile(Sequence[Rendered]):
    """The rendered conversations of a folder, by position.

    `lengths` and `supervised` (int64 [N]) hold the tokens and the supervised tokens of each, without reading it;
    `num_pairs` counts those with a chosen and a rejected answer.
    """

    def __init__(self, folder: Path) -> None:
        """Raises DataError when the folder holds none, is unfinished, or misses a shard."""
        if not is_rendered(folder):
            raise DataError(f"{folder}: not a folder of rendered conversations ({INDEX} missing); render again")
        self.folder = folder
        index = open_arrays(folder / INDEX)
        self.lengths: NDArray[np.int64] = index.arrays["lengths"]
        self.supervised: NDArray[np.int64] = index.arrays["supervised"]
        self.num_pairs: int = index.facts["num_pairs"]
        self._starts = index.arrays["starts"]
        self._id_ends = index.arrays["id_ends"]
        self._ids = index.arrays["ids"]
        self._paths = [folder / SHARDS / f"{key}{SUFFIX}" for key in index.facts["shards"]]
        for path, size in zip(self._paths, index.facts["sizes"], strict=True):
            _check_size(path, size)
        self._shard = lru_cache(MAX_OPEN_SHARDS)(lambda number: open_arrays(self._paths[number]).arrays)

    def __len__(self) -> int:
        return int(self.lengths.size)

    @overload
    def __getitem__(self, index: int) -> Rendered: ...
    @overload
    def __getitem__(self, index: slice) -> list[Rendered]: ...
    def __getitem__(self, index: int | slice) -> Rendered | list[Rendered]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"{self.folder}: no conversation {index} among {len(self)}")
        number = int(np.searchsorted(self._starts, position, "right")) - 1
        return rendered_at(self._shard(number), position - int(self._starts[number]), self.conversation_id(position))

    def conversation_id(self, position: int) -> str:
        """The id of the conversation at `position`, from 0 on."""
        first = int(self._id_ends[position - 1]) if position else 0
        return self._ids[first : self._id_ends[position]].tobytes().decode("utf-8", "surrogatepass")


def rendered_at(arrays: Mapping[str, NDArray[Any]], place: int, conversation_id: str) -> Rendered:
    """The conversation at `place` of a shard's arrays."""
    start, end = arrays["offsets"][place : place + 2].tolist()
    branches = LINEAR
    if "branches" in arrays:
        first, last = arrays["branch_offsets"][place : place + 2].tolist()
        branches = arrays["branches"][first:last]
    return Rendered(
        conversation_id,
        arrays["tokens"][start:end],
        arrays["weights"][start:end].astype(np.float32, copy=False),
        branches,
        arrays["parts"][start:end] if "parts" in arrays else None,
    )


def _check_size(path: Path, size: int) -> None:
    try:
        seen = path.stat().st_size
    except FileNotFoundError:
        raise DataError(f"{path}: missing; render again") from None
    if seen != size:
        raise _damaged(path, f"it has {seen:,} bytes in place of {size:,}")
