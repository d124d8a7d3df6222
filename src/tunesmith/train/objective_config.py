"""What training makes smaller, as a recipe asks for it: supervised loss, preferences or a teacher. No torch here."""

from typing import Literal, Self

from pydantic import Field, model_validator

from tunesmith.config import Config
from tunesmith.model import ModelConfig


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


class DistillConfig(Config):
    """How the model learns from a teacher on what it writes itself, where the objective is distill."""

    teacher: ModelConfig | None = None
    """The model to learn from; it must have the same tokenizer."""

    samples: int = Field(default=1, ge=1)
    """Answers that the model writes to each prompt, in each step that the prompt is part of."""

    max_tokens: int = Field(default=256, ge=1)
    """The longest answer, in tokens; a longer one is cut, and what there is of it is learned from."""

    temperature: float = Field(default=1.0, gt=0)
    """How the model's answers are sampled; at 1.0 from its own distribution."""

    on_policy_share: float = Field(default=1.0, ge=0, le=1)
    """Share of the conversations whose answers the model writes; of the others the data's answers are learned from."""

    batch_prompts: int = Field(default=16, ge=1)
    """Answers that are written at once: a matter of memory and speed."""

    stop: tuple[str, ...] = ()
    """Control tokens that end an answer; by default those that the tokenizer and generation_config.json name."""


class ObjectiveConfig(Config):
    """What training makes smaller."""

    kind: Literal["supervised", "dpo", "ipo", "simpo", "orpo", "distill"] = "supervised"
    """Say what the data say; prefer the chosen answer of each pair to the rejected one, by DPO or its kin; or do as a
    teacher would in answers of one's own (on-policy distillation)."""

    preference: PreferenceConfig = PreferenceConfig()
    """How answers are compared, where the objective learns from pairs."""

    distill: DistillConfig = DistillConfig()
    """The teacher, and how answers are sampled, where the objective is distill."""

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
    def answer_tokens(self) -> int:
        """The most tokens that the model may write to a prompt, in all its answers; 0 where it writes none."""
        return self.distill.samples * self.distill.max_tokens if self.kind == "distill" else 0

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
        if self.kind == "distill" and self.distill.teacher is None:
            raise ValueError("kind distill needs a teacher: set distill.teacher.name to a model of the same tokenizer")
        if self.kind != "distill" and self.distill != DistillConfig():
            raise ValueError(f"distill is read by kind 'distill' alone; it does not go with kind {self.kind!r}")
        return self
