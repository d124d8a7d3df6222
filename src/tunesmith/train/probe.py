"""A probe: anything that is measured while a model trains. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

VALIDATION_LOSS = "validation_loss"


class Probe(Protocol):
    """Measured every so many steps and after the last one, in evaluation mode, without a trace in the training.

    What it gives stands in metrics.jsonl under its name. Early stopping and the best states go by the probe that
    `train.score` names.
    """

    @property
    def name(self) -> str:
        """What the number is called."""

    @property
    def every_steps(self) -> int:
        """Optimizer steps between two measurements."""

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger number is a better one."""

    def __call__(self, step: int, model: Any) -> float | None:
        """The number after `step` optimizer steps (0: before the first); None where there is none to give."""


@dataclass(frozen=True, slots=True)
class FunctionProbe:
    """A probe made of any function of the step and the model."""

    name: str
    measure: Callable[[int, Any], float | None]
    every_steps: int = 50
    higher_is_better: bool = True

    def __call__(self, step: int, model: Any) -> float | None:
        return self.measure(step, model)
