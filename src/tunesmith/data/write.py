"""A stream of conversations to a folder: kept, held out, dropped. All files appear together, or none does."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tunesmith.data import DataConfig
from tunesmith.data.holdout import heldout_indices, question_text
from tunesmith.data.stream import Conversations
from tunesmith.errors import DataError
from tunesmith.files import to_plain
from tunesmith.messages import conversation_to_dict
from tunesmith.types import Conversation, Dropped

CONVERSATIONS = "conversations.jsonl"
HELDOUT = "heldout.jsonl"
DROPPED = "dropped.jsonl"


def write(config: DataConfig, folder: Path) -> dict[str, Any]:
    """What `tunesmith.data.write_data` does."""
    with _together(folder) as scratch, ExitStack() as stack:
        drops = _Drops(scratch / DROPPED, stack)
        stream = Conversations(config, drops.add)
        tally = _Tally()
        kept = stack.enter_context((scratch / CONVERSATIONS).open("w", encoding="utf-8"))
        clusters = _write_all(stream, kept, tally)
        _refuse_nothing(stream, tally, drops)
        kept.close()
        heldout = heldout_indices(clusters, config.holdout, config.seed) if config.holdout else set()
        if heldout:
            _split(scratch, heldout)
    return _facts(stream, tally, drops, len(heldout))


@dataclass(slots=True)
class _Tally:
    """What is counted over the kept conversations, held-out ones included."""

    num_kept: int = 0
    num_messages: int = 0
    num_pairs: int = 0
    system: str | None = None
    has_shared_system: bool = True

    def add(self, conversation: Conversation) -> None:
        first = conversation.messages[0] if conversation.messages else None
        system = first.content if first is not None and first.role == "system" else None
        is_shared = system is not None and (self.num_kept == 0 or system == self.system)
        self.has_shared_system = self.has_shared_system and is_shared
        self.system = system if self.num_kept == 0 else self.system
        self.num_kept += 1
        self.num_messages += len(conversation.messages)
        self.num_pairs += bool(conversation.rejected)


@dataclass(slots=True)
class _Drops:
    """The file of what was dropped, which exists from the first one on."""

    path: Path
    stack: ExitStack
    file: IO[str] | None = None
    first: str = ""
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, dropped: Dropped) -> None:
        if self.file is None:
            self.file = self.stack.enter_context(self.path.open("w", encoding="utf-8"))
            self.first = dropped.detail
        # Escaped, and with dates as text: a dropped record may hold what no file could carry otherwise.
        self.file.write(json.dumps(to_plain(dropped), default=str) + "\n")
        self.reasons[dropped.reason] += 1


def _write_all(stream: Conversations, file: IO[str], tally: _Tally) -> list[int]:
    """Write every conversation; returns their near-duplicate clusters when some are to be held out."""

    def questions() -> Iterator[str]:
        for conversation in stream:
            file.write(json.dumps(conversation_to_dict(conversation), ensure_ascii=False) + "\n")
            tally.add(conversation)
            yield question_text(conversation)

    if stream.config.holdout:
        from tunesmith.text.minhash import near_duplicate_clusters

        return near_duplicate_clusters(questions(), seed=stream.config.seed)
    for _ in questions():
        pass
    return []


def _split(scratch: Path, heldout: set[int]) -> None:
    """Divide the written lines into the two sides, in their order."""
    everything = (scratch / CONVERSATIONS).rename(scratch / "all.jsonl")
    with (
        everything.open("rb") as source,
        (scratch / CONVERSATIONS).open("wb") as kept,
        (scratch / HELDOUT).open("wb") as held,
    ):
        for index, line in enumerate(source):
            (held if index in heldout else kept).write(line)
    everything.unlink()


@contextmanager
def _together(folder: Path) -> Iterator[Path]:
    """A scratch folder whose files replace those of an earlier run at the very end."""
    scratch = folder / ".writing"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
        for name in (CONVERSATIONS, HELDOUT, DROPPED):
            written = scratch / name
            if not written.exists():
                (folder / name).unlink(missing_ok=True)
                continue
            with written.open("rb+") as file:
                os.fsync(file.fileno())
            written.replace(folder / name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _refuse_nothing(stream: Conversations, tally: _Tally, drops: _Drops) -> None:
    if tally.num_kept:
        return
    reasons = ", ".join(f"{reason} {count}" for reason, count in drops.reasons.items())
    raise DataError(f"all {stream.num_in} records were dropped ({reasons}); the first: {drops.first}")


def _facts(stream: Conversations, tally: _Tally, drops: _Drops, num_heldout: int) -> dict[str, Any]:
    formats = {layout.format for layout in stream.layouts.values()}
    return {
        "format": ", ".join(sorted(formats)),
        "evidence": "; ".join(f"{name}: {layout.evidence}" for name, layout in stream.layouts.items()),
        "num_in": stream.num_in,
        "num_out": tally.num_kept - num_heldout,
        "num_heldout": num_heldout,
        "num_dropped": drops.reasons.total(),
        "dropped_by_reason": dict(drops.reasons),
        "shared_system": tally.system if tally.has_shared_system else None,
        "num_messages": tally.num_messages,
        "num_pairs": tally.num_pairs,
        "files": [
            {"path": str(file.path), "num_bytes": file.path.stat().st_size, "sha256": digest}
            for file, digest in zip(stream.files, stream.digests.values(), strict=True)
        ],
    }
