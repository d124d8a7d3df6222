"""One model of a study: trained by the stages, judged by its losses, its result kept and read back."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.files import read_json, read_jsonl
from tunesmith.pipeline import Run, load_generator
from tunesmith.types import Checkpoint, Rendered

if TYPE_CHECKING:
    from tunesmith.generate.local import LocalGenerator


def tuned(run: Run) -> Checkpoint:
    """render, mix, pack, train: each stage as `tunesmith run` does it; the data stage was done before."""
    return run.train([run.prepare(phase) for phase in run.phases])


def speaker(run: Run, checkpoint: Checkpoint | None) -> "LocalGenerator":
    """The model to judge: the base where nothing was trained."""
    digest = run.model_digest if checkpoint is None else f"{run.model_digest}+{checkpoint.digest}"
    return load_generator(run.recipe, checkpoint, digest, run.asking_renderer)


def losses(generator: "LocalGenerator", rendered: Sequence[Rendered]) -> list[dict[str, Any]]:
    """Mean loss of each conversation in nats per supervised token, weighed by the number of these."""
    return [
        {"id": each.conversation_id, "value": -value, "weight": each.num_supervised}
        for each, value in zip(rendered, generator.mean_log_probability(rendered), strict=True)
    ]


def steps_of(run: Run) -> list[dict[str, Any]]:
    """The figures of every optimizer step of all phases, those before an interruption included; none for the base."""
    lines = [line for path in sorted((run.dir.path / "train").rglob("metrics.jsonl")) for _, line in read_jsonl(path)]
    return [line for line in lines if "seconds" in line]


def train_seconds(run: Run) -> float:
    """Seconds in optimizer steps; 0 for the base."""
    return round(sum(step["seconds"] for step in steps_of(run)), 1)


def read_result(path: Path, mark: str) -> dict[str, Any] | None:
    """The result of an earlier call, where it has the same mark: where nothing that it depends on changed."""
    found: dict[str, Any] | None = read_json(path) if path.exists() else None
    return found if found and found["mark"] == mark else None
