"""The losses of a step's rows, brought together from the ranks that ran them."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from tunesmith.errors import TrainError
from tunesmith.train.objectives.objective import RowLoss
from tunesmith.train.parallel.ranks import Ranks
from tunesmith.train.parallel.share import Pass
from tunesmith.types import Batch

Counted = Sequence[tuple[Pass, RowLoss]]


def collect(
    ranks: Ranks, batch: Batch, passes: Sequence[Pass], losses: Sequence[RowLoss], normalizer: float
) -> tuple[RowLoss, ...]:
    """One RowLoss for each row of `batch`, in order and without a graph, the same on every rank.

    `losses` are those of this rank's `passes`. Raises TrainError on every rank unless the rows that were counted
    weigh together what the batch weighs, and all ranks divided by the same normalizer: a defect in sharing out rows
    cannot change a gradient without notice.
    """
    if ranks.world_size == 1:
        return tuple(losses)
    counted = [(one, loss) for one, loss in zip(passes, losses, strict=True) if one.counts]
    sizes = [0] * len(batch.rows)
    weight = 0.0
    for one, loss in counted:
        sizes[one.number] = len(loss.targets_S)
        weight += _weight(one.row.loss_weights)
    weight, normalizers, *sums = ranks.sum([weight, normalizer, *sizes])
    expected = sum(_weight(row.loss_weights) for row in batch.rows)
    if abs(weight - expected) > 1e-9 * expected or normalizers != ranks.world_size * normalizer:
        raise TrainError(
            f"the {ranks.world_size} ranks counted loss weights of {weight!r} where the step has {expected!r}, and "
            f"divided by {normalizers / ranks.world_size!r} on average where rank {ranks.rank} divided by "
            f"{normalizer!r}; they do not train the same step. The weights were not moved"
        )
    return _spread(ranks, counted, [round(size) for size in sums], list(losses[0].figures))


def _weight(loss_weights: np.ndarray) -> float:
    return float(np.abs(loss_weights).sum(dtype=np.float64))


def _spread(ranks: Ranks, counted: Counted, sizes: Sequence[int], names: Sequence[str]) -> tuple[RowLoss, ...]:
    """All rows' losses on every rank: each rank fills in its own, and the sum over the ranks is the whole."""
    places = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    totals = torch.zeros(len(sizes), 1 + len(names), dtype=torch.float64)
    tokens = torch.zeros(2, places[-1], dtype=torch.float64)  # losses and places, whole numbers exact up to 2^53
    for one, loss in counted:
        span = slice(places[one.number], places[one.number + 1])
        totals[one.number] = torch.tensor([float(loss.total), *(loss.figures[name] for name in names)])
        tokens[0, span] = loss.losses_S.double().cpu()
        tokens[1, span] = torch.from_numpy(loss.targets_S).double()
    totals, tokens = ranks.sum_tensor(totals), ranks.sum_tensor(tokens)
    return tuple(
        _row_loss(totals[number], tokens[:, start:end], names) for number, (start, end) in enumerate(pairwise(places))
    )


def _row_loss(totals: Tensor, tokens: Tensor, names: Sequence[str]) -> RowLoss:
    figures = dict(zip(names, totals[1:].tolist(), strict=True))
    return RowLoss(totals[0], tokens[0].float(), tokens[1].long().numpy(), figures)
