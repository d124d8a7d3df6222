"""Rendered conversations on disk, read by position through memory maps.

`tokens.bin` (int32) and `weights.bin` (float32) hold all conversations end to end; `offsets.bin` (int64) says where
each begins; `ids.jsonl` names them. Memory stays small whatever the size, and any order of reading costs the same,
so that shuffling and exact resumption are a matter of indices.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from tunesmith.errors import DataError, RenderError
from tunesmith.files import to_plain
from tunesmith.types import Conversation, Dropped, Rendered

if TYPE_CHECKING:
    from tunesmith.render import RenderConfig, Renderer

_NAMES = ("tokens.bin", "weights.bin", "offsets.bin", "ids.jsonl")


def write_rendered(
    config: "RenderConfig", renderer: "Renderer", conversations: Iterable[Conversation], folder: Path
) -> dict[str, Any]:
    """Render each conversation into the four files and return the counts; see `tunesmith.render.render`."""
    counts: Counter[str] = Counter()
    longest = 0
    with (
        (folder / "tokens.bin").open("wb") as tokens,
        (folder / "weights.bin").open("wb") as weights,
        (folder / "offsets.bin").open("wb") as offsets,
        (folder / "ids.jsonl").open("w", encoding="utf-8") as ids,
        (folder / "dropped.jsonl").open("w", encoding="utf-8") as dropped,
    ):
        offsets.write(np.int64(0).tobytes())
        for conversation in conversations:
            counts["in"] += 1
            rendered = renderer.render(conversation)
            if rendered.num_tokens > config.max_tokens:
                _drop_or_refuse(config, conversation, rendered, dropped)
                counts["dropped"] += 1
                continue
            tokens.write(rendered.tokens.tobytes())
            weights.write(rendered.loss_weights.tobytes())
            counts["tokens"] += rendered.num_tokens
            counts["supervised"] += rendered.num_supervised
            longest = max(longest, rendered.num_tokens)
            offsets.write(np.int64(counts["tokens"]).tobytes())
            ids.write(json.dumps(conversation.id) + "\n")
        for file in (tokens, weights, offsets, ids, dropped):
            file.flush()
            os.fsync(file.fileno())
    return {
        "num_in": counts["in"],
        "num_out": counts["in"] - counts["dropped"],
        "num_dropped": counts["dropped"],
        "dropped_by_reason": {"too_long": counts["dropped"]} if counts["dropped"] else {},
        "num_tokens": counts["tokens"],
        "num_supervised": counts["supervised"],
        "longest": longest,
    }


def _drop_or_refuse(config: "RenderConfig", conversation: Conversation, rendered: Rendered, file: Any) -> None:
    detail = f"{rendered.num_tokens} tokens, more than render.max_tokens = {config.max_tokens}"
    if config.too_long == "error":
        raise RenderError(
            f"{conversation.source or conversation.id}: {detail}. Raise it with --set "
            f"render.max_tokens={rendered.num_tokens}, or leave such conversations out with --set "
            "render.too_long=drop"
        )
    record = Dropped(conversation.id, "render", "too_long", detail, conversation.source)
    file.write(json.dumps(to_plain(record), ensure_ascii=False) + "\n")


class RenderedFile(Sequence[Rendered]):
    """The rendered conversations of a folder, by position."""

    def __init__(self, folder: Path) -> None:
        missing = [name for name in _NAMES if not (folder / name).is_file()]
        if missing:
            raise DataError(f"{folder}: not a folder of rendered conversations ({', '.join(missing)} missing)")
        self.folder = folder
        self._offsets = np.fromfile(folder / "offsets.bin", np.int64)
        self._tokens = _map(folder / "tokens.bin", np.int32)
        self._weights = _map(folder / "weights.bin", np.float32)
        with (folder / "ids.jsonl").open(encoding="utf-8") as file:
            self._ids = [json.loads(line) for line in file]
        if (
            len(self._ids) != len(self)
            or self._tokens.size != self._offsets[-1]
            or self._weights.size != self._tokens.size
        ):
            raise DataError(f"{folder}: its files disagree about their length; render again")

    def __len__(self) -> int:
        return int(self._offsets.size) - 1

    @overload
    def __getitem__(self, index: int) -> Rendered: ...
    @overload
    def __getitem__(self, index: slice) -> list[Rendered]: ...
    def __getitem__(self, index: int | slice) -> Rendered | list[Rendered]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        start, end = self._offsets[index], self._offsets[index + 1]
        return Rendered(self._ids[index], self._tokens[start:end], self._weights[start:end])


def _map(path: Path, kind: Any) -> Any:
    """A read-only memory map; an empty file, which cannot be mapped, is an empty array."""
    return np.memmap(path, kind, "r") if path.stat().st_size else np.zeros(0, kind)
