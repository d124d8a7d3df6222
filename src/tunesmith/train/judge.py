"""What is measured while a model trains, and what follows from it: the best states, and when to stop early."""

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from tunesmith.errors import ConfigError, TrainError
from tunesmith.train import TrainConfig
from tunesmith.train.checkpoint import random_states, restore_random_states
from tunesmith.train.probe import VALIDATION_LOSS, Probe


@contextmanager
def set_aside(model: Any) -> Iterator[None]:
    """Evaluation mode for a while: afterwards every module's mode and the random state are what they were."""
    training = [module for module in model.modules() if module.training]
    states = random_states()
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
        restore_random_states(states)


def measure(
    probes: Sequence[Probe], step: int, is_last: bool, model: Any, judged: AbstractContextManager[None]
) -> dict[str, float]:
    """What the probes that are due after `step` give, by name; while `judged` lasts, the model holds the weights that
    are to be judged."""
    due = [probe for probe in probes if is_last or step % probe.every_steps == 0]
    if not due:
        return {}
    with judged, set_aside(model):
        given = {probe.name: probe(step, model) for probe in due}
    return {name: value for name, value in given.items() if value is not None}


class Judge:
    """Remembers which states were best by one score, and how long it has been waiting for a better one.

    The best states are kept in `folder` as loadable weights, best first in `kept` as (step, score). All that it
    remembers is JSON, so that a resumed training goes on with it.
    """

    def __init__(self, config: TrainConfig, probes: Sequence[Probe], folder: Path) -> None:
        """Raises ConfigError where two probes share a name, or none has the name that `train.score` asks for."""
        names = [probe.name for probe in probes]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"two probes are called {name!r}; names must differ")
        for name in config.needed_scores:
            if name not in names:
                raise ConfigError(_no_score(name, names))
        self._score = config.score
        self._is_higher_better = any(probe.higher_is_better for probe in probes if probe.name == config.score)
        self._stop = config.early_stop
        self._num_kept = max(config.keep_best, int(config.final == "best"))
        self._folder = folder
        self.kept: list[tuple[int, float]] = []
        self._best: float | None = None
        self._num_waited = 0

    @property
    def is_over(self) -> bool:
        """Whether the patience is used up."""
        return self._stop.patience is not None and self._num_waited >= self._stop.patience

    @property
    def reason(self) -> str:
        """Why it is over, in words."""
        return f"{self._score} has not gained on {self._best} in {self._num_waited} measurements"

    def best(self) -> tuple[int, Path]:
        """The step and the folder of the best state; raises TrainError where the score was never measured."""
        if not self.kept:
            raise TrainError(
                f'train.final = "best", but {self._score} was never measured, so no state is the best; the last '
                "checkpoint is kept. Let the probe give a number, at the latest after the last step"
            )
        step, _ = self.kept[0]
        return step, self.place(step)

    def observe(self, step: int, measured: dict[str, float], save: Callable[[Path], Any]) -> None:
        """Take note of what was measured after `step`; a state among the best is kept by `save`, given its folder."""
        if self._score not in measured:
            return
        value = measured[self._score]
        if self._gain(value, self._best) > self._stop.min_gain:
            self._best, self._num_waited = value, 0
        else:
            self._num_waited += 1
        worst = self.kept[-1][1] if len(self.kept) == self._num_kept and self.kept else None
        if self._num_kept and self._gain(value, worst) > 0:
            save(self.place(step))
            better = sum(self._gain(value, other) <= 0 for _, other in self.kept)
            self.kept.insert(better, (step, value))
            del self.kept[self._num_kept :]

    def _gain(self, value: float, over: float | None) -> float:
        if math.isnan(value):
            return -math.inf
        if over is None:
            return math.inf
        return value - over if self._is_higher_better else over - value

    def place(self, step: int) -> Path:
        """The folder of the weights after `step`."""
        return self._folder / f"step-{step:06d}"

    def prune(self) -> None:
        """Remove states that are no longer among the best. Call it when a checkpoint says so: until then a resumed
        training may still count on them."""
        known = {self.place(step) for step, _ in self.kept}
        for path in self._folder.glob("step-*"):
            if path not in known:
                shutil.rmtree(path)

    def state(self) -> dict[str, Any]:
        return {"kept": self.kept, "best": self._best, "num_waited": self._num_waited}

    def restore(self, state: dict[str, Any]) -> None:
        kept = [(int(step), float(value)) for step, value in state["kept"]]
        self.kept = [(step, value) for step, value in kept if self.place(step).is_dir()]
        self._best = state["best"]
        self._num_waited = state["num_waited"]


def _no_score(name: str, names: list[str]) -> str:
    if name == VALIDATION_LOSS:
        return (
            "early stopping, best states or the schedule go by the validation loss, but nothing is validated; set "
            "train.validation.size, for example to 0.1"
        )
    return f"train.score = {name!r} is no probe of this training; there are: {', '.join(names) or 'none'}"
