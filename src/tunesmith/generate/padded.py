"""Generation by a model's own forward pass and cache: for families that cannot be answered by slots.

Prompts are padded on the left. What all prompts of a batch begin with, such as a system message, passes through
the model once and is shared. A prompt that is done leaves the batch, so that the rest runs on faster. Where layers
carry a state, nothing is shared and nothing leaves.

Shapes: B prompts, T tokens, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache

from tunesmith.generate import Sampling
from tunesmith.generate.choose import choose
from tunesmith.generate.pricing import common_length, filled_cache
from tunesmith.generate.slots import OnTokens, Request, Written
from tunesmith.types import TokenArray

_PLAIN_LAYERS = {"full_attention", "sliding_attention"}


@torch.no_grad()
def complete(
    model: Any, requests: Sequence[Request], sampling: Sampling, on_tokens: OnTokens | None = None
) -> list[Written]:
    """What `model` writes behind each prompt of one batch, up to and with one of its stops.

    `on_tokens` hears of each answer, by its request's index, after each of its tokens.
    """
    prompts = [request.tokens for request in requests]
    chosen: list[list[int]] = [[] for _ in prompts]
    lowest = [float("inf")] * len(prompts)
    stays = bool(odd_layers(model))
    alive = list(range(len(prompts)))
    done: set[int] = set()
    logits_BV, cache, mask_BT = _prefill(model, prompts, 0 if stays else _shared(prompts))
    for number in range(sampling.max_tokens):
        next_B, gaps_B = choose(logits_BV, sampling, [requests[index].key for index in alive], [number] * len(alive))
        for index, token, gap in zip(alive, next_B.tolist(), gaps_B.tolist(), strict=True):
            if index not in done:
                chosen[index].append(token)
                lowest[index] = min(lowest[index], gap)
                if on_tokens:
                    on_tokens(index, chosen[index])
        done |= {index for index in alive if chosen[index][-1] in requests[index].stops}
        if len(done) == len(prompts) or number + 1 == sampling.max_tokens:
            break
        kept = np.array([row for row, index in enumerate(alive) if stays or index not in done])
        if kept.size < len(alive):
            rows = torch.from_numpy(kept).to(mask_BT.device)
            alive, next_B, mask_BT = [alive[row] for row in kept], next_B[kept], mask_BT[rows]
            cache.batch_select_indices(rows)
        mask_BT = F.pad(mask_BT, (0, 1), value=1)
        logits_BV = _forward(model, torch.from_numpy(next_B).to(mask_BT.device)[:, None], mask_BT, cache)
    return [Written(tokens, gap) for tokens, gap in zip(chosen, lowest, strict=True)]


def last_logits(model: Any, prompt: TokenArray, count: int) -> Tensor:
    """After each of the last `count` tokens of a prompt, each passed in a step of its own: [count, V]."""
    logits_1V, cache, mask_1T = _prefill(model, [prompt[: prompt.size - count + 1]], 0)
    found = [logits_1V]
    for token in prompt[prompt.size - count + 1 :]:
        mask_1T = F.pad(mask_1T, (0, 1), value=1)
        found.append(_forward(model, mask_1T.new_tensor([[int(token)]]), mask_1T, cache))
    return torch.cat(found)


def odd_layers(model: Any) -> list[str]:
    """Kinds of layers that keep more of the past than keys and values of each token: a state, or chunks."""
    return sorted(set(getattr(model.config.get_text_config(), "layer_types", None) or ()) - _PLAIN_LAYERS)


def _shared(prompts: Sequence[TokenArray]) -> int:
    """How many tokens all prompts begin with; at least one token of each stays apart."""
    return min(common_length(prompts), min(prompt.size for prompt in prompts) - 1)


def _prefill(model: Any, prompts: Sequence[TokenArray], shared: int) -> tuple[Tensor, DynamicCache, Tensor]:
    """Logits after each prompt [B, V], the cache, and its mask [B, T]; the first `shared` tokens pass once."""
    device = next(model.parameters()).device
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
