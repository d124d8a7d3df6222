"""The training loop, top to bottom.

For each optimizer step: pass its rows through the model, add up the weighted loss of supervised tokens, divide by
the step's total weight, and let AdamW move the fp32 masters. Shapes: T tokens of a row, S supervised positions.
"""

import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tunesmith.errors import Interrupted, TrainError
from tunesmith.files import atomic_write
from tunesmith.progress import Progress
from tunesmith.train.adapter import prepare, save_final
from tunesmith.train.attention import Sight, sight_of
from tunesmith.train.checkpoint import load_newest, save_checkpoint
from tunesmith.train.loss import supervised_places, weighted_cross_entropy
from tunesmith.train.optim import MasterAdamW
from tunesmith.train.plan import Plan
from tunesmith.train.schedule import learning_rate_at
from tunesmith.types import Batch, Checkpoint, Row, Stream, TokenArray


class RowTensors(NamedTuple):
    """A row on the model's device. `places_S` are the positions whose output predicts the tokens `targets_S`."""

    tokens_1T: Tensor
    positions_1T: Tensor
    sight: Sight
    places_S: Tensor
    targets_S: Tensor
    weights_S: Tensor


def run_training(plan: Plan, model: Any, batches: Stream[Batch], folder: Path, probes: Sequence[Any]) -> Checkpoint:
    """See `tunesmith.train.train`. `model` was loaded with the attention of `tunesmith.train.attention`."""
    config = plan.config
    base_folder = Path(model.config._name_or_path)
    check_no_leak(model)
    model = prepare(model, config)
    optimizer = MasterAdamW(model.named_parameters(), config.weight_decay)
    step = _resume(folder, optimizer, batches, plan)
    with (
        Progress("train", plan.num_steps, start=step, metrics_path=folder / "metrics.jsonl") as progress,
        _stop_request() as stop,
    ):
        for batch in batches:
            if step >= plan.num_steps:
                break
            metrics = train_step(plan, model, optimizer, batch, step, folder)
            step += 1
            progress.advance(1, _shown(metrics), step=step, **metrics)
            if stop:
                save_checkpoint(folder / "checkpoints", step, optimizer, batches.state())
                raise Interrupted(
                    f"stopped at step {step:,} of {plan.num_steps:,}; run the same command again to go on"
                )
            if step % config.checkpoint_steps == 0 and step < plan.num_steps:
                save_checkpoint(folder / "checkpoints", step, optimizer, batches.state())
                for probe in probes:
                    probe(step, model)
    return save_final(model, optimizer, config, base_folder, folder / "final", step)


def train_step(
    plan: Plan, model: Any, optimizer: MasterAdamW, batch: Batch, step: int, folder: Path
) -> dict[str, float]:
    """One optimizer step; returns its metrics. Raises TrainError when the loss is not a finite number."""
    began = time.perf_counter()
    total_weight = batch.total_weight
    if total_weight == 0:
        raise TrainError(f"step {step + 1} has no supervised token: {', '.join(batch.conversation_ids)}")
    total_loss = 0.0
    for row in batch.rows:
        loss = row_loss(model, row) / total_weight
        if not math.isfinite(loss.item()):
            raise TrainError(_not_finite(loss.item(), row, step, folder))
        torch.autograd.backward(loss)
        optimizer.collect_gradients()
        total_loss += loss.item()
    rate = learning_rate_at(step, plan.num_steps, plan.learning_rate, plan.num_warmup, plan.config.schedule)
    norm = optimizer.step(rate, plan.config.clip_norm)
    if not math.isfinite(norm):
        raise TrainError(_not_finite(norm, batch.rows[0], step, folder, "gradient norm"))
    seconds = time.perf_counter() - began
    return {
        "epoch": batch.epoch,
        "loss": total_loss,
        "learning_rate": rate,
        "grad_norm": norm,
        "num_tokens": batch.num_tokens,
        "num_supervised": batch.num_supervised,
        "tokens_per_second": batch.num_tokens / seconds,
        "seconds": seconds,
    }


def row_loss(model: Any, row: Row) -> Tensor:
    """The weighted sum of the loss over a row's supervised tokens; logits exist for these alone."""
    tensors = row_tensors(row, model)
    if tensors.places_S.numel() == 0:
        return torch.zeros((), requires_grad=True)
    logits_SV = forward(model, tensors, tensors.places_S)
    return weighted_cross_entropy(logits_SV, tensors.targets_S, tensors.weights_S)


def row_tensors(row: Row, model: Any) -> RowTensors:
    """Move a row to the model's device and work out who sees whom, in the form of the model's attention, and what is
    trained."""
    device = next(model.parameters()).device
    places_S, targets_S = supervised_places(row)
    return RowTensors(
        torch.from_numpy(row.tokens).long().to(device)[None],
        torch.from_numpy(row.positions).long().to(device)[None],
        sight_of(row, model.config._attn_implementation, device),
        torch.from_numpy(places_S).to(device),
        torch.from_numpy(row.tokens[targets_S]).long().to(device),
        torch.from_numpy(row.loss_weights[targets_S]).to(device),
    )


def forward(model: Any, tensors: RowTensors, places_S: Tensor) -> Tensor:
    """Logits at `places_S` of a row, in which a place may stand several times: [S, V]."""
    output = model(
        input_ids=tensors.tokens_1T,
        position_ids=tensors.positions_1T,
        sight=tensors.sight,
        logits_to_keep=places_S,
        use_cache=False,
    )
    logits_SV: Tensor = output.logits[0]
    return logits_SV


@torch.no_grad()
def check_no_leak(model: Any) -> None:
    """Refuse an architecture in which one packed conversation, or one branch of a tree, can see another.

    A plain conversation (tokens 0 to 7) and a tree share a row: a trunk (8 to 11), one branch on its end (12 to 15)
    and one on its middle (16 to 19). First the plain conversation is changed, then the first branch; the logits of
    all others must not change by a single bit.
    """
    branches = np.array([[0, -1], [8, -1], [12, 11], [16, 9]], np.int32)
    positions = np.concatenate([np.arange(8), np.arange(8), np.arange(2, 6)]).astype(np.int32)
    segments = np.repeat(np.arange(2, dtype=np.int32), [8, 12])
    device = next(model.parameters()).device
    everywhere_T = torch.arange(20, device=device)

    def logits(tokens: TokenArray) -> Tensor:
        row = Row(tokens, np.zeros(20, np.float32), positions, segments, branches, ("plain", "tree"))
        return forward(model, row_tensors(row, model), everywhere_T)

    tokens = np.arange(20, dtype=np.int32) % model.config.vocab_size
    plain_TV = logits(tokens)
    for first, last, what in ((0, 8, "packed conversations"), (12, 16, "the branches of a conversation")):
        changed = tokens.copy()
        changed[first:last] = (changed[first:last] + 7) % model.config.vocab_size
        outside_T = (everywhere_T < first) | (everywhere_T >= last)
        if not torch.equal(logits(changed)[outside_T], plain_TV[outside_T]):
            raise TrainError(
                f"{type(model).__name__}: {what} see each other in this architecture, so training it "
                "would be wrong; it is not supported yet"
            )


def _resume(folder: Path, optimizer: MasterAdamW, batches: Stream[Batch], plan: Plan) -> int:
    """Restore the newest checkpoint, cut the metrics back to it, and return its step (0 where there is none)."""
    state = load_newest(folder / "checkpoints", optimizer)
    step = 0 if state is None else int(state["step"])
    if state is not None:
        batches.restore(state["batches"])
    _cut_metrics(folder / "metrics.jsonl", step)
    return step


def _cut_metrics(path: Path, step: int) -> None:
    """Drop the lines of steps that are about to be done again (and a torn last line)."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[:step]
        with atomic_write(path) as file:
            file.writelines(lines)


def _shown(metrics: dict[str, float]) -> dict[str, Any]:
    return {
        "loss": metrics["loss"],
        "lr": metrics["learning_rate"],
        "tok/s": round(metrics["tokens_per_second"]),
    }


def _not_finite(value: float, row: Row, step: int, folder: Path, what: str = "loss") -> str:
    kept = sorted((folder / "checkpoints").glob("step-*"))
    return (
        f"{what} became {value} at step {step + 1}, in the row with conversations {', '.join(row.conversation_ids)}. "
        f"Last good checkpoint: {kept[-1] if kept else 'none yet'}. Look at these conversations with "
        "`tunesmith show`, or lower train.learning_rate"
    )


@contextmanager
def _stop_request() -> Iterator[list[bool]]:
    """A list that becomes non-empty on Ctrl-C, so that the loop can save first; a second Ctrl-C stops at once."""
    asked: list[bool] = []

    def note(number: int, frame: Any) -> None:
        asked.append(True)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # not the main thread: the person at the keyboard is not ours to listen to
        yield asked
        return
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
