"""train: batches in, a tuned model out. One readable loop, in `tunesmith.train.loop`.

The config and the faces stand here, so that they import without torch; everything heavy is in the siblings.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tunesmith.config import Config
from tunesmith.types import Batch, Checkpoint, Stream

if TYPE_CHECKING:
    from tunesmith.train.plan import Plan


class TrainConfig(Config):
    """How the model learns."""

    method: Literal["lora", "full"] = "lora"
    """Train low-rank adapters on all linear layers (LoRA, Hu et al. 2021), or every weight."""

    rank: int = Field(default=16, ge=1)
    """Rank of the LoRA matrices."""

    alpha: float = Field(default=32.0, gt=0)
    """LoRA scaling: the update is multiplied by alpha / rank."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout before the LoRA matrices; 0 keeps training a function of the data alone."""

    learning_rate: float | None = Field(default=None, gt=0)
    """Peak learning rate of AdamW; by default 2e-4 for LoRA and 2e-5 for full fine-tuning."""

    epochs: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Passes over the data; may be a fraction."""

    max_steps: int | None = Field(default=None, ge=1)
    """Stop after this many optimizer steps, whatever the epochs say."""

    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate after the warmup: down to a tenth along a cosine, or unchanged."""

    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps in which the learning rate rises linearly from zero."""

    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay of AdamW, on matrices only."""

    clip_norm: float = Field(default=1.0, gt=0)
    """Largest gradient norm; larger gradients are scaled down to it (1e9 leaves all alone)."""

    checkpoint_steps: int = Field(default=50, ge=1)
    """Optimizer steps between checkpoints; the newest one is kept for resuming."""

    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""

    seed: int = Field(default=0, ge=0)
    """Seed of the adapter's initial weights and of dropout."""


def train(plan: "Plan", model: Any, batches: Stream[Batch], folder: Path, probes: Sequence[Any] = ()) -> Checkpoint:
    """Train `model` on `batches` as `plan` says, in `folder`, resuming from its newest checkpoint if there is one.

    Each probe is called as `probe(step, model)` after every checkpoint. Returns the final checkpoint, whose folder
    is `folder/final`. Raises TrainError on a NaN or infinite loss, naming the conversations; raises Interrupted on
    Ctrl-C, after saving.
    """
    from tunesmith.train.loop import run_training

    return run_training(plan, model, batches, folder, probes)
