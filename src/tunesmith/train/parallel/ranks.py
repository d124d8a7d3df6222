"""The ranks of a training: the processes that train one model together.

torchrun starts them and says in the environment who is who (`RANK`, `WORLD_SIZE`, `LOCAL_RANK`). Sums go through
the process group (gloo on the CPU, NCCL for what lies on GPUs); words, such as a failure, through its store, as JSON.
torch is imported only where there are several.
"""

import gc
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from tunesmith.errors import Interrupted, TrainError, TunesmithError
from tunesmith.train.parallel.share import Pass, share
from tunesmith.types import Row

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
_FAILURE = "failure"
_STOPPED = "stopped"
_POLL_SECONDS = 0.1
_LAST_WORDS_SECONDS = 3.0  # how long a rank that lost another one waits to hear why


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among the ranks. By itself it is rank 0 of 1, and every method returns at once."""

    rank: int = 0
    world_size: int = 1
    store: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this rank writes files and reports progress."""
        return self.rank == 0

    def share(self, rows: Sequence[Row]) -> tuple[Pass, ...]:
        """See `tunesmith.train.parallel.share`."""
        return share(rows, self.rank, self.world_size)

    def sum(self, values: Sequence[float]) -> list[float]:
        """The sums over all ranks, in float64, the same bits on each: every rank must call it, with as many values."""
        if self.world_size == 1:
            return list(values)
        import torch

        return list(map(float, self.sum_tensor(torch.tensor(values, dtype=torch.float64)).tolist()))

    def sum_tensor(self, values: "Tensor") -> "Tensor":
        """The same of a tensor on the CPU, in place."""
        if self.world_size > 1 and values.numel():
            import torch.distributed as dist

            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set on some rank."""
        return self.sum([float(flag)])[0] > 0

    def barrier(self) -> None:
        """Wait until every rank is here, at most as long as the process group's timeout."""
        self.sum([0.0])

    def tell(self, word: str, value: Any) -> None:
        """Leave a value, as JSON, for the ranks that `hear` it."""
        if self.world_size > 1:
            self.store.set(word, json.dumps(value))

    def hear(self, word: str) -> Any:
        """The value that some rank tells, however long that takes. Raises TrainError when a rank fails meanwhile."""
        while not self.store.check([word]):
            if self.store.check([_FAILURE]):
                raise TrainError(json.loads(self.store.get(_FAILURE)))
            time.sleep(_POLL_SECONDS)
        return json.loads(self.store.get(word))

    def gather(self, value: T) -> list[T]:
        """The value of each rank, in order, on every rank."""
        values = [value] * self.world_size
        if self.world_size > 1:
            import torch.distributed as dist

            dist.all_gather_object(values, value)
        return values

    def check_same(self, what: str, value: str) -> None:
        """Raise TrainError on every rank unless all of them have the same `value`."""
        values = self.gather(value)
        other = next((rank for rank, each in enumerate(values) if each != values[0]), None)
        if other is not None:
            raise TrainError(
                f"rank {other} has other {what} than rank 0 ({values[other]}, not {values[0]}). All ranks must see "
                "the same files: put the run's folder on storage that every node shares, and start the same command"
            )

    def fail(self, message: str) -> None:
        """Tell the others why this rank stops, unless another one failed before.

        The first rank, in whose process the store lives without torchrun, stays a moment for those that listen; who
        waits in a collective operation wakes when this process ends, and then only learns that a rank was lost.
        """
        try:
            if not self.store.check([_FAILURE]):
                self.tell(_FAILURE, message)
            self.store.add(_STOPPED, 1)
            ends = time.monotonic() + _LAST_WORDS_SECONDS
            while self.is_first and self.store.add(_STOPPED, 0) < self.world_size and time.monotonic() < ends:
                time.sleep(_POLL_SECONDS)
        except RuntimeError:  # the store died with its rank: nobody is left to be told
            return

    def last_words(self) -> str | None:
        """What the rank that failed first had to say; None where nothing is heard within a few seconds."""
        ends = time.monotonic() + _LAST_WORDS_SECONDS
        try:
            while not self.store.check([_FAILURE]) and time.monotonic() < ends:
                time.sleep(_POLL_SECONDS)
            said = json.loads(self.store.get(_FAILURE)) if self.store.check([_FAILURE]) else None
            self.store.add(_STOPPED, 1)
            return said
        except RuntimeError:  # the store died with its rank
            return None


ALONE = Ranks()
_joined: Ranks = ALONE


def current() -> Ranks:
    """The ranks that this process has joined, or itself alone."""
    return _joined


@contextmanager
def joined(timeout_seconds: float) -> Iterator[Ranks]:
    """Join the ranks that torchrun started, and leave them at the end; without torchrun, stay alone.

    When a rank fails, every other one raises TrainError with the same message: at once where its connection breaks,
    at the latest after `timeout_seconds` in a collective operation.
    """
    global _joined
    if num_started() == 1:
        yield ALONE
        return
    import torch.distributed as dist

    ranks = _joined = _join(timeout_seconds)
    try:
        yield ranks
    except (Interrupted, KeyboardInterrupt):
        raise
    except TunesmithError as error:
        ranks.fail(str(error))
        raise
    except Exception as error:
        if not _is_loss_of_a_rank(error):
            ranks.fail(f"rank {ranks.rank} failed: {type(error).__name__}: {error}")
            raise
        lost = f"rank {ranks.rank} lost another rank, so training stops; the last checkpoint is good to resume from"
        raise TrainError(ranks.last_words() or lost) from error
    else:
        ranks.barrier()
        gc.collect()  # a sharded model is a web of cycles, which would keep the group's threads until the exit
        dist.destroy_process_group()
    finally:
        _joined = ALONE


def num_started() -> int:
    """How many ranks torchrun has started, as the environment says; 1 without it."""
    needed = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in needed) else 1


def is_first_started() -> bool:
    """Whether this process is the one that will be the first rank; true without torchrun."""
    return num_started() == 1 or os.environ["RANK"] == "0"


def _join(timeout_seconds: float) -> Ranks:
    import torch
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    timeout = timedelta(seconds=timeout_seconds)
    backend = "gloo"
    if torch.cuda.is_available():
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise TrainError(
                f"rank {os.environ['RANK']} is number {local} on this node, which has {torch.cuda.device_count()} "
                "GPUs; start torchrun with --nproc-per-node of at most that many"
            )
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    store, rank, world_size = next(rendezvous("env://", timeout=timeout))
    store.set_timeout(timeout)
    group_store = PrefixStore("group", store)
    dist.init_process_group(backend, store=group_store, rank=rank, world_size=world_size, timeout=timeout)
    return Ranks(rank, world_size, PrefixStore("words", store))


def _is_loss_of_a_rank(error: Exception) -> bool:
    """Whether a collective operation broke, rather than our own work: gloo has no error type, but signs its text."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
