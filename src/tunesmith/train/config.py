"""What a training is asked to do: one frozen schema, with a table for each part of the craft. Imports no torch."""

from typing import Literal, Self

from pydantic import Field, model_validator

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


class PreferenceConfig(Config):
    """How a chosen and a rejected answer are compared, where the objective is dpo, ipo, simpo or orpo."""

    beta: float | None = Field(default=None, gt=0)
    """Scale of the rewards, in orpo weight of the odds ratio; by default 0.1, and 2.0 for simpo."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of the pairs that are taken to be labeled the wrong way round (cDPO, Mitchell 2023); dpo and simpo."""

    margin: float | None = Field(default=None, ge=0)
    """By how much simpo wants the chosen reward to exceed the rejected one (its gamma); by default 1.0."""

    chosen_weight: float | None = Field(default=None, ge=0)
    """Weight of the mean loss of the chosen answer's tokens, added to a pair's loss; by default 0, and 1 for orpo."""


class ObjectiveConfig(Config):
    """What training makes smaller."""

    kind: Literal["supervised", "dpo", "ipo", "simpo", "orpo"] = "supervised"
    """Say what the data say; or prefer the chosen answer of each pair to the rejected one, by DPO or its kin."""

    preference: PreferenceConfig = PreferenceConfig()
    """How answers are compared, where the objective learns from pairs."""

    @property
    def learns_from_pairs(self) -> bool:
        """Whether the data must be pairs of a chosen and a rejected answer."""
        return self.kind in ("dpo", "ipo", "simpo", "orpo")

    @property
    def beta(self) -> float:
        """The scale of the rewards: as asked for, or the objective's default."""
        return self.preference.beta or (2.0 if self.kind == "simpo" else 0.1)

    @property
    def margin(self) -> float:
        """The margin that simpo wants: as asked for, or its default."""
        return 1.0 if self.preference.margin is None else self.preference.margin

    @property
    def chosen_weight(self) -> float:
        """The weight of the chosen answer's own loss (RPO, Pang et al. 2024), which ORPO always has."""
        asked = self.preference.chosen_weight
        return float(self.kind == "orpo") if asked is None else asked

    @property
    def has_reference(self) -> bool:
        """Whether the model is compared with what it was before training."""
        return self.kind in ("dpo", "ipo")

    @model_validator(mode="after")
    def _fields_are_read(self) -> Self:
        asked = self.preference
        if not self.learns_from_pairs and asked != PreferenceConfig():
            raise ValueError(f"preference is for dpo and its kin; it does not go with kind {self.kind!r}")
        if asked.label_smoothing and self.kind not in ("dpo", "simpo"):
            raise ValueError(f"preference.label_smoothing is for dpo and simpo; it does not go with kind {self.kind!r}")
        if asked.margin is not None and self.kind != "simpo":
            raise ValueError(f"preference.margin is for simpo; it does not go with kind {self.kind!r}")
        return self


class TrainConfig(Config):
    """How the model learns."""

    method: Literal["lora", "full"] = "lora"
    """Train low-rank adapters on all linear layers (LoRA, Hu et al. 2021), or every weight."""

    adapter: AdapterConfig = AdapterConfig()
    """The adapter, where the method is lora."""

    objective: ObjectiveConfig = ObjectiveConfig()
    """What training makes smaller."""

    learning_rate: float | None = Field(default=None, gt=0)
    """Peak learning rate; by default 2e-4 for LoRA and 2e-5 for full fine-tuning, from pairs 1e-5 and 1e-6."""

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
