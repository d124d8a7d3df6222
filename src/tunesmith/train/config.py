"""What a training is asked to do: one frozen schema, with a table for each part of the craft. Imports no torch."""

from typing import Literal

from pydantic import Field

from tunesmith.config import Config


class AdapterConfig(Config):
    """The low-rank adapter that is trained where `method = "lora"`."""

    rank: int = Field(default=16, ge=1)
    """Rank of the LoRA matrices."""

    alpha: float = Field(default=32.0, gt=0)
    """LoRA scaling: the update is multiplied by alpha / rank."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout before the LoRA matrices; 0 keeps training a function of the data alone."""


class ScheduleConfig(Config):
    """The learning rate over the course of training."""

    kind: Literal["cosine", "constant"] = "cosine"
    """Learning rate after the warmup: down to a tenth along a cosine, or unchanged."""

    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps in which the learning rate rises linearly from zero."""


class OptimizerConfig(Config):
    """What moves the weights."""

    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay, on matrices only."""

    clip_norm: float = Field(default=1.0, gt=0)
    """Largest gradient norm; larger gradients are scaled down to it (1e9 leaves all alone)."""


class TrainConfig(Config):
    """How the model learns."""

    method: Literal["lora", "full"] = "lora"
    """Train low-rank adapters on all linear layers (LoRA, Hu et al. 2021), or every weight."""

    adapter: AdapterConfig = AdapterConfig()
    """The adapter, where the method is lora."""

    learning_rate: float | None = Field(default=None, gt=0)
    """Peak learning rate; by default 2e-4 for LoRA and 2e-5 for full fine-tuning."""

    schedule: ScheduleConfig = ScheduleConfig()
    """How the learning rate rises and falls."""

    optimizer: OptimizerConfig = OptimizerConfig()
    """What moves the weights."""

    epochs: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Passes over the data; may be a fraction."""

    max_steps: int | None = Field(default=None, ge=1)
    """Stop after this many optimizer steps, whatever the epochs say."""

    checkpoint_steps: int = Field(default=50, ge=1)
    """Optimizer steps between checkpoints."""

    keep_checkpoints: int = Field(default=2, ge=1)
    """How many of the newest checkpoints are kept; with two or more, a damaged one is no loss."""

    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""

    seed: int = Field(default=0, ge=0)
    """Seed of the adapter's initial weights and of dropout."""
