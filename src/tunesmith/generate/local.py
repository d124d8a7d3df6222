"""Generation on this machine: one batch of prompts through a transformers model with a key-value cache.

Prompts are padded on the left. What all prompts of a batch begin with, such as a system message, passes through
the model once and is shared. A prompt that is done leaves the batch, so that the rest runs on faster.

Shapes: B prompts, T tokens, S supervised tokens, V vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache

from tunesmith.branches import split
from tunesmith.errors import EvaluateError
from tunesmith.generate import Completion, Sampling
from tunesmith.render import Renderer
from tunesmith.types import Rendered, TokenArray


class LocalGenerator:
    """A loaded model and its renderer, ready to answer."""

    def __init__(self, model: Any, renderer: Renderer, digest: str) -> None:
        self.model = model.eval()
        self.renderer = renderer
        self.digest = digest
        self.device = next(model.parameters()).device

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[TokenArray], sampling: Sampling, on_text: Callable[[str], None] | None = None
    ) -> list[Completion]:
        generator = torch.Generator().manual_seed(sampling.seed)
        on_tokens = None if on_text is None else lambda tokens: on_text(self._text(tokens))
        stops = self.renderer.stop_tokens
        chosen = complete(self.model, prompts, sampling, stops, [generator] * len(prompts), on_tokens)
        return [self._completion(tokens) for tokens in chosen]

    @torch.inference_mode()
    def log_likelihood(self, rendered: Sequence[Rendered]) -> list[float]:
        """Mean log-probability, in nats per supervised token, of each conversation; a tree is taken apart first.

        Raises EvaluateError where nothing is supervised, or a token that nothing stands before.
        """
        return [self._mean_log_probability(each) for each in rendered]

    def _mean_log_probability(self, rendered: Rendered) -> float:
        apart = [each for each in split(rendered) if each.num_supervised]
        if not apart or any(each.loss_weights[0] for each in apart):
            raise EvaluateError(
                f"conversation {rendered.conversation_id} has no likelihood: "
                + ("the first token of a sequence is supervised" if apart else "no token of it is supervised")
            )
        return -float(torch.cat([self._losses(each) for each in apart]).mean())

    def _losses(self, rendered: Rendered) -> Tensor:
        """-log p of each supervised token of a plain sequence, [S]."""
        tokens_T = torch.from_numpy(rendered.tokens).long().to(self.device)
        places_S = torch.from_numpy(np.flatnonzero(rendered.loss_weights) - 1).to(self.device)
        output = self.model(input_ids=tokens_T[None], logits_to_keep=places_S, use_cache=False)
        return F.cross_entropy(output.logits[0].float(), tokens_T[places_S + 1], reduction="none")

    def _completion(self, tokens: list[int]) -> Completion:
        stopped = bool(tokens) and tokens[-1] in self.renderer.stop_tokens
        return Completion(self._text(tokens), len(tokens), stopped)

    def _text(self, tokens: list[int]) -> str:
        stops = self.renderer.stop_tokens
        return self.renderer.text(tokens[:-1] if tokens and tokens[-1] in stops else tokens)


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
    shared = _common_prefix(prompts)
    longest = max(prompt.size for prompt in prompts) - shared
    tokens_BT = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask_BT = torch.ones(len(prompts), shared + longest, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        rest = prompt[shared:]
        tokens_BT[row, longest - rest.size :] = torch.from_numpy(rest.astype(np.int64))
        mask_BT[row, shared : shared + longest - rest.size] = 0
    mask_BT = mask_BT.to(device)
    cache = _shared_cache(model, prompts[0][:shared], len(prompts))
    return _forward(model, tokens_BT.to(device), mask_BT, cache), cache, mask_BT


def _shared_cache(model: Any, prefix: TokenArray, num_prompts: int) -> DynamicCache:
    cache = DynamicCache(config=model.config)
    if prefix.size:
        tokens_1T = torch.from_numpy(prefix.astype(np.int64)).to(next(model.parameters()).device)[None]
        model(input_ids=tokens_1T, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_repeat_interleave(num_prompts)
    return cache


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


def _common_prefix(prompts: Sequence[TokenArray]) -> int:
    """How many tokens all prompts begin with; at least one token of each stays apart."""
    shortest = min(prompt.size for prompt in prompts) - 1
    table = np.stack([prompt[:shortest] for prompt in prompts])
    same = (table == table[0]).all(axis=0)
    return int(shortest if same.all() else np.argmin(same))


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
