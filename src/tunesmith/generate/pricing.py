"""The log-probability of given continuations: multiple choice, expected answers, and long texts in windows.

What the continuations of a prompt have in common passes through the model once. A batch holds the continuations of
one prompt only, so a price does not depend on what else is asked.

Shapes: C continuations, T tokens, S supervised tokens, V vocabulary.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache

from tunesmith.branches import split
from tunesmith.errors import GenerateError
from tunesmith.generate import Continuation, Likelihood, Prompt, Window
from tunesmith.render import Renderer
from tunesmith.types import Conversation, Message, Rendered, TokenArray

ROWS = 16
"""Continuations that pass the model side by side; each repeats the memory of what they have in common."""


class Sequenced(NamedTuple):
    """A prompt with one continuation: the tokens from `first` on are priced, 1 <= first < number of tokens."""

    tokens: TokenArray
    first: int
    num_bytes: int

    def priced(self, nats: float) -> Likelihood:
        return Likelihood(nats, self.tokens.size - self.first, self.num_bytes)


class Pricer:
    """Prices continuations with one model."""

    def __init__(self, model: Any, renderer: Renderer, window: Window | None) -> None:
        if window is not None and not 1 <= window.stride < window.tokens:
            raise GenerateError(
                f"a window of {window.tokens} tokens cannot move on by {window.stride}: a stride is at least 1 and "
                "less than the window, so that something stands before each token"
            )
        self.model = model
        self.renderer = renderer
        self.window = window

    @torch.inference_mode()
    def price(self, prompt: Prompt, continuations: Sequence[Continuation]) -> tuple[Likelihood, ...]:
        """The log-probability of each continuation behind the prompt."""
        made = [
            self.sequenced(prompt, each) if isinstance(each, str) else self._answered(prompt, each)
            for each in continuations
        ]
        prices = iter(self._sums([each for each in made if isinstance(each, Sequenced)]))
        return tuple(each if isinstance(each, Likelihood) else each.priced(next(prices)) for each in made)

    def sequenced(self, prompt: Prompt, text: str) -> Sequenced:
        """A prompt with a text behind it, as tokens."""
        num_bytes = len(text.encode("utf-8", "surrogatepass"))
        if prompt.text is None:
            asked = self.renderer.prompt(prompt.messages, prompt.tools)
            return _checked(np.concatenate([asked, self.renderer.continued(text)]), asked.size, num_bytes, text)
        # White space at the prompt's end belongs to the continuation, whose first token often holds it; so does
        # lm-evaluation-harness. Where another token still holds the end of one and the start of the other, it is
        # priced whole.
        asked, whole = self.renderer.plain(prompt.text.rstrip()), self.renderer.plain(prompt.text + text)
        first = common_length([asked, whole])
        if first == 0:
            start = self.renderer.plain("")[:1]
            whole, first = np.concatenate([start, whole]), 1
        return _checked(whole, first, num_bytes, text)

    def _sums(self, sequences: Sequence[Sequenced]) -> list[float]:
        if self.window is not None:
            return [self._windowed(each, self.window) for each in sequences]
        return together(self.model, sequences) if sequences else []

    def _windowed(self, sequence: Sequenced, window: Window) -> float:
        spans = windows(sequence.tokens.size, sequence.first, window)
        parts = [Sequenced(sequence.tokens[start:end], first - start, 0) for start, first, end in spans]
        return sum(together(self.model, [part])[0] for part in parts)

    def _answered(self, prompt: Prompt, message: Message) -> Sequenced | Likelihood:
        """A whole answer of the assistant, with the stop token; already priced where it is no plain sequence."""
        if prompt.text is not None:
            raise GenerateError("a plain text has no assistant who answers; price a text behind it")
        asked = [replace(each, train=0.0) if each.role == "assistant" else each for each in prompt.messages]
        conversation = Conversation("priced", (*asked, message), tools=tuple(prompt.tools))
        rendered = self.renderer.render(conversation)
        num_bytes = len(self.renderer.completion_text(message).encode("utf-8", "surrogatepass"))
        places = np.flatnonzero(rendered.loss_weights)
        if rendered.is_linear and places[0] > 0 and places[-1] - places[0] + 1 == places.size:
            return Sequenced(rendered.tokens[: places[-1] + 1], int(places[0]), num_bytes)
        found = torch.cat([losses(self.model, each) for each in split(rendered) if each.num_supervised])
        return Likelihood(-float(found.double().sum()), found.numel(), num_bytes)


def windows(num_tokens: int, first: int, window: Window) -> Iterator[tuple[int, int, int]]:
    """(start, first priced token, end) of each window; together they price the tokens from `first` on, each once."""
    start, priced = 0, first
    while priced < num_tokens:
        end = min(start + window.tokens, num_tokens)
        if end > priced:
            yield start, priced, end
            priced = end
        start += window.stride


def together(model: Any, sequences: Sequence[Sequenced]) -> list[float]:
    """The log-probability of each sequence's priced tokens, in nats; their common beginning passes the model once."""
    # The last common token goes with the rest, for it predicts the first token that is priced.
    cut = min(common_length([each.tokens for each in sequences]), *(each.first for each in sequences)) - 1
    shared = filled_cache(model, sequences[0].tokens[:cut], 1)
    found: list[float] = []
    for start in range(0, len(sequences), ROWS):
        rows = sequences[start : start + ROWS]
        is_last = start + ROWS >= len(sequences)
        found += _summed_rows(model, rows, shared if is_last else copy.deepcopy(shared), cut)
    return found


def _summed_rows(model: Any, rows: Sequence[Sequenced], cache: DynamicCache, cut: int) -> list[float]:
    if cut and len(rows) > 1:
        cache.batch_repeat_interleave(len(rows))
    rests = [each.tokens[cut:-1] for each in rows]
    input_CT = torch.zeros(len(rests), max(rest.size for rest in rests), dtype=torch.long)
    for row, rest in enumerate(rests):
        input_CT[row, : rest.size] = torch.from_numpy(rest.astype(np.int64))
    # Padding stands on the right, behind all that counts, so that a causal model never sees it.
    device = next(model.parameters()).device
    output = model(input_ids=input_CT.to(device), past_key_values=cache, use_cache=True)
    return [_summed(output.logits[row], each, cut) for row, each in enumerate(rows)]


def _summed(logits_TV: Tensor, sequence: Sequenced, cut: int) -> float:
    """The sum over the priced tokens, each predicted by the one before it."""
    targets_S = torch.from_numpy(sequence.tokens[sequence.first :].astype(np.int64)).to(logits_TV.device)
    start = sequence.first - 1 - cut
    logits_SV = logits_TV[start : start + targets_S.numel()].float()
    return -float(F.cross_entropy(logits_SV, targets_S, reduction="none").double().sum())


def filled_cache(model: Any, prefix: TokenArray, num_rows: int) -> DynamicCache:
    """The key-value cache of a common beginning, for so many rows."""
    cache = DynamicCache(config=model.config)
    if prefix.size:
        tokens_1T = torch.from_numpy(prefix.astype(np.int64)).to(next(model.parameters()).device)[None]
        model(input_ids=tokens_1T, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_repeat_interleave(num_rows)
    return cache


def losses(model: Any, rendered: Rendered) -> Tensor:
    """-log p of each supervised token of a plain sequence, [S]."""
    device = next(model.parameters()).device
    tokens_T = torch.from_numpy(rendered.tokens).long().to(device)
    places_S = torch.from_numpy(np.flatnonzero(rendered.loss_weights) - 1).to(device)
    output = model(input_ids=tokens_T[None], logits_to_keep=places_S, use_cache=False)
    return F.cross_entropy(output.logits[0].float(), tokens_T[places_S + 1], reduction="none")


def common_length(arrays: Sequence[TokenArray]) -> int:
    """How many tokens all arrays begin with."""
    shortest = min(each.size for each in arrays)
    table = np.stack([each[:shortest] for each in arrays])
    same = (table == table[0]).all(axis=0)
    return int(shortest if same.all() else np.argmin(same))


def _checked(tokens: TokenArray, first: int, num_bytes: int, text: str) -> Sequenced:
    if tokens.size <= first:
        raise GenerateError(f"the continuation {text!r} has no token to be priced; give at least one character")
    return Sequenced(tokens.astype(np.int32), first, num_bytes)
