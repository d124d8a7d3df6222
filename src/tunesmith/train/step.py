"""One optimizer step: the loss of its rows over one normalizer, backward, and the weights move."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tunesmith.errors import TrainError
from tunesmith.train.failures import failure, not_finite_gradient, not_finite_loss
from tunesmith.train.noise import noisy
from tunesmith.train.objectives.objective import Objective, RowLoss
from tunesmith.train.optim import Optimizer
from tunesmith.train.parallel.collect import collect
from tunesmith.train.parallel.ranks import ALONE, Ranks
from tunesmith.train.parallel.shard import reshard
from tunesmith.train.parallel.share import Pass
from tunesmith.train.plan import Plan
from tunesmith.train.schedule import Schedule
from tunesmith.types import Batch


@dataclass(slots=True)
class Engine:
    """What every step of one training uses."""

    plan: Plan
    model: Any
    optimizer: Optimizer
    schedule: Schedule
    objective: Objective
    folder: Path
    ranks: Ranks = ALONE


@dataclass(frozen=True, slots=True)
class Step:
    """What a step came to: its figures, and the losses of its rows for whoever looks closer."""

    number: int
    batch: Batch
    losses: tuple[RowLoss, ...]
    metrics: dict[str, float]


def train_step(engine: Engine, batch: Batch, step: int) -> Step:
    """Optimizer step `step` (from 0). Raises TrainError when the loss or the gradient is not a finite number."""
    began = time.perf_counter()
    optimizer, schedule = engine.optimizer, engine.schedule
    batch = engine.objective.prepare(engine.model, batch, step)
    normalizer = engine.objective.normalizer(batch)
    if normalizer == 0:
        raise TrainError(
            f"step {step + 1} has no supervised token, so there is nothing to learn: conversations "
            f"{', '.join(batch.conversation_ids)}. Look at them with `tunesmith show`, take them out, or raise "
            "pack.batch_conversations"
        )
    reshard(engine.model)
    passes = engine.ranks.share(batch.rows)
    mine = [_row(engine, one, normalizer, step) for one in passes]
    losses = collect(engine.ranks, batch, passes, mine, normalizer)
    _check_finite(engine, batch, losses, step)
    rate = schedule.rate(step, batch.num_tokens)
    norm = optimizer.step(rate)
    if not math.isfinite(norm):
        blame = not_finite_gradient(engine.objective, engine.model, batch, norm, engine.ranks)
        raise failure(blame, len(batch.conversation_ids), step, engine.model, engine.folder)
    schedule.count(batch.num_tokens)
    seconds = time.perf_counter() - began
    metrics = {
        "epoch": batch.epoch,
        "loss": sum(float(each.total) for each in losses) / normalizer,
        "learning_rate": rate,
        "grad_norm": norm,
        "num_tokens": batch.num_tokens,
        "num_supervised": batch.num_supervised,
        "num_masked_rows": sum(each.losses_S.numel() == 0 for each in losses),
        "tokens_per_second": batch.num_tokens / seconds,
        "seconds": seconds,
        **_figures(losses, normalizer),
    }
    return Step(step, batch, losses, metrics)


def _row(engine: Engine, one: Pass, normalizer: float, step: int) -> RowLoss:
    """Add a row's gradient. A row without a supervised token adds nothing: it is context for nobody."""
    config = engine.plan.config
    with noisy(engine.model, one.row, config.noise, config.seed, step / engine.plan.num_steps):
        found = engine.objective.row_loss(engine.model, one.row)
        if found.losses_S.numel() == 0:
            return found._replace(total=found.total.detach())
        torch.autograd.backward(found.total / normalizer if one.counts else found.total * 0.0)
    engine.optimizer.collect_gradients()
    return found._replace(total=found.total.detach())


def _check_finite(engine: Engine, batch: Batch, losses: Sequence[RowLoss], step: int) -> None:
    """Raise TrainError where the loss of a row is not a finite number: on every rank, for all know all losses."""
    for row, found in zip(batch.rows, losses, strict=True):
        if not math.isfinite(float(found.total)):
            blame = not_finite_loss(engine.objective, engine.model, row, found)
            raise failure(blame, len(batch.conversation_ids), step, engine.model, engine.folder)


def _figures(losses: Sequence[RowLoss], normalizer: float) -> dict[str, float]:
    """The objective's own figures of the whole step."""
    names = dict.fromkeys(name for each in losses for name in each.figures)
    return {name: sum(each.figures.get(name, 0.0) for each in losses) / normalizer for name in names}
