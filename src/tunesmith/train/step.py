"""One optimizer step: the loss of its rows over one normalizer, backward, and the weights move."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tunesmith.errors import TrainError
from tunesmith.train.objectives.objective import Objective, RowLoss
from tunesmith.train.optim import MasterAdamW
from tunesmith.train.plan import Plan
from tunesmith.train.schedule import learning_rate_at
from tunesmith.types import Batch, Row


@dataclass(slots=True)
class Engine:
    """What every step of one training uses."""

    plan: Plan
    model: Any
    optimizer: MasterAdamW
    objective: Objective
    folder: Path


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
    plan, optimizer = engine.plan, engine.optimizer
    batch = engine.objective.prepare(engine.model, batch, step)
    normalizer = engine.objective.normalizer(batch)
    if normalizer == 0:
        raise TrainError(f"step {step + 1} has no supervised token: {', '.join(batch.conversation_ids)}")
    losses = []
    for row in batch.rows:
        found = engine.objective.row_loss(engine.model, row)
        value = found.total.item()
        if not math.isfinite(value):
            raise TrainError(_not_finite(value, row, step, engine.folder))
        torch.autograd.backward(found.total / normalizer)
        optimizer.collect_gradients()
        losses.append(found._replace(total=found.total.detach()))
    rate = learning_rate_at(step, plan.num_steps, plan.learning_rate, plan.num_warmup, plan.config.schedule.kind)
    norm = optimizer.step(rate, plan.config.optimizer.clip_norm)
    if not math.isfinite(norm):
        raise TrainError(_not_finite(norm, batch.rows[0], step, engine.folder, "gradient norm"))
    seconds = time.perf_counter() - began
    metrics = {
        "epoch": batch.epoch,
        "loss": sum(float(each.total) for each in losses) / normalizer,
        "learning_rate": rate,
        "grad_norm": norm,
        "num_tokens": batch.num_tokens,
        "num_supervised": batch.num_supervised,
        "tokens_per_second": batch.num_tokens / seconds,
        "seconds": seconds,
    }
    return Step(step, batch, tuple(losses), metrics)


def _not_finite(value: float, row: Row, step: int, folder: Path, what: str = "loss") -> str:
    kept = sorted((folder / "checkpoints").glob("step-*"))
    return (
        f"{what} became {value} at step {step + 1}, in the row with conversations {', '.join(row.conversation_ids)}. "
        f"Last good checkpoint: {kept[-1] if kept else 'none yet'}. Look at these conversations with "
        "`tunesmith show`, or lower train.learning_rate"
    )
