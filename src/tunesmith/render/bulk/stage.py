"""Conversations become files that training reads by position: streaming, by several processes, and only once.

The input is cut into chunks by its content (see chunks.py). What a chunk becomes is one shard, named by the chunk's
key and kept in a cache (see store.py): what was rendered before is found there, whether by an earlier run on the same
source, or by one that was killed. Worker processes parse, render and write shards; this process reads, looks up keys
and keeps the order and the books.
"""

import json
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.errors import ConfigError, RenderError
from tunesmith.files import atomic_write, canonical_json, write_json
from tunesmith.progress import Progress
from tunesmith.render.bulk.chunks import Chunk, chunk_key, chunks, conversations_of, num_lines, read_lines
from tunesmith.render.bulk.ledger import Account, Ledger
from tunesmith.render.bulk.policy import TOO_LONG, Outcome, apply_policy, longest_sequence
from tunesmith.render.bulk.rendered_file import INDEX, SHARDS, open_arrays, write_arrays
from tunesmith.render.bulk.store import ShardStore, cache_limit_bytes, unwritable
from tunesmith.types import Conversation, Dropped, Rendered

if TYPE_CHECKING:
    from tunesmith.render import RenderConfig, Renderer

# Raise it when equal keys would give other shards.
VERSION = 2
LEDGER = "ledger.json"
DROPPED = "dropped.jsonl"
WORKERS_VARIABLE = "TUNESMITH_RENDER_WORKERS"
NUM_WITHOUT_WORKERS = 2
NUM_AT_ONCE = 256


def render_all(
    config: "RenderConfig", renderer: "Renderer", conversations: Iterable[Conversation] | Path, folder: Path
) -> dict[str, Any]:
    """Render all conversations, or those of a file that the data stage wrote, into `folder`; returns the counts.

    Raises RenderError as `tunesmith.render.render` says; shards that were finished until then are kept.
    """
    (folder / INDEX).unlink(missing_ok=True)
    store = ShardStore(folder / SHARDS, cache_limit_bytes())
    index = _Index(config)
    with ExitStack() as stack:
        dropped = stack.enter_context(atomic_write(folder / DROPPED))
        crew = stack.enter_context(_Crew(config, renderer, store, conversations))
        for chunk, key in crew.finished(chunks(read_lines(conversations))):
            index.add(chunk, key, store.own(key), dropped)
    write_json(folder / LEDGER, index.ledger.to_dict())
    store.tidy(index.keys)
    index.write(folder / INDEX)
    return index.facts() | {"num_shards_rendered": crew.num_rendered}


def rules_of(config: "RenderConfig", renderer: "Renderer") -> bytes:
    """What decides, with its content, what a chunk becomes.

    Whether a conversation that cannot be trained stops the work is not part of it: who then asks to leave such
    conversations out finds again what was finished.
    """
    policy = "drop" if config.too_long == "error" else config.too_long
    return canonical_json([VERSION, renderer.fingerprint, config.train_on, config.max_tokens, policy]).encode()


# One chunk


def render_chunk(config: "RenderConfig", renderer: "Renderer", chunk: Chunk, path: Path) -> None:
    """Render one chunk into the shard at `path`; raises RenderError when that cannot be written."""
    outcomes: list[Outcome] = []
    for start in range(0, len(chunk), NUM_AT_ONCE):
        part = slice(start, start + NUM_AT_ONCE)
        conversations = conversations_of(chunk.ids[part], chunk.sources[part], chunk.bodies[part])
        for conversation, rendered in zip(conversations, renderer.render_many(conversations), strict=True):
            outcomes.append(apply_policy(config, renderer, conversation, rendered))
    drops = [[place, *drop] for place, outcome in enumerate(outcomes) for drop in outcome.drops]
    kept = [rendered for outcome in outcomes for rendered in outcome.kept]
    longest = max((longest_sequence(each.branches, each.num_tokens) for each in kept), default=0)
    try:
        facts = {"drops": drops, "longest_sequence": longest, "num_pairs": sum(each.is_pair for each in kept)}
        write_arrays(path, facts, _arrays(outcomes, kept))
    except OSError as error:
        raise unwritable(path, error) from None


def _arrays(outcomes: Sequence[Outcome], kept: Sequence[Rendered]) -> dict[str, NDArray[Any]]:
    """The arrays of a shard: `places` and `pieces` say which conversation of the chunk, and which piece of it."""
    pieces = [(place, piece) for place, outcome in enumerate(outcomes) for piece in range(len(outcome.kept))]
    arrays: dict[str, NDArray[Any]] = {
        "accounts": np.array([outcome.account for outcome in outcomes], np.int64).reshape(-1, len(Account._fields)),
        "places": np.array([place for place, _ in pieces], np.int32),
        "pieces": np.array([piece for _, piece in pieces], np.int32),
        "offsets": _offsets([each.num_tokens for each in kept]),
        "supervised": np.array([each.num_supervised for each in kept], np.int32),
        "tokens": _joined([each.tokens for each in kept], np.int32),
        "weights": _small(_joined([each.loss_weights for each in kept], np.float32)),
    }
    parts = [each.parts for each in kept if each.parts is not None]
    if len(parts) == len(kept):
        arrays["parts"] = _joined(parts, np.uint8)
    if any(not each.is_linear for each in kept):
        arrays["branches"] = _joined([each.branches for each in kept], np.int32)
        arrays["branch_offsets"] = _offsets([len(each.branches) for each in kept])
    return arrays


def _offsets(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def _joined(found: Sequence[NDArray[Any]], kind: Any) -> NDArray[Any]:
    return np.concatenate(found).astype(kind, copy=False) if found else np.zeros(0, kind)


def _small(weights: NDArray[np.float32]) -> NDArray[Any]:
    """One byte for each where all weights are whole numbers, as they nearly always are."""
    if not (weights == np.floor(weights)).all():
        return weights
    least, most = (weights.min(), weights.max()) if weights.size else (0, 0)
    if least >= 0 and most <= 255:
        return weights.astype(np.uint8)
    return weights.astype(np.int8) if least >= -128 and most <= 127 else weights


# All chunks


@dataclass(slots=True)
class _Job:
    """One chunk on its way. Neither `is_made` nor a `future`: it waits to be rendered in this process."""

    chunk: Chunk
    key: str
    is_made: bool = False
    future: Future[None] | None = None


class _Crew:
    """Gets chunks rendered, in this process or, where there is more to do, by worker processes."""

    def __init__(
        self,
        config: "RenderConfig",
        renderer: "Renderer",
        store: ShardStore,
        conversations: Iterable[Conversation] | Path,
    ) -> None:
        self.config = config
        self.renderer = renderer
        self.store = store
        self.num_rendered = 0
        self.num_workers = num_workers()
        self._conversations = conversations
        self._rules = rules_of(config, renderer)
        self._waiting: deque[_Job] = deque()
        self._under_way: dict[str, Future[None]] = {}
        self._pool: ProcessPoolExecutor | None = None
        self._progress: Progress | None = None
        self._num_done = 0
        self._stack = ExitStack()

    def __enter__(self) -> "_Crew":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._stack.close()

    def finished(self, found: Iterable[Chunk]) -> Iterator[tuple[Chunk, str]]:
        """Each chunk and its key, in order, once its shard is in the run's folder."""
        for chunk in found:
            self._begin(chunk)
            # Work that waits is memory: the workers never fall idle with twice their number.
            if len(self._waiting) > max(2 * self.num_workers, NUM_WITHOUT_WORKERS + 1):
                yield self._end(self._waiting.popleft())
        while self._waiting:
            yield self._end(self._waiting.popleft())

    def _begin(self, chunk: Chunk) -> None:
        job = _Job(chunk, chunk_key(self._rules, chunk))
        self._waiting.append(job)
        if job.key in self._under_way:
            job.future, job.chunk.bodies = self._under_way[job.key], []
            return
        job.is_made = self.store.find(job.key)
        if job.is_made:
            job.chunk.bodies = []
            return
        to_do = [each for each in self._waiting if not each.is_made and each.future is None]
        if self._pool is not None or self._is_much(len(to_do)):
            for each in to_do:
                self._submit(each)

    def _is_much(self, num_to_do: int) -> bool:
        """Whether to start workers, which takes them a second; only a renderer that can be rebuilt is shared."""
        if self.num_rendered + num_to_do <= NUM_WITHOUT_WORKERS:
            return False
        if self._progress is None and (total := _num_conversations(self._conversations)):
            self._progress = self._stack.enter_context(Progress("render", total, start=self._num_done))
        folder = getattr(self.renderer, "folder", None)
        if self.num_workers == 1 or folder is None:
            return False
        self._pool = ProcessPoolExecutor(
            self.num_workers,
            multiprocessing.get_context("spawn"),
            _begin_worker,
            (folder, self.config, self.renderer.fingerprint),
        )
        return True

    def _submit(self, job: _Job) -> None:
        assert self._pool is not None
        with _starting_processes(), self._deaths_told():
            job.future = self._pool.submit(_work, job.chunk, self.store.origin(job.key))
        self._under_way[job.key] = job.future
        job.chunk = Chunk(job.chunk.ids, job.chunk.sources)

    def _end(self, job: _Job) -> tuple[Chunk, str]:
        if job.future is not None:
            with self._deaths_told():
                job.future.result()
            self._count_new(job)
        elif not job.is_made and not self.store.find(job.key):
            render_chunk(self.config, self.renderer, job.chunk, self.store.origin(job.key))
            self._count_new(job)
        self._num_done += len(job.chunk)
        if self._progress is not None:
            self._progress.advance(len(job.chunk))
        return job.chunk, job.key

    def _count_new(self, job: _Job) -> None:
        """A chunk that the input holds twice was rendered once."""
        if job.future is None or self._under_way.pop(job.key, None) is not None:
            self.store.take(job.key)
            self.num_rendered += 1

    @contextmanager
    def _deaths_told(self) -> Iterator[None]:
        try:
            yield
        except BrokenProcessPool:
            raise RenderError(
                f"one of {self.num_workers} worker processes died: it was killed, most often because memory ran out. "
                "The shards that were finished are kept: run the same again and it goes on from there, with fewer "
                f"workers by {WORKERS_VARIABLE}=1"
            ) from None


def num_workers() -> int:
    """How many processes render: as many as there are CPUs for this one, or what the environment says."""
    asked = os.environ.get(WORKERS_VARIABLE)
    if not asked:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not asked.isdigit() or int(asked) < 1:
        raise ConfigError(f"{WORKERS_VARIABLE}={asked}: not a number of processes; give 1 or more")
    return int(asked)


def _num_conversations(conversations: Any) -> int:
    """How many there are, 0 where that cannot be known beforehand."""
    if isinstance(conversations, Path):
        return num_lines(conversations)
    return len(conversations) if hasattr(conversations, "__len__") else 0


@contextmanager
def _starting_processes() -> Iterator[None]:
    """For the moment in which a new process may start, which inherits from this one.

    It would import the main script again, and so run a script without a guard a second time, but needs nothing of it.
    And Ctrl-C, which reaches all processes, is for this one to handle, from the other's first instruction on.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


# Inside a worker process


@dataclass(slots=True)
class _Recipe:
    """How a worker comes by its renderer: once, with its first chunk, so that what goes wrong is raised by that."""

    folder: Path
    config: "RenderConfig"
    fingerprint: str
    renderer: "Renderer | None" = None

    def build(self) -> "Renderer":
        from tunesmith.render import renderer_for

        if self.renderer is None:
            renderer = renderer_for(self.folder, self.config)
            if renderer.fingerprint != self.fingerprint:
                raise RenderError(
                    f"{self.folder}: its tokenizer or template changed while conversations were rendered, or the day "
                    "did, which the template asks for; run the same again"
                )
            self.renderer = renderer
        return self.renderer


_recipe: _Recipe


def _begin_worker(folder: Path, config: "RenderConfig", fingerprint: str) -> None:
    """A worker ends with the process that started it, whatever ends that."""
    global _recipe
    _recipe = _Recipe(folder, config, fingerprint)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(chunk: Chunk, path: Path) -> None:
    try:
        render_chunk(_recipe.config, _recipe.build(), chunk, path)
    except RenderError as error:  # some of its kin cannot travel between processes
        raise RenderError(str(error)) from None


# The run's index


class _Index:
    """Collects what the shards of a run hold, in order, and what was left out."""

    def __init__(self, config: "RenderConfig") -> None:
        self.config = config
        self.keys: list[str] = []
        self.ledger = Ledger(config.too_long, config.max_tokens)
        self.dropped: Counter[str] = Counter()
        self.longest_sequence = 0
        self.num_pairs = 0
        self._sizes: list[int] = []
        self._lengths: list[NDArray[np.int64]] = []
        self._supervised: list[NDArray[np.int64]] = []
        self._ids: list[bytes] = []
        self._id_sizes: list[NDArray[np.int64]] = []

    def add(self, chunk: Chunk, key: str, path: Path, dropped: IO[str]) -> None:
        """Take up one shard; raises RenderError where a conversation was left out that should have been an error."""
        facts, arrays = open_arrays(path)
        for place, reason, detail, length in facts["drops"]:
            record = Dropped(chunk.ids[place], "render", reason, detail, chunk.sources[place])
            self._refuse(record, Account(*arrays["accounts"][place].tolist()), length)
            dropped.write(json.dumps(asdict(record)) + "\n")
        self.keys.append(key)
        self._sizes.append(path.stat().st_size)
        self._lengths.append(np.diff(arrays["offsets"]))
        self._supervised.append(arrays["supervised"].astype(np.int64))
        self.longest_sequence = max(self.longest_sequence, facts["longest_sequence"])
        self.num_pairs += facts["num_pairs"]
        self.ledger.add(chunk.sources, arrays["accounts"])
        self._name(chunk, arrays)

    def _name(self, chunk: Chunk, arrays: Mapping[str, NDArray[Any]]) -> None:
        pairs = zip(arrays["places"].tolist(), arrays["pieces"].tolist(), strict=True)
        names = [f"{chunk.ids[place]}#{piece + 1}" if piece else chunk.ids[place] for place, piece in pairs]
        encoded = [name.encode("utf-8", "surrogatepass") for name in names]
        self._ids.append(b"".join(encoded))
        self._id_sizes.append(np.array([len(name) for name in encoded], np.int64))

    def _refuse(self, record: Dropped, account: Account, length: int) -> None:
        """Count a conversation that was left out, or raise where that should have been an error."""
        place = f"{record.source or record.id}: {record.detail}"
        if record.reason == TOO_LONG and self.config.too_long == "error":
            raise RenderError(
                f"{place}. Raise it with --set render.max_tokens={length}, or leave such conversations out "
                "with --set render.too_long=drop, or cut them with split_turns, truncate_prompt_head or "
                "truncate_response in place of drop"
            )
        if not account.num_affected and self.config.refused == "error":
            raise RenderError(f"{place}. To leave such conversations out: --set render.refused=drop")
        if not account.num_out:
            self.dropped[record.reason] += 1

    def write(self, path: Path) -> None:
        """Write the index file, last of all."""
        starts = _offsets([each.size for each in self._lengths])
        arrays = {
            "starts": starts[:-1],
            "lengths": _joined(self._lengths, np.int64),
            "supervised": _joined(self._supervised, np.int64),
            "id_ends": np.cumsum(_joined(self._id_sizes, np.int64)),
            "ids": np.array(bytearray().join(self._ids), np.uint8),
        }
        write_arrays(path, {"shards": self.keys, "sizes": self._sizes, "num_pairs": self.num_pairs}, arrays)

    def facts(self) -> dict[str, Any]:
        """The counts for the manifest."""
        total = self.ledger.total()
        return {
            "num_in": total.num_in,
            "num_out": total.num_out,
            "num_dropped": self.dropped.total(),
            "dropped_by_reason": dict(self.dropped),
            "num_pieces": total.num_pieces,
            "num_pairs": self.num_pairs,
            "num_tokens": total.num_tokens_out,
            "num_supervised": total.num_supervised_out,
            "longest": max((int(each.max()) for each in self._lengths if each.size), default=0),
            "longest_sequence": self.longest_sequence,
            "ledger": self.ledger.to_dict(),
            "num_shards": len(self.keys),
        }
