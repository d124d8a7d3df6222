"""What a training is asked to do: one frozen schema, with a table for each part of the craft. Imports no torch."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from tunesmith.config import Config
from tunesmith.train.objective_config import ObjectiveConfig
from tunesmith.train.warmup import parse_warmup


class AdapterConfig(Config):
    """The low-rank adapter that is trained where `method = "lora"`."""

    kind: Literal["lora", "rslora", "dora"] = "lora"
    """LoRA (Hu et al. 2021); rsLoRA, scaled by the root of the rank (Kalajdzievski 2023); or DoRA, with trained norms
    (Liu et al. 2024)."""

    rank: int = Field(default=16, ge=1)
    """Rank of the LoRA matrices."""

    alpha: float = Field(default=32.0, gt=0)
    """Scaling: the update is multiplied by alpha / rank, or by alpha / sqrt(rank) where the kind is rslora."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout before the LoRA matrices; 0 keeps training a function of the data alone."""

    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Which layers get matrices: all linear ones but the head, or those that these patterns name, such as `q_proj` or
    `layers.1?.mlp`; a mixture's experts only where a pattern names them."""

    new_tokens: tuple[str, ...] = ()
    """Tokens of the vocabulary whose own rows of the embedding and the head are trained too."""

    quantize: Literal["none", "nf4", "int8"] = "none"
    """Keep the base model in 4 or 8 bits while the adapter is trained (QLoRA, Dettmers et al. 2023); needs CUDA."""


class ScheduleConfig(Config):
    """The learning rate over the course of training."""

    kind: Literal["cosine", "linear", "constant", "wsd", "plateau"] = "cosine"
    """Learning rate after the warmup. cosine, linear: down to the floor over all other steps. constant: unchanged.
    wsd: unchanged, then linearly down to the floor (warmup-stable-decay, Hu et al. 2024). plateau: lowered whenever
    the validation loss has stopped falling."""

    warmup: float | str = 0.05
    """While the learning rate rises linearly from zero: a share of the steps, "100 steps" or "2e6 tokens"."""

    final_share: float = Field(default=0.1, ge=0, le=1)
    """The floor, as a share of the peak: where cosine, linear and wsd end, and what plateau never goes below."""

    decay_share: float = Field(default=0.2, gt=0, le=1)
    """wsd: the share of the steps, at the end, in which the learning rate falls."""

    plateau_factor: float = Field(default=0.5, gt=0, lt=1)
    """plateau: what the learning rate is multiplied by when the validation loss has stopped falling."""

    plateau_patience: int = Field(default=2, ge=0)
    """plateau: validations without a new best loss (by a ten-thousandth of it) that are borne before lowering."""

    @field_validator("warmup")
    @classmethod
    def _known_warmup(cls, value: float | str) -> float | str:
        parse_warmup(value)
        return value

    @model_validator(mode="after")
    def _fields_are_read(self) -> Self:
        falling = ("cosine", "linear", "wsd", "plateau")
        for field, kinds in (
            ("final_share", falling),
            ("decay_share", ("wsd",)),
            ("plateau_factor", ("plateau",)),
            ("plateau_patience", ("plateau",)),
        ):
            if self.kind not in kinds and getattr(self, field) != type(self).model_fields[field].default:
                raise ValueError(f"{field} is for {', '.join(kinds)}; it does not go with kind {self.kind!r}")
        return self


class OptimizerConfig(Config):
    """What moves the weights."""

    kind: Literal["adamw", "adamw_8bit", "muon", "schedule_free"] = "adamw"
    """adamw: AdamW (Loshchilov and Hutter 2017). adamw_8bit: with moments of 8 bits (Dettmers et al. 2021), on CUDA,
    by bitsandbytes. muon: orthogonal updates for the matrices of the layers (Jordan et al. 2024), AdamW for the rest.
    schedule_free: AdamW whose averaged weights need no decay (Defazio et al. 2024), by schedulefree."""

    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Share that the running mean of the gradients keeps at each step (schedule_free: of its interpolation)."""

    beta2: float = Field(default=0.999, ge=0, lt=1)
    """Share that the running mean of the squared gradients keeps at each step."""

    epsilon: float = Field(default=1e-8, gt=0)
    """Added to the root of the mean square before dividing by it."""

    momentum: float = Field(default=0.95, ge=0, lt=1)
    """muon: share that the running mean of the matrices' gradients keeps at each step."""

    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay, on matrices only."""

    clip_norm: float = Field(default=1.0, gt=0)
    """Largest gradient norm; larger gradients are scaled down to it (1e9 leaves all alone)."""

    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """The learning rate of each layer, as a share of that of the layer above it; the head has the full rate, the
    embeddings the lowest (discriminative fine-tuning, Howard and Ruder 2018). 1 treats all alike."""

    precision: Literal["masters", "stochastic_rounding"] = "masters"
    """How bfloat16 weights take updates smaller than their spacing. masters: in a float32 copy. stochastic_rounding:
    without a copy, rounded up or down by chance, so that updates arrive on average (Zamirai et al. 2020)."""

    @model_validator(mode="after")
    def _fitting_kind(self) -> Self:
        if self.kind == "schedule_free" and self.beta1 == 0:
            raise ValueError("schedule_free cannot find its average with beta1 = 0; the default is 0.9")
        if self.kind != "muon" and self.momentum != type(self).model_fields["momentum"].default:
            raise ValueError(f"momentum is for muon; it does not go with kind {self.kind!r}")
        if self.kind == "schedule_free" and self.precision == "stochastic_rounding":
            raise ValueError(
                "schedule_free keeps a float32 state of each weight and needs exact weights beside it; "
                'set precision = "masters", or another kind'
            )
        return self


class LossConfig(Config):
    """What is made smaller at each supervised token."""

    kind: Literal["cross_entropy", "dft"] = "cross_entropy"
    """-log p of the token; dft (dynamic fine-tuning, Wu et al. 2025) multiplies it by p, taken as a constant."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target that is spread over the whole vocabulary (Szegedy et al. 2015)."""

    z_loss: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Weight of the squared logarithm of the softmax's denominator, which keeps logits from drifting; 1e-4 is usual."""

    chunk_tokens: int = Field(default=512, ge=1)
    """Tokens whose logits are held at once, with any objective: a matter of memory and speed alone."""

    @property
    def differs(self) -> bool:
        """Whether anything but plain cross-entropy is asked for."""
        return self != LossConfig(chunk_tokens=self.chunk_tokens)


class NoiseConfig(Config):
    """Noise on the hidden states while training, against overfitting to few examples."""

    kind: Literal["none", "uniform", "gaussian"] = "none"
    """Uniform (NEFTune, Jain et al. 2023), or Gaussian of the same variance."""

    alpha: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    """Strength: uniform noise lies within alpha / sqrt(tokens of the conversation x width of the model)."""

    where: Literal["embeddings", "layers"] = "embeddings"
    """On the embedded tokens, or on what enters each layer."""

    over_steps: Literal["constant", "linear", "cosine"] = "constant"
    """The strength over the course of training: unchanged, or down to nothing along a line or a cosine."""

    over_layers: Literal["constant", "falling", "rising"] = "constant"
    """The strength over the layers: the same at all, full at the first and less at each, or rising to full at the
    last."""

    @model_validator(mode="after")
    def _fields_are_read(self) -> Self:
        if self.kind == "none" and (self.alpha, self.where, self.over_steps) != (5.0, "embeddings", "constant"):
            raise ValueError('the other fields of noise are not read with kind "none"; set kind to uniform or gaussian')
        if self.where != "layers" and self.over_layers != "constant":
            raise ValueError('over_layers is for noise at the layers; set where = "layers", or leave it out')
        return self


class ValidationConfig(Config):
    """Conversations set apart from training, on which the loss is measured while it goes on."""

    size: float = Field(default=0, ge=0, allow_inf_nan=False)
    """How much of the training data to set apart: a fraction below 1, or a count from 1 on."""

    every_steps: int = Field(default=50, ge=1)
    """Optimizer steps between measurements; there is one before the first step and one after the last, too."""

    seed: int = Field(default=0, ge=0)
    """Seed of the choice."""

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        if self.size >= 1 and self.size != int(self.size):
            raise ValueError(f"size is a fraction below 1 or a whole count from 1 on, not {self.size}")
        return self


class EarlyStopConfig(Config):
    """When training ends before its last step."""

    patience: int | None = Field(default=None, ge=1)
    """Stop after this many measurements of train.score in a row without a gain; by default never."""

    min_gain: float = Field(default=0.0, ge=0)
    """A gain is more than this over the best score so far."""


class AverageConfig(Config):
    """Which average of the weights becomes the result, where final = "average"."""

    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Decay a step of an exponential moving average; by default the last states are averaged equally instead."""

    states: int = Field(default=5, ge=2)
    """Without ema_decay: how many states are averaged, the final one and those at the newest checkpoints."""


class SamplesConfig(Config):
    """Prompts that the model answers while it trains, so that a person can see what changes."""

    prompts: tuple[str, ...] = ()
    """What a user says, one message each."""

    path: str | None = None
    """A text file with more prompts, one a line."""

    every_steps: int = Field(default=50, ge=1)
    """Optimizer steps between answers; the first are given before training, the last after it."""

    max_tokens: int = Field(default=64, ge=1)
    """The longest answer."""


class ParallelConfig(Config):
    """Several processes that train one model together, started by torchrun; one process needs none of it."""

    shard_ranks: int | None = Field(default=None, ge=1)
    """Ranks that hold the weights between them; by default all. With the number of a node's devices, every node holds
    a whole copy, and only gradients travel between nodes (hybrid sharding)."""

    timeout_seconds: float = Field(default=1800.0, gt=0)
    """Longest wait of a rank for the others within a step or a checkpoint; then all stop with an error."""


class TrainConfig(Config):
    """How the model learns."""

    method: Literal["lora", "full"] = "lora"
    """Train a low-rank adapter, or every weight."""

    adapter: AdapterConfig = AdapterConfig()
    """The adapter, where the method is lora."""

    freeze: tuple[str, ...] = ()
    """Patterns of weights that stay as they are, such as `embed_tokens` or `layers.[0-3]`; no adapter goes there."""

    objective: ObjectiveConfig = ObjectiveConfig()
    """What training makes smaller."""

    learning_rate: Annotated[float, Field(gt=0)] | Literal["auto"] | None = None
    """Peak learning rate; by default 2e-4 for LoRA and 2e-5 for full fine-tuning, from pairs 1e-5 and 1e-6. auto: a
    tenth of the rate at which the loss is lowest, in a short test before training (Smith 2017)."""

    schedule: ScheduleConfig = ScheduleConfig()
    """How the learning rate rises and falls."""

    optimizer: OptimizerConfig = OptimizerConfig()
    """What moves the weights."""

    loss: LossConfig = LossConfig()
    """The loss of a supervised token."""

    noise: NoiseConfig = NoiseConfig()
    """Noise on the hidden states."""

    epochs: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Passes over the data; may be a fraction."""

    max_steps: int | None = Field(default=None, ge=1)
    """Stop after this many optimizer steps, whatever the epochs say."""

    checkpoint_steps: int = Field(default=50, ge=1)
    """Optimizer steps between checkpoints."""

    keep_checkpoints: int = Field(default=2, ge=1)
    """How many of the newest checkpoints are kept; with two or more, a damaged one is no loss."""

    validation: ValidationConfig = ValidationConfig()
    """Conversations set apart to measure the loss on."""

    score: str = "validation_loss"
    """What early stopping and the best states go by: validation_loss, or the name of a probe handed to `train`."""

    early_stop: EarlyStopConfig = EarlyStopConfig()
    """When training ends before its last step."""

    keep_best: int = Field(default=0, ge=0)
    """How many of the best states by `score` are kept in best/, as loadable weights."""

    final: Literal["last", "best", "average"] = "last"
    """Which weights are the result: the last ones, the best by `score`, or an average."""

    average: AverageConfig = AverageConfig()
    """The average, where final = "average"."""

    samples: SamplesConfig = SamplesConfig()
    """Prompts that the model answers while it trains."""

    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""

    kernels: Literal["auto", "off"] = "auto"
    """auto: bfloat16 models on a CPU train with C++ kernels, built once by the machine's own compiler, where there is
    one and a module is proven to compute the same. off: with torch's operations alone."""

    trackers: tuple[Literal["tensorboard", "wandb", "mlflow", "trackio"], ...] = ()
    """Where metrics are copied to beside metrics.jsonl; each is an extra of its own name."""

    parallel: ParallelConfig = ParallelConfig()
    """Many devices, where torchrun starts several processes."""

    seed: int = Field(default=0, ge=0)
    """Seed of the adapter's initial weights, of noise and of dropout."""

    @model_validator(mode="after")
    def _fitting_adapter(self) -> Self:
        if self.method == "full" and self.adapter.quantize != "none":
            raise ValueError(
                f'adapter.quantize = "{self.adapter.quantize}" belongs to method = "lora": '
                "quantized weights cannot be trained themselves"
            )
        return self

    @model_validator(mode="after")
    def _fitting_schedule(self) -> Self:
        if self.optimizer.kind == "schedule_free" and self.schedule.kind != "constant":
            raise ValueError(
                f"schedule_free takes the place of a schedule, so schedule.kind = {self.schedule.kind!r} would decay "
                'twice; set schedule.kind = "constant"'
            )
        return self

    @model_validator(mode="after")
    def _loss_is_read(self) -> Self:
        if self.objective.kind != "supervised" and self.loss.differs:
            raise ValueError(
                "loss.kind, loss.label_smoothing and loss.z_loss are for supervised training; "
                f"they do not go with objective.kind {self.objective.kind!r}"
            )
        return self

    @property
    def needed_scores(self) -> tuple[str, ...]:
        """The names of the scores that something goes by."""
        by_score = self.early_stop.patience is not None or self.keep_best > 0 or self.final == "best"
        by_loss = self.schedule.kind == "plateau"
        return (*((self.score,) if by_score else ()), *(("validation_loss",) if by_loss else ()))

    @model_validator(mode="after")
    def _check_average(self) -> Self:
        if self.average != AverageConfig() and self.final != "average":
            raise ValueError('average: is read only where final = "average"; set that too, or leave average out')
        return self
