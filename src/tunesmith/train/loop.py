"""The training loop, top to bottom.

Prepare the model, go on from the newest checkpoint, take one optimizer step for each batch (`step.py`), write down
what it came to, save from time to time, and save the result.
"""

import json
import math
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tunesmith.errors import Interrupted
from tunesmith.files import atomic_folder, atomic_write, folder_digest
from tunesmith.progress import Progress
from tunesmith.train import Start
from tunesmith.train.adapter import prepare, save_final
from tunesmith.train.averaging import Average, average_of
from tunesmith.train.checkpoint import load_newest, prune, room_for, save_checkpoint
from tunesmith.train.conversation_losses import cut_losses
from tunesmith.train.environment import environment, what_changed
from tunesmith.train.head import find_head
from tunesmith.train.judge import Judge, measure
from tunesmith.train.kernels import Kernels, kernels_in
from tunesmith.train.memory import kept_memory
from tunesmith.train.objectives.make import make_objective
from tunesmith.train.optim import make_optimizer
from tunesmith.train.parallel.ranks import Ranks, current
from tunesmith.train.parallel.shard import check_supported, shard
from tunesmith.train.plan import Plan
from tunesmith.train.probe import VALIDATION_LOSS, Probe
from tunesmith.train.proof import prove_attention
from tunesmith.train.range_test import settle_rate
from tunesmith.train.schedule import Schedule
from tunesmith.train.start import begin, lay_weights
from tunesmith.train.step import Engine, Step, train_step
from tunesmith.train.validation import share_objective
from tunesmith.train.watch import Watch, shown
from tunesmith.types import Batch, Checkpoint, Stream

Report = Callable[[Step | None, dict[str, float]], None]


@dataclass(frozen=True, slots=True)
class Training:
    """One training under way: what moves the weights, what watches, and where the data stand."""

    engine: Engine
    batches: Stream[Batch]
    judge: Judge
    average: Average | None
    base_folder: Path
    kernels: Kernels


def run_training(plan: Plan, model: Any, batches: Stream[Batch], folder: Path, probes: Sequence[Probe]) -> Checkpoint:
    """See `tunesmith.train.train`. `model` was loaded with the attention of `tunesmith.train.attention`."""
    ranks = current()
    with kept_memory(_device(model)), kernels_in(model, plan.config.kernels, ranks.world_size) as kernels:
        return _run(plan, model, batches, folder, probes, ranks, kernels)


def _run(
    plan: Plan,
    model: Any,
    batches: Stream[Batch],
    folder: Path,
    probes: Sequence[Probe],
    ranks: Ranks,
    kernels: Kernels,
) -> Checkpoint:
    config = plan.config
    judge = Judge(config, probes, folder / "best")
    base_folder = Path(model.config._name_or_path)
    check_supported(plan, ranks)
    ranks.check_same("data", batches.fingerprint)
    prove_attention(model)
    model = prepare(model, config)
    lay_weights(plan.start, model)
    head = find_head(model, config.loss.chunk_tokens, kernels.loss)
    spread = partial(shard, ranks=ranks, shard_ranks=config.parallel.shard_ranks)
    objective = make_objective(config, model, head, spread, is_continued=plan.start != Start())
    model = spread(model)
    if not ranks.is_first:  # equal adapters everywhere, but dropout of one's own
        torch.manual_seed(config.seed + ranks.rank)
    plan, peak = settle_rate(plan, model, objective, batches, folder)
    optimizer = make_optimizer(model, config.optimizer, config.seed, kernels.gradients)
    begin(plan.start, optimizer, model)
    schedule = Schedule(config.schedule, plan.num_steps, plan.num_warmup, peak)
    engine = Engine(plan, model, optimizer, schedule, objective, folder, ranks)
    share_objective(probes, objective)
    average = average_of(config, optimizer.final_weights(), folder / "averaged")
    training = Training(engine, batches, judge, average, base_folder, kernels)
    step, notes = _resume(training)
    with _report(training, step, notes, head.kind) as report, _stop_request(ranks) as stop:
        if step == 0 and (measured := _measure(training, probes, 0)):
            report(None, measured)
        for batch in batches:
            if step >= plan.num_steps or judge.is_over:
                break
            done = train_step(engine, batch, step)
            step += 1
            report(done, _measure(training, probes, step))
            is_stopped = ranks.any(bool(stop))
            is_time = step % config.checkpoint_steps == 0 and step < plan.num_steps
            if is_time and average is not None:
                average.before_checkpoint(step, optimizer.final_weights())
            if is_time or is_stopped:
                _save(training, step)
            if is_stopped:
                raise Interrupted(
                    f"stopped at step {step:,} of {plan.num_steps:,}; run the same command again to go on"
                )
    if plan.keeps_state:
        _save(training, step)
    result = _finish(training, step)
    if ranks.is_first:
        judge.prune()
    return result


def _measure(training: Training, probes: Sequence[Probe], step: int) -> dict[str, float]:
    """What happens beside training after step `step`: the average moves, probes measure, and judge and schedule take
    note of what they found."""
    engine, optimizer = training.engine, training.engine.optimizer
    if step and training.average is not None:
        training.average.after_step(step, optimizer.final_weights())
    measured = measure(probes, step, step == engine.plan.num_steps, engine.model, optimizer.judged())
    measured = engine.ranks.gather(measured)[0]  # all must come to the same conclusions
    if step and VALIDATION_LOSS in measured:
        engine.schedule.observe(measured[VALIDATION_LOSS])
    if step:
        training.judge.observe(
            step, measured, lambda path: _save_weights(training, path, step, optimizer.final_weights())
        )
    return measured


def _save_weights(training: Training, path: Path, step: int, weights: dict[str, Tensor]) -> Checkpoint:
    engine = training.engine
    with room_for(path, engine.folder / "checkpoints"):
        return save_final(engine.model, weights, engine.plan.config, training.base_folder, path, step, engine.ranks)


def _finish(training: Training, step: int) -> Checkpoint:
    """Write the result: the last weights, their average, or the best ones."""
    engine, average, config = training.engine, training.average, training.engine.plan.config
    final = engine.folder / "final"
    if config.final == "best":
        best_step, path = training.judge.best()
        digest = ""
        if engine.ranks.is_first:
            with room_for(final, engine.folder / "checkpoints"), atomic_folder(final) as temporary:
                shutil.copytree(path, temporary, dirs_exist_ok=True)
            digest = folder_digest(final)
        return Checkpoint(final, best_step, engine.ranks.gather(digest)[0], config.method)
    weights = engine.optimizer.final_weights()
    return _save_weights(training, final, step, average.result(step, weights) if average else weights)


def _save(training: Training, step: int) -> None:
    """Save what resuming needs; what is no longer among the best goes only when a checkpoint knows of it."""
    engine, average = training.engine, training.average
    tensors = engine.optimizer.tensors() | (average.tensors() if average else {})
    facts = {
        "batches": training.batches.state(),
        "schedule": engine.schedule.state(),
        "judge": training.judge.state(),
        "environment": environment(_device(engine.model), training.kernels.digest),
    }
    keep = engine.plan.config.keep_checkpoints
    save_checkpoint(engine.folder / "checkpoints", step, tensors, facts, keep, engine.ranks)
    if engine.ranks.is_first:
        training.judge.prune()


def _resume(training: Training) -> tuple[int, list[str]]:
    """Restore the newest whole checkpoint and cut the metrics back to it.

    Returns its step (0 where there is none), and what a person should know about it.
    """
    engine, folder = training.engine, training.engine.folder
    like = dict(zip(engine.optimizer.names, engine.optimizer.parameters, strict=True))
    saved = load_newest(folder / "checkpoints", like, engine.ranks)
    if saved is not None:
        training.judge.restore(saved.facts["judge"])
    if engine.ranks.is_first:
        _cut_metrics(folder / "metrics.jsonl", saved.step if saved else 0)
        cut_losses(folder, saved.step if saved else 0)
        training.judge.prune()
        prune(folder / "checkpoints", engine.plan.config.keep_checkpoints)  # who died after saving did not come to it
    if saved is None:
        return 0, []
    training.batches.restore(saved.facts["batches"])
    engine.optimizer.restore(saved.tensors)
    engine.schedule.restore(saved.facts["schedule"])
    if training.average is not None:
        training.average.restore(saved.tensors)
    changed = what_changed(saved.facts["environment"], environment(_device(engine.model), training.kernels.digest))
    passed_over = [f"damaged, so {saved.path.name} is taken in its place: {each}" for each in saved.damaged]
    return saved.step, [*passed_over, *([changed] if changed else [])]


@contextmanager
def _report(training: Training, step: int, notes: Sequence[str], head: str) -> Iterator[Report]:
    """What each step, and what was measured after it, is handed to: the bar, the metrics and the watch of the first
    rank. The others know the same figures, and say nothing."""
    engine, folder = training.engine, training.engine.folder
    if not engine.ranks.is_first:
        yield lambda done, measured: None
        return
    num_steps, num_visits = engine.plan.num_steps, getattr(training.batches, "num_conversations", 0)
    with (
        Progress("train", num_steps, start=step, metrics_path=folder / "metrics.jsonl") as progress,
        Watch(engine.plan, engine.model, folder, step, num_visits, engine.ranks.world_size) as watch,
    ):
        for note in (*notes, *filter(None, [training.kernels.note])):
            progress.note(note)

        def report(done: Step | None, measured: dict[str, float]) -> None:
            if done is None:
                progress.advance(0, measured, step=0, **measured)
                return
            figures = watch.see(done, measured)
            progress.advance(
                1, shown(figures), step=done.number + 1, head=head, kernels=training.kernels.kind, **figures
            )

        yield report
        if training.judge.is_over:
            progress.note(f"stopped early: {training.judge.reason}")


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
def _stop_request(ranks: Ranks) -> Iterator[list[bool]]:
    """A list that becomes non-empty on Ctrl-C, so that the loop can save first; a second Ctrl-C stops at once.

    With several ranks a second one changes nothing, for the terminal and torchrun each send one; torchrun ends what
    has not saved within half a minute.
    """
    asked: list[bool] = []

    def note(number: int, frame: Any) -> None:
        asked.append(True)
        if ranks.world_size == 1:
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
