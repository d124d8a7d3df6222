"""train: batches in, a tuned model out. One readable loop, in `tunesmith.train.loop`.

The face stands here and the configs in `config.py`, which import without torch; everything heavy is in the siblings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.train.config import (
    AdapterConfig,
    AverageConfig,
    EarlyStopConfig,
    LossConfig,
    NoiseConfig,
    OptimizerConfig,
    ParallelConfig,
    SamplesConfig,
    ScheduleConfig,
    TrainConfig,
    ValidationConfig,
)
from tunesmith.train.objective_config import DistillConfig, ObjectiveConfig, PreferenceConfig
from tunesmith.train.probe import FunctionProbe, Probe
from tunesmith.types import Batch, Checkpoint, Stream

if TYPE_CHECKING:
    from tunesmith.train.plan import Plan

__all__ = [
    "AdapterConfig",
    "AverageConfig",
    "DistillConfig",
    "EarlyStopConfig",
    "FunctionProbe",
    "LossConfig",
    "NoiseConfig",
    "ObjectiveConfig",
    "OptimizerConfig",
    "ParallelConfig",
    "PreferenceConfig",
    "Probe",
    "SamplesConfig",
    "ScheduleConfig",
    "Start",
    "TrainConfig",
    "ValidationConfig",
    "train",
]


@dataclass(frozen=True, slots=True)
class Start:
    """What of an earlier phase a training goes on with; nothing of either is a training by itself.

    `weights` is the folder `final` of that phase, whose trained weights are taken over in float32; `state` is its
    folder `checkpoints`, whose newest holds the optimizer's moments (and the same weights).
    """

    weights: Path | None = None
    state: Path | None = None


def train(plan: "Plan", model: Any, batches: Stream[Batch], folder: Path, probes: Sequence[Probe] = ()) -> Checkpoint:
    """Train `model` on `batches` as `plan` says, in `folder`, resuming from its newest checkpoint if there is one.

    Each probe is measured before the first step, every so many steps, and after the last one. Returns the final
    checkpoint, whose folder is `folder/final`. Raises TrainError on a NaN or infinite loss, naming the conversations,
    and on a full disk; ConfigError where `train.score` names no probe; Interrupted on Ctrl-C, after saving.
    """
    from tunesmith.train.loop import run_training

    return run_training(plan, model, batches, folder, probes)
