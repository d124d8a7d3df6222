"""The learning rate: a pure function of the step, of the tokens seen, and of the plateaus of the validation loss."""

import math
from collections.abc import Mapping
from typing import Any

from tunesmith.train.config import ScheduleConfig
from tunesmith.train.warmup import parse_warmup

_BETTER = 1e-4  # a new best loss is lower by this share of it; torch's ReduceLROnPlateau has the same


def learning_rate_at(
    config: ScheduleConfig, step: int, num_steps: int, num_warmup: int, peak: float, num_tokens: float = 0
) -> float:
    """The learning rate of optimizer step `step` (from 0) of `num_steps`, before any plateau.

    The rate rises over `num_warmup` steps; where the warmup is counted in tokens, it rises with `num_tokens`, the
    tokens of all steps up to and including this one, and `num_warmup` says when it is expected to be over. Then the
    schedule begins, and reaches its floor just after the last step.
    """
    warmup = parse_warmup(config.warmup)
    if warmup.unit == "tokens":
        risen = min(1.0, num_tokens / warmup.amount) if warmup.amount else 1.0
    else:
        risen = min(1.0, (step + 1) / num_warmup) if num_warmup else 1.0
    return peak * risen * _fallen(config, max(0, step - num_warmup), num_steps - num_warmup, num_steps)


def _fallen(config: ScheduleConfig, step: int, left: int, num_steps: int) -> float:
    """The share of the peak that the schedule leaves at step `step` of the `left` steps after the warmup."""
    if config.kind in ("constant", "plateau") or left <= 0:
        return 1.0
    if config.kind == "wsd":
        falling = max(1, min(left, round(num_steps * config.decay_share)))
        progress = max(0.0, (step - (left - falling)) / falling)
    else:
        progress = step / left
    progress = min(1.0, progress)
    shape = 0.5 * (1 + math.cos(math.pi * progress)) if config.kind == "cosine" else 1 - progress
    return config.final_share + (1 - config.final_share) * shape


class Plateau:
    """The factor of the learning rate that falls when the validation loss no longer does.

    The rule of torch's ReduceLROnPlateau: after more than `plateau_patience` validations without a new best loss, the
    factor is multiplied by `plateau_factor`, down to `final_share`.
    """

    def __init__(self, config: ScheduleConfig) -> None:
        self._config = config
        self.factor = 1.0
        self._best = math.inf
        self._num_bad = 0

    def observe(self, loss: float) -> None:
        """Take in the loss of a validation; one that is no number counts as not better."""
        if loss < self._best * (1 - _BETTER):
            self._best, self._num_bad = loss, 0
            return
        self._num_bad += 1
        if self._num_bad > self._config.plateau_patience:
            self.factor = max(self._config.final_share, self.factor * self._config.plateau_factor)
            self._num_bad = 0

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON."""
        best = self._best if math.isfinite(self._best) else None
        return {"factor": self.factor, "best": best, "num_bad": self._num_bad}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        self.factor, self._num_bad = float(state["factor"]), int(state["num_bad"])
        self._best = math.inf if state["best"] is None else float(state["best"])


class Schedule:
    """The learning rate of a training, with what it remembers: the tokens seen, and the plateau."""

    def __init__(self, config: ScheduleConfig, num_steps: int, num_warmup: int, peak: float) -> None:
        self._config, self._num_steps, self._num_warmup, self._peak = config, num_steps, num_warmup, peak
        self.num_tokens = 0
        self.plateau = Plateau(config)

    def rate(self, step: int, num_tokens: int) -> float:
        """The learning rate of step `step` (from 0), which has `num_tokens` tokens."""
        seen = self.num_tokens + num_tokens
        rate = learning_rate_at(self._config, step, self._num_steps, self._num_warmup, self._peak, seen)
        return rate * self.plateau.factor

    def count(self, num_tokens: int) -> None:
        """A step with `num_tokens` tokens is done."""
        self.num_tokens += num_tokens

    def observe(self, loss: float) -> None:
        """A validation came to `loss`; only the schedule "plateau" heeds it."""
        if self._config.kind == "plateau":
            self.plateau.observe(loss)

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON."""
        return {"num_tokens": self.num_tokens, "plateau": self.plateau.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        self.num_tokens = int(state["num_tokens"])
        self.plateau.restore(state["plateau"])
