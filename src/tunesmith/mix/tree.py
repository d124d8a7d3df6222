"""What a mix holds, source by source: as plain facts, and as a tree that fits a terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.mix import MixConfig, PartConfig
from tunesmith.mix.choose import sizes_of, unit_name
from tunesmith.mix.mixed import Mixed


@dataclass(frozen=True, slots=True)
class Branch:
    """One source of a mix, over the whole training.

    `num_conversations` are those that it has, `num_visits` counts each visit of one, `epochs` is their quotient.
    `share` is of the mix's unit; `shortfall` says why it is less than what was asked for, where it is.
    """

    name: str
    asked: str
    num_conversations: int
    num_visits: int
    num_tokens: int
    num_supervised: int
    share: float
    epochs: float
    fingerprint: str
    shortfall: str = ""


@dataclass(frozen=True, slots=True)
class Tree:
    """A mix and its sources."""

    fingerprint: str
    unit: str
    order: str
    num_visits: int
    num_tokens: int
    num_supervised: int
    branches: tuple[Branch, ...]


def tree_of(mixed: Mixed) -> Tree:
    """Count a mix; nothing is read."""
    units = {"supervised": mixed.supervised, "tokens": mixed.lengths, "rows": np.ones(len(mixed), np.int64)}
    amounts = units[mixed.config.weigh_by]
    branches = []
    for number, (part, counts) in enumerate(zip(mixed.parts, mixed.counts, strict=True)):
        mine = mixed.sources == number
        num_visits = int(mine.sum())
        branches.append(
            Branch(
                name=part.config.name,
                asked=_asked(mixed.config, part.config, is_main=number == 0),
                num_conversations=sizes_of(part.rendered, "rows").size,
                num_visits=num_visits,
                num_tokens=int(mixed.lengths[mine].sum()),
                num_supervised=int(mixed.supervised[mine].sum()),
                share=float(amounts[mine].sum() / max(amounts.sum(), 1)),
                epochs=num_visits / len(part.rendered),
                fingerprint=part.fingerprint,
                shortfall=counts.shortfall,
            )
        )
    return Tree(
        fingerprint=mixed.fingerprint,
        unit=unit_name(mixed.config),
        order=_order(mixed.config),
        num_visits=len(mixed),
        num_tokens=int(mixed.lengths.sum()),
        num_supervised=int(mixed.supervised.sum()),
        branches=tuple(branches),
    )


def draw(tree: Tree) -> list[str]:
    """The tree as lines of text."""
    lines = [
        f"mix {tree.fingerprint}: {tree.num_visits:,} visits, {tree.num_tokens:,} tokens, {tree.num_supervised:,} "
        f"supervised; shares of {tree.unit}; {tree.order}"
    ]
    rows = [_cells(branch) for branch in tree.branches]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, (row, branch) in enumerate(zip(rows, tree.branches, strict=True)):
        is_last = number == len(rows) - 1
        cells = [
            cell.ljust(width) if at < 2 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"{'└─' if is_last else '├─'} {'  '.join(cells)}")
        if branch.shortfall:
            lines.append(f"{'  ' if is_last else '│ '}   falls short: {branch.shortfall}")
    return lines


def _cells(branch: Branch) -> Sequence[str]:
    return (
        branch.name,
        branch.asked,
        f"{branch.share:.2%}",
        f"{branch.num_visits:,} visits of {branch.num_conversations:,}",
        f"{branch.epochs:.2f} epochs",
        f"{branch.num_tokens:,} tokens",
        f"{branch.num_supervised:,} supervised",
        branch.fingerprint,
    )


def _asked(config: MixConfig, part: PartConfig, is_main: bool) -> str:
    if is_main:
        return "whole"
    if part.weight is not None:
        return f"weight {part.weight:g}"
    if part.share is not None:
        return f"share {part.share:g}"
    if part.epochs is not None:
        return f"{part.epochs:g} epochs a pass"
    return f"temperature {config.temperature:g}" if config.temperature > 1 else "once a pass"


def _order(config: MixConfig) -> str:
    curriculum = config.curriculum
    if curriculum.by == "none":
        return f"shuffled with seed {config.seed}"
    by = {"number": "number_field", "tokens": "tokens", "supervised": "supervised tokens"}[curriculum.by]
    stages = f", in {curriculum.stages} stages" if curriculum.stages else ""
    return f"by {by}, {curriculum.direction}{stages}, seed {config.seed}"
