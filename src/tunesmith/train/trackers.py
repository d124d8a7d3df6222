"""Experiment trackers that metrics also go to: TensorBoard, Weights & Biases, MLflow, trackio.

`metrics.jsonl` is the record; a tracker is a copy for those who look elsewhere, and never matters to training. Each
works on a thread of its own behind a queue, so that a server that does not answer holds nothing up; where a tracker
fails, it is left out from there on, after one warning. Servers and secrets are the packages' own business: they read
their environment variables or login files (WANDB_API_KEY, MLFLOW_TRACKING_URI, ...), never a recipe.
"""

import importlib
import importlib.util
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from tunesmith.errors import MissingExtra

Figures = Mapping[str, float]
PROJECT = "tunesmith"
PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow", "trackio": "trackio"}
CLOSE_SECONDS = 30.0
"""How long the end of training waits for trackers to send what they hold."""
MOST_WAITING = 10_000
"""Steps that may wait for a slow tracker; those beyond are left out."""


class Tracker(Protocol):
    """Where metrics are copied to. All methods are called on one thread; each may raise whatever it likes."""

    def open(self, run_name: str, config: Mapping[str, Any], folder: Path, step: int) -> None:
        """Begin, or go on with, the run of `folder`, at `step`."""

    def log(self, step: int, metrics: Figures) -> None:
        """Note the figures of a step (from 1)."""

    def close(self) -> None:
        """Send what is left."""


class TensorBoard:
    """Event files in the training's own folder, `tensorboard/`."""

    def open(self, run_name: str, config: Mapping[str, Any], folder: Path, step: int) -> None:
        writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        # What was written after the checkpoint that training resumes from is hidden.
        self._writer = writer(str(folder / "tensorboard"), purge_step=step + 1)
        lines = "\n".join(f"    {name} = {value}" for name, value in flat(config).items())
        self._writer.add_text("config", lines, step)

    def log(self, step: int, metrics: Figures) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """A run of the project `tunesmith`, unless WANDB_PROJECT names another; its files lie in the training's folder."""

    def open(self, run_name: str, config: Mapping[str, Any], folder: Path, step: int) -> None:
        wandb = importlib.import_module("wandb")
        project = os.environ.get("WANDB_PROJECT") or PROJECT
        self._run = wandb.init(project=project, name=run_name, config=dict(config), dir=str(folder))

    def log(self, step: int, metrics: Figures) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        self._run.finish()


class Mlflow:
    """A run of the experiment `tunesmith`, unless MLFLOW_EXPERIMENT_NAME names another."""

    def open(self, run_name: str, config: Mapping[str, Any], folder: Path, step: int) -> None:
        self._mlflow = mlflow = importlib.import_module("mlflow")
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT)
        mlflow.start_run(run_name=run_name)
        mlflow.log_params(flat(config))

    def log(self, step: int, metrics: Figures) -> None:
        self._mlflow.log_metrics(dict(metrics), step=step)

    def close(self) -> None:
        self._mlflow.end_run()


class Trackio:
    """A run of the project `tunesmith`; trackio keeps it on this machine unless its environment says otherwise."""

    def open(self, run_name: str, config: Mapping[str, Any], folder: Path, step: int) -> None:
        self._trackio = trackio = importlib.import_module("trackio")
        trackio.init(project=PROJECT, name=run_name, config=dict(config), resume="allow")

    def log(self, step: int, metrics: Figures) -> None:
        self._trackio.log(dict(metrics), step=step)

    def close(self) -> None:
        self._trackio.finish()


TRACKERS: dict[str, Callable[[], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "mlflow": Mlflow,
    "trackio": Trackio,
}


def check_trackers(names: Sequence[str]) -> None:
    """Raise MissingExtra for the first tracker whose package is not installed; imports none of them."""
    for name in names:
        if importlib.util.find_spec(PACKAGES[name]) is None:
            raise MissingExtra(PACKAGES[name], name, f"train.trackers = [{name!r}]")


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, with names joined by slashes."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        path = f"{prefix}{name}"
        found |= flat(value, f"{path}/") if isinstance(value, Mapping) else {path: value}
    return found


def run_name(folder: Path) -> str:
    """What the training in `folder` is called: as its run, and its phase behind it where there are several."""
    above = folder.resolve().parent
    return f"{above.parent.name}/{folder.name}" if above.name == "train" else above.name


class Trackers:
    """All trackers of a training; use as a context manager."""

    def __init__(
        self,
        names: Sequence[str],
        config: Mapping[str, Any],
        folder: Path,
        step: int = 0,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        """`folder` is that of the training, in the folder of the run that gives the name; `step` where it begins."""
        opened = (run_name(folder), config, folder, step)
        self._lanes = [_Lane(name, TRACKERS[name], opened, warn or _to_stderr) for name in names]

    def __enter__(self) -> Self:
        for lane in self._lanes:
            lane.start()
        return self

    def __exit__(self, *_: object) -> None:
        for lane in self._lanes:
            lane.end()
        for lane in self._lanes:
            lane.join()

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Hand the numbers of a step over; returns at once."""
        figures = {name: float(value) for name, value in flat(metrics).items() if isinstance(value, int | float)}
        for lane in self._lanes:
            lane.log(step, figures)


class _Lane:
    """One tracker, its thread, and its queue."""

    def __init__(
        self, name: str, make: Callable[[], Tracker], opened: tuple[Any, ...], warn: Callable[[str], None]
    ) -> None:
        self._name, self._make, self._opened, self._warn = name, make, opened, warn
        self._queue: queue.Queue[tuple[int, Figures] | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)
        self._is_dead = False

    def start(self) -> None:
        self._thread.start()

    def log(self, step: int, metrics: Figures) -> None:
        if self._is_dead:
            return
        try:
            self._queue.put_nowait((step, metrics))
        except queue.Full:
            self._give_up(f"it is {MOST_WAITING:,} steps behind")

    def end(self) -> None:
        """Ask for the end; a queue that is full belongs to a tracker that was given up."""
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            self._is_dead = True

    def join(self) -> None:
        if self._is_dead:
            return
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._give_up(f"it did not finish within {CLOSE_SECONDS:g} seconds")

    def _work(self) -> None:
        try:
            tracker = self._make()
            tracker.open(*self._opened)
            while not self._is_dead and (item := self._queue.get()) is not None:
                tracker.log(*item)
            tracker.close()
        except BaseException as error:  # whatever a tracker does, even sys.exit, training goes on
            self._give_up(f"{type(error).__name__}: {error}")

    def _give_up(self, why: str) -> None:
        if not self._is_dead:
            self._is_dead = True
            self._warn(f"{self._name}: {why}. Training goes on without this tracker; metrics.jsonl has everything")


def _to_stderr(line: str) -> None:
    print(f"\nwarning: {line}", file=sys.stderr)
