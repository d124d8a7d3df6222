"""What a step's losses say, closer: by source, by part of the answer, and by conversation.

Every figure is a mean over trained tokens, weighted by their loss weights, so that the figures of all sources (or of
all parts), each times its share of the step's weight, add up to the step's own loss.

Shapes: T tokens of a row, S trained tokens of it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tunesmith.train.objectives.objective import RowLoss
from tunesmith.types import Part, Row

PARTS = {Part.TEXT: "answer", Part.REASONING: "reasoning", Part.TOOL_CALL: "tool_call", Part.CONTROL: "control"}
STOP = "stop"


class Mean(NamedTuple):
    """A sum of weighted losses and of weights."""

    total: float = 0.0
    weight: float = 0.0

    @property
    def value(self) -> float:
        """The weighted mean; NaN where there is nothing."""
        return self.total / self.weight if self.weight else float("nan")


class Visit(NamedTuple):
    """One visit of training to one conversation."""

    conversation_id: str
    epoch: int
    loss: float
    num_supervised: int


def loss_by_source(rows: Iterable[tuple[Row, RowLoss]]) -> dict[str, float]:
    """The mean loss of each source that has a name."""
    sums: dict[str, Mean] = {}
    for row, loss in rows:
        sources_S = np.asarray(row.segments)[loss.targets_S]
        for segment, losses_S, weights_S in _groups(row, loss, sources_S):
            if row.sources and row.sources[segment]:
                _add(sums, row.sources[segment], losses_S, weights_S)
    return _values(sums)


def loss_by_part(rows: Iterable[tuple[Row, RowLoss]]) -> dict[str, float]:
    """The mean loss of the answers' text, of reasoning, of tool calls, of stop tokens, and of other control tokens.

    A stop is a trained control token after which, in its branch, no trained token follows. Other trained control
    tokens are what the template writes within a turn, such as the brackets around reasoning; where everything is
    trained, also what it writes between messages. Rows that do not know their parts count nothing.
    """
    sums: dict[str, Mean] = {}
    for row, loss in rows:
        if row.parts is None:
            continue
        parts_S = np.where(stops(row)[loss.targets_S], len(PARTS), row.parts[loss.targets_S])
        for part, losses_S, weights_S in _groups(row, loss, parts_S):
            _add(sums, STOP if part == len(PARTS) else PARTS[Part(part)], losses_S, weights_S)
    return _values(sums)


def stops(row: Row) -> NDArray[np.bool_]:
    """Which tokens are stops: trained, control, and followed by no trained token in their branch; bool [T]."""
    assert row.parts is not None
    is_trained_T = row.loss_weights != 0
    goes_on_T = np.append(is_trained_T[1:], False)
    goes_on_T[row.branches[1:, 0] - 1] = False  # the next token belongs to another branch
    return np.asarray(is_trained_T & (row.parts == Part.CONTROL) & ~goes_on_T)


def visits(rows: Iterable[tuple[Row, RowLoss]]) -> list[Visit]:
    """The mean loss of each conversation of a step, in order of appearance; one in pieces is counted whole."""
    sums: dict[tuple[str, int], Mean] = {}
    counts: dict[tuple[str, int], int] = {}
    for row, loss in rows:
        segments_S = np.asarray(row.segments)[loss.targets_S]
        for segment, losses_S, weights_S in _groups(row, loss, segments_S):
            key = (row.conversation_ids[segment], row.epochs[segment] if row.epochs else 0)
            sums[key] = _added(sums.get(key, Mean()), losses_S, weights_S)
            counts[key] = counts.get(key, 0) + losses_S.size
    return [Visit(*key, mean.value, counts[key]) for key, mean in sums.items()]


def _groups(
    row: Row, loss: RowLoss, labels_S: NDArray[np.integer]
) -> Iterator[tuple[int, NDArray[np.float64], NDArray[np.float64]]]:
    """(label, losses, weights) of the trained tokens that share a label; of a pair, the chosen answer's alone count."""
    losses_S = loss.losses_S.cpu().numpy().astype(np.float64)
    weights_S = row.loss_weights[loss.targets_S].astype(np.float64).clip(min=0)
    for label in np.unique(labels_S).tolist():
        chosen_S = labels_S == label
        yield label, losses_S[chosen_S], weights_S[chosen_S]


def _added(mean: Mean, losses: NDArray[np.float64], weights: NDArray[np.float64]) -> Mean:
    return Mean(mean.total + float(losses @ weights), mean.weight + float(weights.sum()))


def _add(sums: dict[str, Mean], name: str, losses: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
    sums[name] = _added(sums.get(name, Mean()), losses, weights)


def _values(sums: Mapping[str, Mean]) -> dict[str, float]:
    return {name: sums[name].value for name in sorted(sums)}
