"""What the tuned model lost and gained, item by item, from the samples that `evaluate` kept."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.text import Text

from tunesmith.cli.console import one_line
from tunesmith.evaluate.run import read_samples
from tunesmith.progress import count
from tunesmith.types import Report, Sample

if TYPE_CHECKING:
    from tunesmith.pipeline import RunResult

MOST_LOST, MOST_GAINED = 5, 3


class Change(NamedTuple):
    """One item that the two models answered with another score."""

    before: Sample
    after: Sample


def print_changes(to: Console, result: "RunResult") -> None:
    """What was lost, and examples of what was gained."""
    if not (result.base and result.tuned):
        return
    tasks = _right_or_wrong(result.base, result.tuned)
    if not tasks:
        return
    lost, gained = find_changes(result.folder / "evaluate", tasks)
    if lost:
        shown = f", {MOST_LOST} of them" if len(lost) > MOST_LOST else ""
        to.print(Text(f"\nWhat was lost: {count(len(lost), 'item')} that the base got right{shown}", style="bold"))
    else:
        to.print(Text("\nNothing was lost: the tuned model has all that the base got right.", style="bold"))
    for change in _spread(lost, MOST_LOST):
        _print_change(to, change)
    if gained:
        to.print(Text(f"\nWhat was gained: {count(len(gained), 'item')}; for example", style="bold"))
    for change in _spread(gained, MOST_GAINED):
        _print_change(to, change)


def cut_answers(folder: Path, tasks: set[str]) -> dict[str, tuple[int, int, int]]:
    """For each task in which answers were cut by max_tokens: how many of the base, of the tuned model, and items.

    A model that is cut more often loses items by its length, not by what it knows.
    """
    counts: dict[str, list[int]] = {}
    for column, label in enumerate(("base", "tuned")):
        for sample in _samples(folder / label, tasks):
            row = counts.setdefault(sample.task, [0, 0, 0])
            row[column] += not sample.stopped
            row[2] += column == 0
    return {task: (row[0], row[1], row[2]) for task, row in counts.items() if row[0] or row[1]}


def _right_or_wrong(base: Report, tuned: Report) -> set[str]:
    """The tasks whose items are right or wrong; of a price that moved a little there is nothing to show."""
    binary = {task.task for task in base.tasks if task.is_binary}
    return {task.task for task in tuned.tasks if task.is_binary and task.task in binary}


def find_changes(folder: Path, tasks: set[str]) -> tuple[list[Change], list[Change]]:
    """The items that went from right to wrong, and from wrong to right."""
    earlier = {(each.task, each.item_id, each.number): each for each in _samples(folder / "base", tasks)}
    changes = [
        Change(earlier[after.task, after.item_id, after.number], after)
        for after in _samples(folder / "tuned", tasks)
        if (after.task, after.item_id, after.number) in earlier
    ]
    lost = [change for change in changes if change.before.score > change.after.score]
    return lost, [change for change in changes if change.before.score < change.after.score]


def _samples(folder: Path, tasks: set[str]) -> list[Sample]:
    return [sample for sample in read_samples(folder) if sample.task in tasks]


def _spread(changes: list[Change], most: int) -> list[Change]:
    """A few examples from all over the list: neighbors are often alike."""
    step = max(1, len(changes) // most)
    return changes[::step][:most]


def _print_change(to: Console, change: Change) -> None:
    width = min(to.width, 100) - 13
    after = change.after
    to.print(f"  {after.task}: {one_line(after.prompt, width + 9 - len(after.task))}", soft_wrap=True)
    for name, text in (
        ("expected", after.expected),
        ("base", change.before.completion),
        ("tuned", after.completion),
    ):
        to.print(Text(f"    {name:<9}{one_line(text, width) or '(nothing)'}", style="dim"), soft_wrap=True)
