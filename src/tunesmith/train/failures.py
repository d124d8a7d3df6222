"""What a training that cannot go on says: which conversations, their text, and the last good checkpoint.

A step that meets a loss or gradient that is not finite has not moved the weights, so rows and conversations can be
tried again, one at a time, to find those that are to blame. Shapes: S trained tokens of a row.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tunesmith.errors import TrainError, TunesmithError
from tunesmith.model.tokenizer import Tokenizer
from tunesmith.train.checkpoint import checkpoints
from tunesmith.train.objectives.objective import Objective, RowLoss
from tunesmith.train.parallel.ranks import ALONE, Ranks
from tunesmith.train.parallel.shard import part
from tunesmith.types import Batch, Row

NUM_SHOWN = 5
NUM_CHARACTERS = 240


@dataclass(frozen=True, slots=True)
class Blame:
    """What is wrong, and the conversations found to be its cause, each as a row of its own."""

    what: str
    rows: tuple[Row, ...]
    is_certain: bool
    """Whether these, tried alone, fail alone; otherwise they are all that could have."""


def not_finite_loss(objective: Objective, model: Any, row: Row, found: RowLoss) -> Blame:
    """The conversations of `row` whose loss is not finite, found by their own losses and tried again alone."""
    weighted_S = found.losses_S.cpu().numpy() * row.loss_weights[found.targets_S]
    bad = np.unique(row.segments[found.targets_S][~np.isfinite(weighted_S)])
    candidates = [alone(row, segment) for segment in bad.tolist()] or list(each_alone(row))

    def fails(each: Row) -> bool:
        with torch.no_grad():
            return not bool(torch.isfinite(objective.row_loss(model, each).total))

    return _blame(f"the loss is {found.total.item()}", candidates, fails)


def not_finite_gradient(objective: Objective, model: Any, batch: Batch, norm: float, ranks: Ranks = ALONE) -> Blame:
    """The conversations of `batch` whose own gradient is not finite: first the rows are tried, then what they hold.

    All ranks try all of them together, and agree, for each has only a part of the gradient.
    """

    def fails(each: Row) -> bool:
        model.zero_grad(set_to_none=True)
        loss = objective.row_loss(model, each)
        if loss.losses_S.numel():
            torch.autograd.backward(loss.total)
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        model.zero_grad(set_to_none=True)
        return ranks.any(not all(bool(torch.isfinite(part(gradient)).all()) for gradient in gradients))

    rows = [row for row in batch.rows if fails(row)]
    candidates = [each for row in rows or batch.rows for each in each_alone(row)]
    return _blame(f"the gradient norm is {norm}", candidates, fails)


def _blame(what: str, candidates: list[Row], fails: Callable[[Row], bool]) -> Blame:
    certain = tuple(each for each in candidates if fails(each))
    return Blame(what, certain or tuple(candidates), bool(certain))


def alone(row: Row, segment: int) -> Row:
    """Conversation number `segment` of a row, in a row of its own."""
    places = np.flatnonzero(row.segments == segment)
    first, last = int(places[0]), int(places[-1]) + 1
    branches = row.branches[(row.branches[:, 0] >= first) & (row.branches[:, 0] < last)]
    return replace(
        row,
        tokens=row.tokens[first:last],
        loss_weights=row.loss_weights[first:last],
        positions=row.positions[first:last],
        segments=np.zeros(last - first, np.int32),
        branches=np.where(branches < 0, -1, branches - first).astype(np.int32),
        conversation_ids=row.conversation_ids[segment : segment + 1],
        sources=row.sources[segment : segment + 1],
        epochs=row.epochs[segment : segment + 1],
        longest=row.longest[segment : segment + 1],
        parts=None if row.parts is None else row.parts[first:last],
    )


def each_alone(row: Row) -> Iterator[Row]:
    """Every conversation of a row, in a row of its own."""
    return (alone(row, segment) for segment in range(len(row.conversation_ids)))


def failure(blame: Blame, num_in_step: int, step: int, model: Any, folder: Path) -> TrainError:
    """The error to raise for optimizer step `step` (from 0), whose batch has `num_in_step` conversations."""
    num_bad = len(blame.rows)
    kept = checkpoints(folder / "checkpoints")
    if not blame.is_certain:
        who = f"no conversation fails alone; it came from these {num_bad} together"
    elif num_bad == num_in_step:
        who = "every conversation of the step fails, which points at the weights rather than at the data"
    else:
        who = f"{num_bad} of the step's {num_in_step} conversations, each also when it is tried alone"
    return TrainError(
        f"{blame.what} at step {step + 1}; the weights were not moved. To blame: {who}:\n"
        f"{listed(blame.rows, model)}\n"
        f"Last good checkpoint: {kept[-1] if kept else 'none yet'}. Look at these conversations with `tunesmith "
        "show`, take them out, or lower train.learning_rate"
    )


def listed(rows: tuple[Row, ...], model: Any) -> str:
    """The conversations, each in a row of its own, with the text of the first few."""
    read = text_reader(model)
    lines = [f"  {row.conversation_ids[0]}: {read(row)}" for row in rows[:NUM_SHOWN]]
    more = [row.conversation_ids[0] for row in rows[NUM_SHOWN:]]
    return "\n".join([*lines, f"  and {', '.join(more)}"] if more else lines)


def text_reader(model: Any) -> Callable[[Row], str]:
    """A function that gives a row's text, in quotes, shortened, and with control characters escaped."""
    folder = Path(model.config._name_or_path)
    try:
        tokenizer = Tokenizer.load(folder)
    except TunesmithError:
        return lambda row: f"{row.num_tokens} tokens (there is no tokenizer in {folder} to read them with)"
    return lambda row: shortened(tokenizer.decode(row.tokens.tolist(), skip_control=False))


def shortened(text: str, limit: int = NUM_CHARACTERS) -> str:
    """At most about `limit` characters of `text`, its beginning and its end, as `repr` spells them."""
    half = limit // 2
    kept = text if len(text) <= limit else f"{text[:half]} ... {text[-half:]}"
    return repr(kept)
