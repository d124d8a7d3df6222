"""`learning_rate = "auto"`: a short range test finds the peak rate, on the real model and data, before training.

The rate is swept up exponentially, one row a step, while the loss is watched (Smith 2017, "Cyclical learning rates
for training neural networks"). Afterwards everything is as it was before: weights, random state, place in the data.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from tunesmith.errors import TrainError
from tunesmith.files import atomic_write, read_json, write_json
from tunesmith.plot import line_chart
from tunesmith.progress import Progress
from tunesmith.train.checkpoint import random_states, restore_random_states
from tunesmith.train.objectives.objective import Objective
from tunesmith.train.optim import make_optimizer
from tunesmith.train.plan import Derived, Plan
from tunesmith.train.start import begin
from tunesmith.types import Batch, Stream

FILE, CHART = "range_test.json", "range_test.svg"
NUM_STEPS = 80
LOWEST, HIGHEST = 1e-7, 1.0
NUM_ROWS = 16
"""Rows among which the sweep goes round, so that each has a loss before the sweep to be compared with."""
_MEMORY = 0.8  # what the smoothed loss keeps of itself at each step
_DIVERGED = 1.0  # in nats above the start


@dataclass(frozen=True, slots=True)
class Sweep:
    """The curve of a range test: at each rate the loss before that step, as a change against the same row's loss at
    the untouched weights, on top of the rows' mean loss there; and the same smoothed."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    start: float
    """The mean loss of the rows at the untouched weights."""


def settle_rate(
    plan: Plan, model: Any, objective: Objective, batches: Stream[Batch], folder: Path
) -> tuple[Plan, float]:
    """The plan with its learning rate known, and that rate: as it is, or from the range test in `folder`, which is
    run now where it was not yet.

    The curve is kept as `range_test.json` and drawn as `range_test.svg`, and `plan.json` is written anew. Raises
    TrainError where the loss falls at no rate.
    """
    if plan.learning_rate is not None:
        return plan, plan.learning_rate
    if not (folder / FILE).is_file():
        found = sweep(plan, model, objective, batches)
        rate = suggested(found)
        with atomic_write(folder / CHART) as file:
            file.write(_chart(found, rate))
        write_json(folder / FILE, {"learning_rate": rate, "sweep": found})
    rate = float(read_json(folder / FILE)["learning_rate"])
    line = Derived("learning rate", f"{rate:.1e}", f"found by the range test in {FILE}: a tenth of the best rate")
    settled = replace(
        plan, learning_rate=rate, lines=tuple(line if each.name == line.name else each for each in plan.lines)
    )
    write_json(folder / "plan.json", settled)
    return settled, rate


def suggested(found: Sweep) -> float:
    """A tenth of the rate at which the smoothed loss is lowest.

    At its lowest the loss is about to rise, so that rate is too high to stay at; a tenth of it is well before (the
    rule of Howard and Gugger's fastai). The other usual choice, the rate of the steepest descent, is where noise is
    largest: the slope of a curve of few steps is often steepest by chance. Raises TrainError where nothing falls.
    """
    best = min(range(len(found.rates)), key=lambda index: found.smoothed[index], default=0)
    if not found.rates or best == 0 or found.smoothed[best] >= found.start:
        raise TrainError(
            f"the range test found no learning rate from {LOWEST:g} to {HIGHEST:g} at which the loss falls below "
            f"{found.start:.4f}, where it begins; give train.learning_rate a number"
        )
    return found.rates[best] / 10


def sweep(plan: Plan, model: Any, objective: Objective, batches: Stream[Batch]) -> Sweep:
    """Up to `NUM_STEPS` steps of one row each, with an optimizer of their own; stops once the smoothed loss stands a
    nat above where it began, or something is not a finite number."""
    with _as_before(model, batches):
        rows = list(islice(_rows(model, objective, batches), NUM_ROWS))
        if not rows:
            raise TrainError(
                "there is no supervised token to test learning rates on; give train.learning_rate a number"
            )
        with torch.no_grad():
            before = [_loss(model, objective, row).item() for row in rows]
        start = sum(before) / len(before)
        rates, losses, smoothed, mean = [], [], [], 0.0
        for number, (rate, loss) in enumerate(_steps(plan, model, objective, rows)):
            loss += start - before[number % len(rows)]
            mean = _MEMORY * mean + (1 - _MEMORY) * loss
            rates.append(rate)
            losses.append(loss)
            smoothed.append(mean / (1 - _MEMORY ** (number + 1)))
            if smoothed[-1] > start + _DIVERGED:
                break
    return Sweep(tuple(rates), tuple(losses), tuple(smoothed), start)


def _steps(plan: Plan, model: Any, objective: Objective, rows: Sequence[Batch]) -> Iterator[tuple[float, float]]:
    """Step by step: the rate, and the loss of the step's row before it moves the weights."""
    optimizer = make_optimizer(model, plan.config.optimizer, plan.config.seed)
    begin(plan.start, optimizer, model)
    with Progress("range test", NUM_STEPS) as progress:
        for number in range(NUM_STEPS):
            rate = LOWEST * (HIGHEST / LOWEST) ** (number / (NUM_STEPS - 1))
            loss = _loss(model, objective, rows[number % len(rows)])
            if not math.isfinite(loss.item()):
                return
            torch.autograd.backward(loss)
            optimizer.collect_gradients()
            if not math.isfinite(optimizer.step(rate)):
                return
            progress.advance(1, {"lr": rate, "loss": loss.item()})
            yield rate, loss.item()


def _rows(model: Any, objective: Objective, batches: Stream[Batch]) -> Iterator[Batch]:
    """The first rows with something to learn, each as a batch of its own."""
    for batch in batches:
        for row in objective.prepare(model, batch, 0).rows:
            alone = replace(batch, rows=(row,))
            if objective.normalizer(alone):
                yield alone


def _loss(model: Any, objective: Objective, alone: Batch) -> torch.Tensor:
    return objective.row_loss(model, alone.rows[0]).total / objective.normalizer(alone)


@contextmanager
def _as_before(model: Any, batches: Stream[Batch]) -> Iterator[None]:
    """What happens within leaves no trace in weights, buffers, gradients, random state and the stream's position."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kept = [(tensor, tensor.detach().clone()) for tensor in (*trained, *model.buffers())]
    random, position = random_states(), batches.state()
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in kept:
                tensor.copy_(value)
        model.zero_grad(set_to_none=True)
        restore_random_states(random)
        batches.restore(position)


def _chart(found: Sweep, rate: float) -> str:
    name = "loss, smoothed"
    return line_chart(
        {name: list(zip(found.rates, found.smoothed, strict=True))},
        raw={name: list(zip(found.rates, found.losses, strict=True))},
        title="Range test",
        x_label="learning rate",
        y_label="loss",
        log_x=True,
        marks={f"chosen: {rate:.1e}": rate},
    )
