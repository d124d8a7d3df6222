"""How far a tuned model has moved from its base: KL(base || tuned) of the next token, exact over the vocabulary.

Both models are held at once. Under an adapter the base is the same weights without it, so that the memory is that of
one model and the adapter; two full models need the memory of both. Logits of one window of both models stand beside
that, and the differences are taken in float32, CHUNK tokens at a time.

The forward direction is that of Shenfeld et al. (2025, arXiv 2509.04259), where it predicts forgetting.

Shapes: T tokens, S tokens that are predicted, V vocabulary.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tunesmith.errors import SkippedError
from tunesmith.generate import Prompt, Window
from tunesmith.generate.pricing import Pricer, Sequenced, windows
from tunesmith.render import Renderer

CHUNK = 64


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models of one vocabulary. `as_base` is open while `base` answers; under an adapter both are one model."""

    base: Any
    tuned: Any
    as_base: Callable[[], AbstractContextManager[Any]] = nullcontext


def adapted(model: Any) -> Pair:
    """The pair of a peft model: with its adapter and without."""
    return Pair(model, model, model.disable_adapter)


class Differ:
    """Measures a pair of models on texts."""

    def __init__(self, pair: Pair, renderer: Renderer, window: Window) -> None:
        self.pair = pair
        self.window = window
        self._pricer = Pricer(pair.tuned, renderer, window)

    @torch.inference_mode()
    def divergence(self, prompt: Prompt, text: str) -> tuple[float, int]:
        """The mean KL(base || tuned), in nats, over the tokens of `text` behind the prompt, and their number.

        Raises SkippedError where it is not defined, or the memory is too small.
        """
        sequence = self._pricer.sequenced(prompt, text)
        spans = windows(sequence.tokens.size, sequence.first, self.window)
        parts = (Sequenced(sequence.tokens[start:end], first - start, 0) for start, first, end in spans)
        try:
            total = sum(map(self._summed, parts))
        except torch.OutOfMemoryError as error:
            raise SkippedError(f"the memory is too small for base and tuned model side by side ({error})") from error
        num_tokens = sequence.tokens.size - sequence.first
        return max(total, 0.0) / num_tokens, num_tokens  # below zero is rounding

    def _summed(self, sequence: Sequenced) -> float:
        with self.pair.as_base():
            base_SV = _logits(self.pair.base, sequence)
        tuned_SV = _logits(self.pair.tuned, sequence)
        if base_SV.shape != tuned_SV.shape:
            raise SkippedError(
                f"base and tuned model have {base_SV.shape[1]:,} and {tuned_SV.shape[1]:,} tokens in their "
                "vocabularies, so that no divergence is defined"
            )
        starts = range(0, len(base_SV), CHUNK)
        return sum(_divergence(base_SV[at : at + CHUNK], tuned_SV[at : at + CHUNK]) for at in starts)


def _logits(model: Any, sequence: Sequenced) -> Tensor:
    """What predicts each priced token, [S, V], in the model's number format."""
    device = next(model.parameters()).device
    tokens_1T = torch.from_numpy(sequence.tokens.astype(np.int64)).to(device)[None]
    places_S = torch.arange(sequence.first - 1, tokens_1T.shape[1] - 1, device=device)
    logits_SV: Tensor = model(input_ids=tokens_1T, logits_to_keep=places_S, use_cache=False).logits[0]
    return logits_SV


def _divergence(base_SV: Tensor, tuned_SV: Tensor) -> float:
    log_base_SV = base_SV.float().log_softmax(-1)
    log_tuned_SV = tuned_SV.to(base_SV.device).float().log_softmax(-1)
    return float((log_base_SV.exp() * (log_base_SV - log_tuned_SV)).double().sum())
