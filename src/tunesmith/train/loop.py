"""The training loop, top to bottom.

Prepare the model, go on from the newest checkpoint, take one optimizer step for each batch (`step.py`), write down
what it came to, save from time to time, and save the result.
"""

import json
import math
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tunesmith.errors import Interrupted
from tunesmith.files import atomic_write
from tunesmith.progress import Progress
from tunesmith.train import Start
from tunesmith.train.adapter import prepare, save_final
from tunesmith.train.checkpoint import load_newest, room_for, save_checkpoint
from tunesmith.train.conversation_losses import cut_losses
from tunesmith.train.environment import environment, what_changed
from tunesmith.train.head import find_head
from tunesmith.train.objectives.make import make_objective
from tunesmith.train.optim import make_optimizer
from tunesmith.train.plan import Plan
from tunesmith.train.proof import prove_attention
from tunesmith.train.range_test import settle_rate
from tunesmith.train.schedule import Schedule
from tunesmith.train.start import begin, lay_weights
from tunesmith.train.step import Engine, train_step
from tunesmith.train.watch import Watch, shown
from tunesmith.types import Batch, Checkpoint, Stream


def run_training(plan: Plan, model: Any, batches: Stream[Batch], folder: Path, probes: Sequence[Any]) -> Checkpoint:
    """See `tunesmith.train.train`. `model` was loaded with the attention of `tunesmith.train.attention`."""
    config = plan.config
    base_folder = Path(model.config._name_or_path)
    prove_attention(model)
    model = prepare(model, config)
    lay_weights(plan.start, model)
    head = find_head(model, config.loss.chunk_tokens)
    objective = make_objective(config, model, head, is_continued=plan.start != Start())
    plan, peak = settle_rate(plan, model, objective, batches, folder)
    optimizer = make_optimizer(model, config.optimizer, config.seed)
    begin(plan.start, optimizer, model)
    schedule = Schedule(config.schedule, plan.num_steps, plan.num_warmup, peak)
    engine = Engine(plan, model, optimizer, schedule, objective, folder)
    step, notes = _resume(folder, engine, batches)
    with (
        Progress("train", plan.num_steps, start=step, metrics_path=folder / "metrics.jsonl") as progress,
        _stop_request() as stop,
        Watch(plan, model, folder, step, getattr(batches, "num_conversations", 0)) as watch,
    ):
        for note in notes:
            progress.note(note)
        for batch in batches:
            if step >= plan.num_steps:
                break
            figures = watch.see(train_step(engine, batch, step))
            step += 1
            progress.advance(1, shown(figures), step=step, head=head.kind, **figures)
            if stop:
                _save(folder, step, engine, batches)
                raise Interrupted(
                    f"stopped at step {step:,} of {plan.num_steps:,}; run the same command again to go on"
                )
            if step % config.checkpoint_steps == 0 and step < plan.num_steps:
                _save(folder, step, engine, batches)
                for probe in probes:
                    probe(step, model)
    if plan.keeps_state:
        _save(folder, step, engine, batches)
    with room_for(folder / "final", folder / "checkpoints"):
        return save_final(model, optimizer, config, base_folder, folder / "final", step)


def _save(folder: Path, step: int, engine: Engine, batches: Stream[Batch]) -> None:
    facts = {
        "batches": batches.state(),
        "schedule": engine.schedule.state(),
        "environment": environment(_device(engine.model)),
    }
    save_checkpoint(
        folder / "checkpoints", step, engine.optimizer.tensors(), facts, engine.plan.config.keep_checkpoints
    )


def _resume(folder: Path, engine: Engine, batches: Stream[Batch]) -> tuple[int, list[str]]:
    """Restore the newest whole checkpoint and cut the metrics back to it.

    Returns its step (0 where there is none), and what a person should know about it.
    """
    saved = load_newest(folder / "checkpoints")
    _cut_metrics(folder / "metrics.jsonl", saved.step if saved else 0)
    cut_losses(folder, saved.step if saved else 0)
    if saved is None:
        return 0, []
    engine.optimizer.restore(saved.tensors)
    batches.restore(saved.facts["batches"])
    engine.schedule.restore(saved.facts["schedule"])
    changed = what_changed(saved.facts["environment"], environment(_device(engine.model)))
    passed_over = [f"damaged, so {saved.path.name} is taken in its place: {each}" for each in saved.damaged]
    return saved.step, [*passed_over, *([changed] if changed else [])]


def _device(model: Any) -> torch.device:
    device: torch.device = next(model.parameters()).device
    return device


def _cut_metrics(path: Path, step: int) -> None:
    """Drop the lines of steps that are about to be done again (and a torn last line)."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        with atomic_write(path) as file:
            file.writelines(line for line in lines if step and _step_of(line) <= step)


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"]) if line.endswith("\n") else math.inf
    except ValueError:
        return math.inf


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
