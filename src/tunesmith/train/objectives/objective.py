"""An objective: what a row's loss is, and what the sum over an optimizer step is divided by.

The loop knows nothing of supervised tokens, preferences or teachers. It asks the objective to prepare a batch, for
the step's normalizer, and for the loss of each row; the loss of a step is the sum over its rows divided by the
normalizer, however the rows are laid out.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from tunesmith.branches import PlaceArray
from tunesmith.types import Batch, Row


class RowLoss(NamedTuple):
    """The loss of a row. S tokens of it are trained."""

    total: Tensor
    """The sum over the row, with its graph: divide it by the normalizer and go backward."""

    losses_S: Tensor
    """What each trained token adds, before its weight; detached, float32 [S]."""

    targets_S: PlaceArray
    """Where the trained tokens stand in the row, int64 [S]."""

    figures: Mapping[str, float] = {}
    """What else the row adds up to: the step divides it by the normalizer and writes it to the metrics."""


class Objective(Protocol):
    """What training makes smaller."""

    def prepare(self, model: Any, batch: Batch, step: int) -> Batch:
        """What step `step` really trains on: the batch itself, or what the model makes of its prompts."""

    def normalizer(self, batch: Batch) -> float:
        """What the sum of the losses of all rows is divided by; 0 where there is nothing to learn."""

    def row_loss(self, model: Any, row: Row) -> RowLoss:
        """The loss of one row."""
