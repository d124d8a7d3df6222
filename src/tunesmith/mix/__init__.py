"""mix: several rendered sources become one sequence, which `pack` reads by position.

The main data are seen once in each pass, whole; what the other sources add follows from them: a weight, a share of the
result, or a number of epochs. The mix is an explicit list of (source, conversation), made from the sources' lengths
and a seed alone, for the whole of training at once: so shares are exact, a source that is seen by halves goes on in
the next pass where it ended, and a resumed run sees the same order.

    choose.py   how often each source is visited in each pass        order.py   shuffled, or by a number (curriculum)
    mixed.py    the sequence                                         tree.py    what is in it, for people
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from tunesmith.config import Config
from tunesmith.types import Rendered

if TYPE_CHECKING:
    from tunesmith.mix.mixed import Mixed

MAIN = "main"
REPLAY = "replay"
Unit = Literal["supervised", "tokens", "rows"]


class CurriculumConfig(Config):
    """In which order a pass visits its conversations (curriculum learning, Bengio et al. 2009)."""

    by: Literal["none", "number", "tokens", "supervised"] = "none"
    """What orders them: nothing (a seeded shuffle), the number that data.number_field names, or their tokens."""

    direction: Literal["ascending", "descending"] = "ascending"
    """Smallest first, or largest first."""

    stages: int = Field(default=0, ge=0)
    """0 keeps strictly to the order; else it is cut into so many stages, and each is shuffled."""


class PartConfig(Config):
    """How much of the mix one source is."""

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$")
    """What the source is called, in figures by source and as a folder."""

    weight: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Its size relative to the main data, whose weight is 1, in units of mix.weigh_by."""

    share: float | None = Field(default=None, gt=0, lt=1)
    """Its share of the whole mix, in units of mix.weigh_by."""

    epochs: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """How often each pass over the main data visits its conversations; may be a fraction."""

    max_epochs: float = Field(default=4.0, gt=0, allow_inf_nan=False)
    """How often weight, share or temperature may have a conversation visited over the whole training (Muennighoff et
    al. 2023: up to four epochs are nearly as good as new data)."""

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        given = [name for name in ("weight", "share", "epochs") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{self.name}: {' and '.join(given)} say the same thing in different ways; keep one")
        return self


class MixConfig(Config):
    """How sources become one sequence."""

    weigh_by: Unit = "supervised"
    """What weights and shares count: supervised tokens, all tokens, or conversations."""

    temperature: float = Field(default=1.0, ge=1, allow_inf_nan=False)
    """A source without an amount is as large as size^(1/temperature): 1 visits it once a pass, larger values bring
    sizes nearer to that of the main data (Arivazhagan et al. 2019)."""

    shortfall: Literal["error", "accept"] = "error"
    """What happens where an amount needs more than max_epochs: stop, or take what these allow and say so."""

    curriculum: CurriculumConfig = CurriculumConfig()
    """The order within a pass."""

    seed: int = Field(default=0, ge=0)
    """Seed of what is visited and in which order."""


@dataclass(frozen=True, slots=True)
class Part:
    """One source, rendered. `fingerprint` names its content; `numbers` (float64 [N]) order a curriculum by number."""

    config: PartConfig
    rendered: Sequence[Rendered]
    fingerprint: str
    numbers: NDArray[np.float64] | None = None


def mix(config: MixConfig, parts: Sequence[Part], epochs: float = 1.0) -> "Mixed":
    """The sequence of all visits in `epochs` passes over the first part, the main data.

    Raises ConfigError where an amount asks for more than a source may give, naming the source.
    """
    from tunesmith.mix.mixed import Mixed

    return Mixed(config, parts, epochs)
