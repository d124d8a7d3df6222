"""generate: prompts in, completions out; and the price of given answers.

A prompt is messages or a plain text, not tokens: each engine renders by itself. Greedy by default, so that the same
weights, prompt and sampling give the same completion. Torch is imported only in `tunesmith.generate.local`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tunesmith.types import Message

Shapes = Literal["fixed", "free"]
"""Of a local engine's passes. `fixed`: a few sizes, so that an answer does not depend on the prompts beside it. `free`:
as long as what there is to pass, which is a little faster, and may round differently."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked: `messages` that it replies to, or a `text` that it continues without a chat template.

    `begun` is the beginning of the reply, given to the model, which goes on behind it; the completion leaves it out.
    `sample` numbers the answers to the same prompt: with a temperature each draws by itself.
    """

    messages: tuple[Message, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    text: str | None = None
    sample: int = 0
    begun: str = ""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. `temperature` 0 takes the most probable one (greedy)."""

    max_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote: the text, and its token ids with the stop token.

    `stopped` is False when it ran into `max_tokens` instead of ending its turn. `gap` is the smallest difference
    between the two largest logits over the completion, in nats, None where it is unknown. An engine that does not
    tell its token ids leaves `tokens` empty and gives their number as `num_unseen`.
    """

    text: str
    tokens: tuple[int, ...]
    stopped: bool
    gap: float | None = None
    num_unseen: int = 0

    @property
    def num_tokens(self) -> int:
        return len(self.tokens) or self.num_unseen


@dataclass(frozen=True, slots=True)
class Likelihood:
    """The log-probability of a continuation, summed over its `num_tokens`, in nats; `num_bytes` is its UTF-8 length."""

    nats: float
    num_tokens: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Window:
    """How a text longer than the model's context is priced: in windows of `tokens`, each `stride` after the last.

    Each token is priced once, by the first window that holds it, so all but the first window's tokens have at least
    `tokens - stride` tokens before them.
    """

    tokens: int = 1024
    stride: int = 512


Continuation = str | Message
"""A text that goes on right behind the prompt, or a whole answer of the assistant, ended as the template ends it."""

OnCompletion = Callable[[int, Completion], None]
OnLikelihoods = Callable[[int, tuple[Likelihood, ...]], None]


class Generator(Protocol):
    """A model that answers prompts and prices given answers."""

    @property
    def digest(self) -> str:
        """Names the weights: equal digests promise equal completions of one engine."""

    @property
    def engine(self) -> str:
        """Names the engine and its mode, for example `local float32, 64 slots, fixed shapes`."""

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, on_done: OnCompletion | None = None
    ) -> list[Completion]:
        """Complete all prompts; `on_done` hears of each, by its index, as soon as it is complete, in any order."""

    def log_likelihood(
        self,
        prompts: Sequence[Prompt],
        continuations: Sequence[Sequence[Continuation]],
        window: Window | None = None,
        on_done: OnLikelihoods | None = None,
    ) -> list[tuple[Likelihood, ...]]:
        """Price each continuation of each prompt, given the prompt.

        Without `window` a prompt and its continuation are one sequence, however long.
        """
