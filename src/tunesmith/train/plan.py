"""The Plan: every number that is derived rather than asked for, each with its reason, before anything is loaded.

Shown by `--dry-run`, kept as `plan.json` in the run's train folder.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.errors import ModelError
from tunesmith.model import ModelConfig, model_folder
from tunesmith.train import DistillConfig, Start, TrainConfig
from tunesmith.train.advice import Advice, Facts, advise, document_share, has_chat_template
from tunesmith.train.objectives.make import check_data, check_tokenizers, num_pairs_of
from tunesmith.train.trackers import check_trackers
from tunesmith.train.warmup import parse_warmup
from tunesmith.types import Rendered

if TYPE_CHECKING:
    from tunesmith.pack import Batches
    from tunesmith.train.sizes import Sizes

DEFAULT_LEARNING_RATE = {"lora": 2e-4, "full": 2e-5}
PAIRS_LEARNING_RATE = {"lora": 1e-5, "full": 1e-6}
_IN_LAYER = re.compile(r"\.\d+\.")
_QUANTIZED_BYTES = {"nf4": 0.516, "int8": 1.0}  # of a weight, with its share of the scales (Dettmers et al. 2023)
_RUNTIME_BYTES = 700_000_000  # Python, torch, transformers and peft, imported: measured on a Linux CPU build


@dataclass(frozen=True, slots=True)
class Derived:
    """One derived number and the reason for it."""

    name: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What training will do. `config` is as asked for; the other fields are derived; `lines` explain them.
    `advice` doubts choices, and changes none.

    `start` says what of an earlier phase it goes on with; with `keeps_state` the state at its end is kept for the next.
    """

    config: TrainConfig
    num_steps: int
    num_warmup: int
    learning_rate: float | None
    """None until the range test has found it."""

    dtype: str
    lines: tuple[Derived, ...]
    start: Start = field(default_factory=Start)
    keeps_state: bool = False
    advice: tuple[Advice, ...] = ()


@dataclass(frozen=True, slots=True)
class Totals:
    """What the plan needs to know of the data."""

    num_conversations: int
    num_tokens: int
    num_supervised: int
    longest: int

    @property
    def mean_tokens(self) -> float:
        """Tokens of a conversation."""
        return self.num_tokens / self.num_conversations


def make_plan(
    config: TrainConfig,
    model: ModelConfig,
    folder: Path,
    batches: "Batches",
    start: Start | None = None,
    *,
    keeps_state: bool = False,
) -> Plan:
    """Derive the plan from the config, the model folder's headers (no weights are read) and the batches.

    Raises MissingExtra for a tracker whose package is not installed.
    """
    from tunesmith.model.load import pick_device, pick_dtype
    from tunesmith.train.sizes import sizes

    check_trackers(config.trackers)
    device = pick_device()
    dtype, dtype_reason = pick_dtype(model.dtype, device)
    num_steps = min(len(batches), config.max_steps or len(batches))
    pairs = config.objective.learns_from_pairs
    default = (PAIRS_LEARNING_RATE if pairs else DEFAULT_LEARNING_RATE)[config.method]
    rate = None if config.learning_rate == "auto" else config.learning_rate or default
    shapes, counted = read_shapes(folder), sizes(config, folder, model.trust_remote_code)
    totals = _count(batches.rendered)
    check_data(config.objective, num_pairs_of(batches.rendered), totals.num_conversations)
    if config.objective.distill.teacher is not None:
        check_tokenizers(config.objective.distill.teacher, folder)
    warmup = parse_warmup(config.schedule.warmup)
    num_warmup = warmup.num_steps(num_steps, totals.mean_tokens * batches.config.batch_conversations)
    lines = (
        *_objective_lines(config),
        *_data_lines(config, totals, batches, num_steps),
        Derived("warmup", f"{'about ' if warmup.unit == 'tokens' else ''}{num_warmup:,} steps", str(warmup)),
        _rate_line(config, rate),
        Derived("device", device.type, "the best one found"),
        Derived("number format", _name(dtype), f"{dtype_reason}; {_kept_exact(config, _name(dtype))}"),
        *_memory_lines(config, shapes, counted, dtype.itemsize, _row_tokens(totals, batches), _file_bytes(folder)),
    )
    facts = Facts(
        config=config,
        batch_conversations=batches.config.batch_conversations,
        num_conversations=totals.num_conversations,
        num_tokens=totals.num_tokens,
        num_supervised=totals.num_supervised,
        num_epochs=batches.num_conversations / totals.num_conversations * num_steps / len(batches),
        num_steps=num_steps,
        num_warmup=num_warmup,
        learning_rate=rate,
        num_trained=counted.trained,
        document_share=document_share(batches.rendered),
        is_post_trained=has_chat_template(folder),
        is_new=model.name.startswith("new:"),
    )
    return Plan(config, num_steps, num_warmup, rate, _name(dtype), lines, start or Start(), keeps_state, advise(facts))


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _kept_exact(config: TrainConfig, dtype: str) -> str:
    """How small updates reach the trained weights."""
    if dtype == "float32":
        return "fine enough for small updates"
    return "masters are float32" if config.optimizer.precision == "masters" else "updates are rounded by chance"


def _count(rendered: Sequence[Rendered]) -> Totals:
    sizes, trained = getattr(rendered, "lengths", None), getattr(rendered, "supervised", None)
    if sizes is not None and trained is not None:  # it knows without being read
        return Totals(len(rendered), int(sizes.sum()), int(trained.sum()), int(sizes.max()))
    lengths, supervised = [], 0
    for each in rendered:
        lengths.append(each.num_tokens)
        supervised += each.num_supervised
    return Totals(len(lengths), sum(lengths), supervised, max(lengths))


def _rate_line(config: TrainConfig, rate: float | None) -> Derived:
    if rate is None:
        return Derived("learning rate", "auto", "a range test of at most 80 steps, one row each, finds it at the start")
    return Derived(
        "learning rate", f"{rate:.1e}", "asked for" if config.learning_rate else _default_rate_reason(config)
    )


def _default_rate_reason(config: TrainConfig) -> str:
    what = f", learning from pairs ({config.objective.kind})" if config.objective.learns_from_pairs else ""
    return f"the default for method = {config.method}{what}"


def _objective_lines(config: TrainConfig) -> tuple[Derived, ...]:
    """What training makes smaller, where that is not what the data say."""
    asked = config.objective
    if asked.kind == "distill":
        return _teacher_lines(asked.distill)
    if not asked.learns_from_pairs:
        return ()
    reason = f"beta {asked.beta:g}, mean over the pairs of a step"
    if not asked.has_reference:
        return (Derived("objective", asked.kind, f"{reason}; no reference model"),)
    switched_off = "the same weights with the adapter switched off, for one more forward pass"
    copied = "a frozen copy of the weights, for one more forward pass"
    where = switched_off if config.method == "lora" else copied
    return Derived("objective", asked.kind, reason), Derived("reference", "the model before training", where)


def _teacher_lines(config: DistillConfig) -> tuple[Derived, ...]:
    assert config.teacher is not None
    num_weights = f"{_num_weights(config.teacher):,} weights"
    reason = "reverse KL to the teacher, mean over the tokens that are learned from; no gradient through the sampling"
    answers = f"{config.samples} to a prompt, of at most {config.max_tokens:,} tokens, at temperature "
    answers += f"{config.temperature:g}, for {config.on_policy_share:.0%} of the conversations"
    return (
        Derived("objective", "distill", reason),
        Derived("teacher", config.teacher.name, f"{num_weights}, for one more forward pass"),
        Derived("answers", "the model's own", answers),
    )


def _num_weights(model: ModelConfig) -> int:
    return sum(_size(shape) for shape in read_shapes(model_folder(model)).values())


def _data_lines(config: TrainConfig, totals: Totals, batches: "Batches", num_steps: int) -> tuple[Derived, ...]:
    mean = totals.mean_tokens
    share = totals.num_supervised / totals.num_tokens
    size = batches.config.batch_conversations
    is_mix = hasattr(batches.rendered, "pass_ends")  # which holds all passes
    repeated = "in all passes of the mix" if is_mix else f"x {config.epochs:g} epochs"
    passes = f"{totals.num_conversations:,} conversations {repeated} / {size} a step"
    capped = config.max_steps is not None and config.max_steps <= len(batches)
    return (
        Derived("steps", f"{num_steps:,}", "train.max_steps" if capped else f"{passes}, rounded up"),
        Derived(
            "tokens in all" if is_mix else "tokens an epoch",
            f"{totals.num_tokens:,}",
            f"{totals.num_supervised:,} of them supervised ({share:.0%}); the rest is context",
        ),
        Derived(
            "tokens a step",
            f"about {round(mean * size):,}",
            f"{size} conversations of {mean:.0f} tokens on average, without padding",
        ),
    )


def _memory_lines(
    config: TrainConfig,
    shapes: dict[str, list[int]],
    counted: "Sizes",
    itemsize: int,
    row_tokens: int,
    file_bytes: int,
) -> tuple[Derived, ...]:
    num_weights = sum(_size(shape) for shape in shapes.values())
    num_trained = counted.trained
    state = optimizer_bytes(config, counted, itemsize)
    average = 0 if config.average.ema_decay is None else 4 * num_trained
    copies = 2 if config.objective.has_reference and config.method == "full" else 1
    weights = (copies * num_weights + (num_trained if config.method == "lora" else 0)) * itemsize
    if config.method == "lora":
        weights -= int(counted.linear * (itemsize - _QUANTIZED_BYTES.get(config.adapter.quantize, itemsize)))
    weights += num_trained * itemsize if config.learning_rate == "auto" else 0  # kept while the range test moves them
    teacher = config.objective.distill.teacher
    weights += 0 if teacher is None else _num_weights(teacher) * itemsize
    row_tokens += config.objective.answer_tokens
    activations = _activation_bytes(shapes, itemsize, row_tokens, config.gradient_checkpointing)
    total = weights + state + average + activations + file_bytes + _RUNTIME_BYTES
    parts = (
        f"weights {_gb(weights)}, optimizer and gradients {_gb(state)}, "
        f"{f'the moving average {_gb(average)}, ' if average else ''}activations about {_gb(activations)}, "
        f"the weights' files, mapped while loading, {_gb(file_bytes)}, Python and torch {_gb(_RUNTIME_BYTES)}"
    )
    return (
        Derived("trained weights", f"{num_trained:,}", f"of {num_weights:,} ({num_trained / num_weights:.1%})"),
        Derived("memory", f"about {_gb(total)}", parts),
    )


def optimizer_bytes(config: TrainConfig, counted: "Sizes", itemsize: int) -> int:
    """Gradients, masters, and what the update rule remembers of the trained weights."""
    optimizer = config.optimizer
    is_coarse = itemsize < 4
    gradients = 4 + (itemsize if is_coarse else 0)  # float32 sums, and a micro-batch's own in the model's format
    masters = 4 if is_coarse and optimizer.precision == "masters" else 0
    moments = {"adamw": 8, "adamw_8bit": 2, "muon": 8, "schedule_free": 8}[optimizer.kind]
    saved = 4 * counted.hidden if optimizer.kind == "muon" else 0  # one moment, not two
    return counted.trained * (gradients + masters + moments) - saved


def _file_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _row_tokens(totals: Totals, batches: "Batches") -> int:
    """The largest row to expect: a step's conversations, unless the row limit cuts them."""
    a_step = totals.mean_tokens * batches.config.batch_conversations * 1.2
    return int(min(max(a_step, totals.longest), batches.config.row_tokens))


def _activation_bytes(shapes: dict[str, list[int]], itemsize: int, row_tokens: int, recompute: bool) -> int:
    """What the backward pass keeps: the outputs of a layer's matrices and norms, for each token of a row."""
    widths = [shape[0] for name, shape in shapes.items() if len(shape) == 2 and _IN_LAYER.search(name)]
    kept = 3 * sum(widths) * itemsize
    return int(row_tokens * (kept / 8 if recompute else kept))


def read_shapes(folder: Path) -> dict[str, list[int]]:
    """Name and shape of every weight, from the safetensors headers alone."""
    shapes: dict[str, list[int]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            try:
                header: dict[str, Any] = json.loads(file.read(size))
            except ValueError as error:
                raise ModelError(f"{path}: not a readable safetensors file ({error}); it may be truncated") from None
        shapes |= {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
    return shapes


def _size(shape: list[int]) -> int:
    size = 1
    for each in shape:
        size *= each
    return size


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB"
