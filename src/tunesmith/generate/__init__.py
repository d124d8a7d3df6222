"""generate: prompts in, completions out, by a model on this machine.

Greedy by default, so that the same weights and prompts give the same completions. Torch is imported only in
`tunesmith.generate.local`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tunesmith.types import Rendered, TokenArray


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. `temperature` 0 takes the most probable one (greedy)."""

    max_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote. `stopped` is False when it ran into `max_tokens` instead of ending its turn."""

    text: str
    num_tokens: int
    stopped: bool


class Generator(Protocol):
    """A model that answers prompts and prices given answers."""

    @property
    def digest(self) -> str:
        """Names the weights: equal digests promise equal completions."""

    def generate(
        self, prompts: Sequence[TokenArray], sampling: Sampling, on_text: Callable[[str], None] | None = None
    ) -> list[Completion]:
        """Complete one batch of prompts, in order. `on_text` receives the text of a single prompt as it grows."""

    def log_likelihood(self, rendered: Sequence[Rendered]) -> list[float]:
        """Mean log-probability, in nats per supervised token, of each conversation."""
