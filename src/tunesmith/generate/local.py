"""Generation on this machine: batches of prompts through a transformers model with a key-value cache.

Prompts are padded on the left. What all prompts of a batch begin with, such as a system message, passes through
the model once and is shared. A prompt that is done leaves the batch, so that the rest runs on faster.

Shapes: B prompts, T tokens, S supervised tokens, V vocabulary.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache

from tunesmith.branches import split
from tunesmith.errors import EvaluateError
from tunesmith.generate import (
    Completion,
    Continuation,
    Likelihood,
    OnCompletion,
    OnLikelihoods,
    Prompt,
    Sampling,
    Window,
)
from tunesmith.generate.engines import local_engine
from tunesmith.generate.pricing import Pricer, common_length, filled_cache, losses
from tunesmith.render import Renderer
from tunesmith.types import Rendered, TokenArray


class LocalGenerator:
    """A model and its renderer, ready to answer. The model is loaded by `load` when it is first needed."""

    def __init__(
        self,
        load: Callable[[], Any],
        renderer: Renderer,
        digest: str,
        *,
        batch_prompts: int = 64,
        dtype: str = "auto",
    ) -> None:
        self._load = load
        self.renderer = renderer
        self.digest = digest
        self.batch_prompts = batch_prompts
        self.engine = local_engine(dtype, batch_prompts)

    @cached_property
    def model(self) -> Any:
        return self._load().eval()

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, on_done: OnCompletion | None = None
    ) -> list[Completion]:
        tokens = [self.prompt_tokens(prompt) for prompt in prompts]
        found: dict[int, Completion] = {}
        # Like lengths together: less padding, and prompts of a kind share more of their beginning.
        order = sorted(range(len(prompts)), key=lambda index: (tokens[index].size, tokens[index].tobytes(), index))
        for stops, indices in self._by_stops(prompts, order).items():
            for start in range(0, len(indices), self.batch_prompts):
                batch = indices[start : start + self.batch_prompts]
                draws = [_generator(sampling.seed, prompts[index].sample, tokens[index]) for index in batch]
                chosen = complete(self.model, [tokens[index] for index in batch], sampling, stops, draws)
                for index, written in zip(batch, chosen, strict=True):
                    found[index] = self._completion(written, stops)
                    if on_done:
                        on_done(index, found[index])
        return [found[index] for index in range(len(prompts))]

    def _by_stops(self, prompts: Sequence[Prompt], order: Sequence[int]) -> dict[tuple[int, ...], list[int]]:
        """The prompts apart by what ends their completions: a turn, or a document."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for index in order:
            groups.setdefault(self._stops(prompts[index]), []).append(index)
        return groups

    def answer(self, prompt: Prompt, sampling: Sampling, on_text: Callable[[str], None]) -> Completion:
        """Complete one prompt for a listener: `on_text` receives all of the text so far as it grows."""
        tokens = self.prompt_tokens(prompt)
        draws = [_generator(sampling.seed, prompt.sample, tokens)]
        stops = self._stops(prompt)
        grown = lambda written: on_text(self._text(written, stops))  # noqa: E731
        return self._completion(complete(self.model, [tokens], sampling, stops, draws, grown)[0], stops)

    def log_likelihood(
        self,
        prompts: Sequence[Prompt],
        continuations: Sequence[Sequence[Continuation]],
        window: Window | None = None,
        on_done: OnLikelihoods | None = None,
    ) -> list[tuple[Likelihood, ...]]:
        pricer = Pricer(self.model, self.renderer, window)
        found = []
        for index, (prompt, offered) in enumerate(zip(prompts, continuations, strict=True)):
            found.append(pricer.price(prompt, offered))
            if on_done:
                on_done(index, found[-1])
        return found

    def mean_log_probability(self, rendered: Sequence[Rendered]) -> list[float]:
        """Mean log-probability, in nats per supervised token, of each conversation; a tree is taken apart first.

        Raises EvaluateError where nothing is supervised, or a token that nothing stands before.
        """
        return [self._mean_log_probability(each) for each in rendered]

    @torch.inference_mode()
    def _mean_log_probability(self, rendered: Rendered) -> float:
        apart = [each for each in split(rendered) if each.num_supervised]
        if not apart or any(each.loss_weights[0] for each in apart):
            raise EvaluateError(
                f"conversation {rendered.conversation_id} has no likelihood: "
                + ("the first token of a sequence is supervised" if apart else "no token of it is supervised")
            )
        return -float(torch.cat([losses(self.model, each) for each in apart]).mean())

    def prompt_tokens(self, prompt: Prompt) -> TokenArray:
        """The tokens that the model is given to go on behind."""
        if prompt.text is not None:
            return self.renderer.plain(prompt.text)
        return self.renderer.prompt(prompt.messages, prompt.tools)

    def _stops(self, prompt: Prompt) -> tuple[int, ...]:
        return self.renderer.stop_tokens if prompt.text is None else self.renderer.document_stops

    def _completion(self, tokens: list[int], stops: tuple[int, ...]) -> Completion:
        stopped = bool(tokens) and tokens[-1] in stops
        return Completion(self._text(tokens, stops), tuple(tokens), stopped)

    def _text(self, tokens: list[int], stops: tuple[int, ...]) -> str:
        return self.renderer.text(tokens[:-1] if tokens and tokens[-1] in stops else tokens)


def _generator(seed: int, sample: int, tokens: TokenArray) -> torch.Generator:
    """The draws of one answer: a function of the seed, the prompt and the sample's number, not of its neighbors."""
    digest = hashlib.blake2b(f"{seed} {sample} ".encode() + tokens.tobytes(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)


@torch.no_grad()
def complete(
    model: Any,
    prompts: Sequence[TokenArray],
    sampling: Sampling,
    stops: Sequence[int],
    generators: Sequence[torch.Generator],
    on_tokens: Callable[[list[int]], None] | None = None,
) -> list[list[int]]:
    """What `model` writes behind each prompt, up to and with one of `stops`, as tokens.

    Each prompt draws from its own of `generators`, so that with one for each the draws do not depend on the prompts
    beside it. `on_tokens` receives the first prompt's tokens as they grow.
    """
    chosen: list[list[int]] = [[] for _ in prompts]
    alive = list(range(len(prompts)))
    logits_BV, cache, mask_BT = _prefill(model, prompts)
    stop = torch.tensor(stops, device=logits_BV.device)
    for _ in range(sampling.max_tokens):
        next_B = _choose(logits_BV, sampling, [generators[index] for index in alive])
        for index, token in zip(alive, next_B.tolist(), strict=True):
            chosen[index].append(token)
        if on_tokens:
            on_tokens(chosen[0])
        keep_B = ~torch.isin(next_B, stop)
        if not keep_B.any():
            break
        if not keep_B.all():
            rows = keep_B.nonzero().squeeze(-1)
            alive = [alive[row] for row in rows.tolist()]
            next_B, mask_BT = next_B[rows], mask_BT[rows]
            cache.batch_select_indices(rows)
        mask_BT = F.pad(mask_BT, (0, 1), value=1)
        logits_BV = _forward(model, next_B[:, None], mask_BT, cache)
    return chosen


def _prefill(model: Any, prompts: Sequence[TokenArray]) -> tuple[Tensor, DynamicCache, Tensor]:
    """Logits after each prompt [B, V], the cache, and its mask [B, T]."""
    device = next(model.parameters()).device
    # At least one token of each stays apart.
    shared = min(common_length(prompts), min(prompt.size for prompt in prompts) - 1)
    longest = max(prompt.size for prompt in prompts) - shared
    tokens_BT = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask_BT = torch.ones(len(prompts), shared + longest, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        rest = prompt[shared:]
        tokens_BT[row, longest - rest.size :] = torch.from_numpy(rest.astype(np.int64))
        mask_BT[row, shared : shared + longest - rest.size] = 0
    mask_BT = mask_BT.to(device)
    cache = filled_cache(model, prompts[0][:shared], len(prompts))
    return _forward(model, tokens_BT.to(device), mask_BT, cache), cache, mask_BT


def _forward(model: Any, tokens_BT: Tensor, mask_BT: Tensor, cache: DynamicCache) -> Tensor:
    """Pass new tokens; a position counts the real tokens before it, whatever the padding."""
    length = tokens_BT.shape[1]
    positions_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)[:, -length:]
    output = model(
        input_ids=tokens_BT,
        attention_mask=mask_BT,
        position_ids=positions_BT,
        past_key_values=cache,
        use_cache=True,
        # An index, not a count: a count gives a strided slice, for which torch copies the head once a prompt.
        logits_to_keep=torch.tensor([length - 1], device=tokens_BT.device),
    )
    logits_BV: Tensor = output.logits[:, -1]
    return logits_BV


def _choose(logits_BV: Tensor, sampling: Sampling, generators: Sequence[torch.Generator]) -> Tensor:
    """The next token of each prompt: greedy at temperature 0, else nucleus sampling (Holtzman et al. 2019)."""
    if sampling.temperature == 0:
        return logits_BV.argmax(-1)
    probabilities_BV, order_BV = (logits_BV.float() / sampling.temperature).softmax(-1).sort(-1, descending=True)
    outside_BV = probabilities_BV.cumsum(-1) - probabilities_BV >= sampling.top_p
    probabilities_BV = probabilities_BV.masked_fill(outside_BV, 0.0)
    pairs = zip(probabilities_BV.cpu(), generators, strict=True)
    picked_B1 = torch.stack([torch.multinomial(each_V, 1, generator=generator) for each_V, generator in pairs])
    return order_BV.gather(-1, picked_B1.to(logits_BV.device)).squeeze(-1)
