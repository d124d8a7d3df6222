"""From one phase of training to the next: which weights a phase begins with, and what they are called."""

from dataclasses import dataclass, field
from pathlib import Path

from tunesmith.files import folder_digest
from tunesmith.model import ModelConfig
from tunesmith.phases import Phase
from tunesmith.train import Start
from tunesmith.types import Checkpoint

MERGED = "merged"


@dataclass(frozen=True, slots=True)
class Footing:
    """What a phase stands on.

    `model` lies in `folder`. `digest` names what the phase begins with: the recipe's model and, joined by +, what each
    phase so far made of it. `start` says what of the phase before is gone on with; `is_moved` is true where `model` is
    no longer the recipe's.
    """

    model: ModelConfig
    folder: Path
    digest: str
    start: Start = field(default_factory=Start)
    is_moved: bool = False


def footing_after(footing: Footing, made: Checkpoint, following: Phase) -> Footing:
    """What the phase `following` stands on, where the one before stood on `footing` and made `made`.

    An adapter is continued on the same model, or merged; whole weights are gone on with in float32, not as they were
    rounded for computing.
    """
    digest = f"{footing.digest}+{made.digest}"
    state = made.path.parent / "checkpoints" if following.optimizer == "keep" else None
    if made.method == "lora" and following.adapter == "continue":
        return Footing(footing.model, footing.folder, digest, Start(made.path, state), footing.is_moved)
    folder = _merged(footing, made) if made.method == "lora" else made.path
    model = footing.model.model_copy(update={"name": str(folder), "revision": None})
    weights = folder if following.train.method == "full" else None
    return Footing(model, folder, digest, Start(weights, state), is_moved=True)


def merged_result(footing: Footing, made: Checkpoint) -> Checkpoint:
    """What the last phase made, fit to stand on the recipe's model alone: an adapter of a model that earlier phases
    changed is merged into it."""
    if made.method != "lora" or not footing.is_moved:
        return made
    folder = _merged(footing, made)
    return Checkpoint(folder, made.step, folder_digest(folder), "full")


def _merged(footing: Footing, made: Checkpoint) -> Path:
    folder = made.path.parent / MERGED
    if not folder.exists():
        from tunesmith.model.load import write_merged

        write_merged(footing.model, made.path, folder)
    return folder
