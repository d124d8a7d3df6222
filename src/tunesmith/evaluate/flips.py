"""What a model kept, lost and gained against another: the items of each right-or-wrong task, lost ones first."""

from collections.abc import Iterable
from dataclasses import dataclass

from tunesmith.types import Report, TaskReport


@dataclass(frozen=True, slots=True)
class Flips:
    """The items of one task, or of one cluster of it, by what became of them. Each stands in one of the four.

    `cluster` is empty for the whole task. An item is right at the better end of the scale: 1.0, or 0.0 where lower
    is better.
    """

    task: str
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    still_wrong: tuple[str, ...]
    kept: tuple[str, ...]
    cluster: str = ""

    @property
    def num_items(self) -> int:
        return len(self.lost) + len(self.gained) + len(self.still_wrong) + len(self.kept)


def flips(base: Report, tuned: Report) -> tuple[Flips, ...]:
    """One for each task whose items are right or wrong in both reports, in the order of `tuned`.

    Tasks that hold other items in the two reports, and values between 0 and 1, cannot be told so and are left out.
    """
    pairs = ((base.task(after.task), after) for after in tuned.tasks)
    return tuple(_flips(before, after) for before, after in pairs if before is not None and _are_told(before, after))


def flips_by_cluster(base: Report, tuned: Report, task: str) -> tuple[Flips, ...]:
    """The same of one task, cluster by cluster: those that lost most first, then in order of appearance.

    Empty where `flips` leaves the task out.
    """
    before, after = base.task(task), tuned.task(task)
    if before is None or after is None or not _are_told(before, after):
        return ()
    parts, others = before.by_cluster(), after.by_cluster()
    found = [_flips(part, others[cluster], cluster) for cluster, part in parts.items()]
    return tuple(sorted(found, key=lambda each: -len(each.lost)))


def _are_told(before: TaskReport, after: TaskReport) -> bool:
    is_same = before.items_digest == after.items_digest and before.clusters == after.clusters
    return is_same and before.scores.keys() == after.scores.keys() and before.is_binary and after.is_binary


def _flips(before: TaskReport, after: TaskReport, cluster: str = "") -> Flips:
    right = 1.0 if before.better == "higher" else 0.0

    def where(was: bool, now: bool) -> Iterable[str]:
        pairs = ((item, value == right, after.scores[item] == right) for item, value in before.scores.items())
        return (item for item, *seen in pairs if seen == [was, now])

    return Flips(
        task=before.task,
        lost=tuple(where(True, False)),
        gained=tuple(where(False, True)),
        still_wrong=tuple(where(False, False)),
        kept=tuple(where(True, True)),
        cluster=cluster,
    )
