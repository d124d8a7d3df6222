"""Which row each rank runs in each pass of a step. Pure functions: every rank computes the same and takes its part.

With sharded weights all ranks go through the layers together, so a step takes, pass by pass, as long as the longest
row of the pass. Rows are therefore dealt by length: the longest to the first pass, one each, then the next ones.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tunesmith.types import Row


class Pass(NamedTuple):
    """A row that a rank runs. One that does not count keeps the others company: its loss is multiplied by zero."""

    number: int
    """Which row of the batch it is, from 0."""

    row: Row
    counts: bool


def share(rows: Sequence[Row], rank: int, world_size: int) -> tuple[Pass, ...]:
    """The passes of `rank`: as many as every other rank has, and over all ranks each row that trains counts once.

    Rows without a loss weight are left out, for they move nothing. Where the last pass has fewer rows than ranks,
    the others run the shortest row without counting it, since a collective operation needs everyone. A process by
    itself takes all rows in their order.
    """
    if world_size == 1:
        return tuple(Pass(index, row, True) for index, row in enumerate(rows))
    trained = [index for index, row in enumerate(rows) if row.loss_weights.any()]
    order = sorted(trained, key=lambda index: (-rows[index].num_tokens, index))
    passes = []
    for place in range(rank, rank + len(order), world_size)[: -(-len(order) // world_size)]:
        index = order[min(place, len(order) - 1)]
        passes.append(Pass(index, rows[index], place < len(order)))
    return tuple(passes)
