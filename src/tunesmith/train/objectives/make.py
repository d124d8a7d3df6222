"""The objective that a config asks for, and whether the data are what it learns from."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tunesmith.errors import ConfigError
from tunesmith.train.config import ObjectiveConfig, TrainConfig
from tunesmith.types import Rendered

if TYPE_CHECKING:
    from tunesmith.train.head import Head


def make_objective(config: TrainConfig, model: Any, head: "Head", *, is_continued: bool = False) -> Any:
    """What training makes smaller. `model` is prepared for training, and still as it was before the first step;
    `is_continued` says that its trained weights are those of an earlier phase."""
    from tunesmith.train.objectives.preference import Preference
    from tunesmith.train.objectives.reference import Reference
    from tunesmith.train.objectives.supervised import Supervised

    asked = config.objective
    if asked.learns_from_pairs:
        reference = Reference(model, head, is_continued=is_continued) if asked.has_reference else None
        return Preference(asked, reference, head)
    return Supervised(config.loss, head)


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
