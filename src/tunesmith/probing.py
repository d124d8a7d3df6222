"""What a recipe has measured while its model trains: the probes that its train table asks for."""

from collections.abc import Sequence
from pathlib import Path

from tunesmith.pack import Batches, PackConfig, pack
from tunesmith.render import Renderer
from tunesmith.train import Probe, TrainConfig
from tunesmith.types import Rendered


def validation_batches(config: PackConfig, apart: Sequence[Rendered]) -> Batches | None:
    """The conversations set apart, once, in rows of the size that training has; None where there are none."""
    return pack(config.model_copy(update={"layout": "best_fit"}), apart) if len(apart) else None


def recipe_probes(config: TrainConfig, validation: Batches | None, renderer: Renderer, folder: Path) -> list[Probe]:
    """The validation loss and the samples, as far as they are asked for; samples are written into `folder`."""
    probes: list[Probe] = []
    if validation is not None:
        from tunesmith.train.validation import ValidationLoss

        packed = validation
        batches = ValidationLoss(lambda: (packed[index] for index in range(len(packed))), config.validation.every_steps)
        probes.append(batches)
    if config.samples.prompts or config.samples.path is not None:
        from tunesmith.train.samples import Samples

        probes.append(Samples(config.samples, renderer, folder))
    return probes
