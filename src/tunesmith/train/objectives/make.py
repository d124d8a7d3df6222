"""The objective that a config asks for, and whether the data are what it learns from."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.errors import ConfigError
from tunesmith.model import ModelConfig, model_digest, model_folder, tokenizer_folder
from tunesmith.train.config import TrainConfig
from tunesmith.train.objective_config import DistillConfig, ObjectiveConfig
from tunesmith.types import Rendered

if TYPE_CHECKING:
    from tunesmith.train.head import Head


def make_objective(
    config: TrainConfig,
    model: Any,
    head: "Head",
    spread: Callable[[Any], Any] = lambda model: model,
    *,
    is_continued: bool = False,
) -> Any:
    """What training makes smaller. `model` is prepared for training, still as it was before the first step, and not
    yet shared out to ranks; `spread` does so for a model that the objective needs beside it. `is_continued` says that
    its trained weights are those of an earlier phase."""
    from tunesmith.train.objectives.distill import Distill, load_teacher
    from tunesmith.train.objectives.preference import Preference
    from tunesmith.train.objectives.reference import Reference
    from tunesmith.train.objectives.supervised import Supervised

    asked, teacher = config.objective, config.objective.distill.teacher
    if teacher is not None:
        folder = Path(model.config._name_or_path)
        check_tokenizers(teacher, folder)
        stops = stop_tokens(asked.distill, folder)
        return Distill(asked.distill, load_teacher(teacher, model), stops, config.seed, head)
    if asked.learns_from_pairs:
        reference = Reference(model, head, spread, is_continued=is_continued) if asked.has_reference else None
        return Preference(asked, reference, head)
    return Supervised(config.loss, head)


def teacher_digest(config: ObjectiveConfig) -> str | None:
    """The content of the teacher, which decides what a training comes to; None where there is none."""
    teacher = config.distill.teacher
    return None if teacher is None else model_digest(model_folder(teacher))


def num_pairs_of(rendered: Sequence[Rendered]) -> int:
    """How many conversations are pairs: the sequence's own `num_pairs` where it has one, else counted."""
    known: int | None = getattr(rendered, "num_pairs", None)
    return sum(each.is_pair for each in rendered) if known is None else known


def check_data(config: ObjectiveConfig, num_pairs: int, num_conversations: int) -> None:
    """Raise ConfigError where the data are not what the objective learns from."""
    if config.learns_from_pairs and num_pairs < num_conversations:
        raise ConfigError(
            f"train.objective.kind = {config.kind} learns from pairs, but {num_conversations - num_pairs:,} of "
            f"{num_conversations:,} conversations have no rejected answer. Give records with 'chosen' and 'rejected' "
            "(docs/data.md), or set train.objective.kind = supervised"
        )
    if not config.learns_from_pairs and num_pairs:
        raise ConfigError(
            f"{num_pairs:,} of {num_conversations:,} conversations are pairs of a chosen and a rejected answer, which "
            f"train.objective.kind = {config.kind} cannot learn from: set it to dpo, ipo, simpo or orpo, or, where "
            "the records have a column 'messages' too, data.format = messages to train on that"
        )


def check_tokenizers(teacher: ModelConfig, student: Path) -> None:
    """Raise ConfigError unless the teacher has the tokenizer of the model in folder `student`: the divergence is
    between distributions over the same tokens."""
    from tunesmith.model.tokenizer import Tokenizer

    own, other = Tokenizer.load(student), Tokenizer.load(tokenizer_folder(teacher))
    if own.vocabulary_fingerprint != other.vocabulary_fingerprint:
        raise ConfigError(
            f"train.objective.distill.teacher.name = {teacher.name}: it has another tokenizer "
            f"({other.backend.get_vocab_size():,} tokens) than the model in training ({own.backend.get_vocab_size():,} "
            "tokens), so that their distributions cannot be compared token by token; take a teacher of the same "
            "family, or train on the teacher's answers as supervised data"
        )


def stop_tokens(config: DistillConfig, student: Path) -> tuple[int, ...]:
    """The tokens that end an answer; raises ConfigError where none is known."""
    from tunesmith.model.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(student)
    names = config.stop or tokenizer.stop_names
    if not names:
        raise ConfigError(
            "the tokenizer names no token that ends an answer, so answers would never end; name one, for example "
            "--set 'train.objective.distill.stop=[\"<|im_end|>\"]'"
        )
    return tuple(tokenizer.control_id(name) for name in names)
