"""The loss of each conversation at each visit, kept beside the metrics, to find the ones that are labeled wrongly.

A conversation whose loss stays high over all epochs, while others fall, is hard or wrong: the region of "hard to
learn" examples in dataset cartography, in which label errors gather (Swayamdipta et al. 2020). One visit teaches
little of this; two or more tell what never fell.

`conversation_losses.jsonl` has one line a visit: the step, the epoch (from 0), the conversation, its mean loss over
supervised tokens, in nats, and their number. It holds at most about MOST_VISITS lines: of larger data a part of the
conversations is watched, always the same ones, chosen by a hash of their ids.
"""

import json
import math
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tunesmith.errors import DataError
from tunesmith.files import atomic_write

if TYPE_CHECKING:
    from tunesmith.train.metrics import Visit

FILE = "conversation_losses.jsonl"
MOST_VISITS = 1_000_000
"""About 90 MB."""

FELL = 0.9
"""A loss that ends above this share of its first value has not fallen."""


class Course(NamedTuple):
    """A conversation's loss over the epochs that visited it."""

    conversation_id: str
    losses: tuple[float, ...]
    num_supervised: int

    @property
    def last(self) -> float:
        return self.losses[-1]

    @property
    def never_fell(self) -> bool:
        """Visited more than once, and no visit was clearly better than the first."""
        return len(self.losses) > 1 and min(self.losses[1:]) > FELL * self.losses[0]


class ConversationLosses:
    """Writes the file; use as a context manager. `num_visits` is how many the training will make in all."""

    def __init__(self, folder: Path, num_visits: float) -> None:
        self._path = folder / FILE
        self._share = min(1.0, MOST_VISITS / max(num_visits, 1))

    def __enter__(self) -> "ConversationLosses":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, step: int, visits: Iterable["Visit"]) -> None:
        """Write the visits of step `step` (from 1)."""
        for visit in visits:
            if is_watched(visit.conversation_id, self._share):
                line = {
                    "step": step,
                    "epoch": visit.epoch,
                    "id": visit.conversation_id,
                    "loss": round(visit.loss, 5),
                    "num_supervised": visit.num_supervised,
                }
                self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()


def is_watched(conversation_id: str, share: float) -> bool:
    """Whether a conversation is among the `share` that is watched: a function of its id alone."""
    return zlib.crc32(conversation_id.encode("utf-8", "surrogatepass")) < share * 2**32


def cut_losses(folder: Path, step: int) -> None:
    """Drop the visits after step `step`, which are about to be made again, and a torn line."""
    path = folder / FILE
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as old, atomic_write(path) as new:
            new.writelines(line for line in old if _step_of(line) <= step)


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"]) if line.endswith("\n") else math.inf
    except ValueError:
        return math.inf


def read_courses(folder: Path) -> list[Course]:
    """The course of every watched conversation, in order of first visit.

    A conversation that stands in several pieces counts once an epoch, its pieces weighted by their tokens. Raises
    DataError where there is no such file.
    """
    path = folder / FILE
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the folder of a run that has trained")
    sums: dict[str, dict[int, tuple[float, int]]] = {}
    for line in _lines(path):
        epochs = sums.setdefault(line["id"], {})
        total, count = epochs.get(line["epoch"], (0.0, 0))
        size = line["num_supervised"]
        epochs[line["epoch"]] = (total + line["loss"] * size, count + size)
    return [_course(conversation_id, epochs) for conversation_id, epochs in sums.items()]


def _course(conversation_id: str, epochs: dict[int, tuple[float, int]]) -> Course:
    ordered = [epochs[epoch] for epoch in sorted(epochs)]
    return Course(conversation_id, tuple(total / count for total, count in ordered), ordered[-1][1])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):  # a training that is going on may have written half of the last one
                yield json.loads(line)


def worst(courses: Iterable[Course], num: int, never_fell: bool = False) -> list[Course]:
    """The `num` conversations with the highest loss at their last visit; of those that never fell, if asked."""
    chosen = [course for course in courses if course.never_fell or not never_fell]
    return sorted(chosen, key=lambda course: -course.last)[:num]
