"""The next token: greedy with ties to the lowest id, or drawn; and the gap to the runner-up.

A draw is a number in [0, 1) that a hash of (seed, prompt, sample, position) gives, so what a prompt is answered does
not depend on the prompts beside it.

Shapes: B sequences, V vocabulary.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tunesmith.generate import Sampling
from tunesmith.types import TokenArray

FloatArray = NDArray[np.float32]


def draw_key(seed: int, sample: int, prompt: TokenArray) -> bytes:
    """What the draws of one answer hang on."""
    tokens = np.ascontiguousarray(prompt, dtype="<i4").tobytes()
    return hashlib.blake2b(f"{seed} {sample} ".encode() + tokens, digest_size=16).digest()


def draw(key: bytes, position: int) -> float:
    """The number in [0, 1) for the token at `position` of an answer."""
    digest = hashlib.blake2b(position.to_bytes(8, "little"), key=key, digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) / 2.0**53


def choose(
    logits_BV: Tensor, sampling: Sampling, keys: Sequence[bytes], positions: Sequence[int]
) -> tuple[NDArray[np.int64], FloatArray]:
    """The token of each sequence, and by how much the largest logit exceeds the second: [B] each."""
    if logits_BV.device.type == "cpu":
        tokens_B, gaps_B = _largest(logits_BV.float().numpy())
    else:
        tokens_B, gaps_B = _largest_on_device(logits_BV.float())
    if sampling.temperature > 0:
        probabilities_BV = (logits_BV.float() / sampling.temperature).softmax(-1).cpu().numpy()
        pairs = zip(probabilities_BV, keys, positions, strict=True)
        tokens_B = np.array([_drawn(row_V, sampling.top_p, draw(key, at)) for row_V, key, at in pairs], np.int64)
    return tokens_B, gaps_B


def _largest(logits_BV: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """numpy's argmax takes the first of equals."""
    rows_B = np.arange(logits_BV.shape[0])
    tokens_B = logits_BV.argmax(-1)
    highest_B = logits_BV[rows_B, tokens_B]
    logits_BV[rows_B, tokens_B] = -np.inf
    gaps_B = highest_B - logits_BV.max(-1)
    logits_BV[rows_B, tokens_B] = highest_B  # the array is the model's own where that is in float32
    return tokens_B, gaps_B


def _largest_on_device(logits_BV: Tensor) -> tuple[NDArray[np.int64], FloatArray]:
    highest_B2 = logits_BV.topk(2).values
    width = logits_BV.shape[1]
    places_V = torch.arange(width, device=logits_BV.device)
    tokens_B = places_V.where(logits_BV == highest_B2[:, :1], width).amin(-1)
    return tokens_B.cpu().numpy(), (highest_B2[:, 0] - highest_B2[:, 1]).cpu().numpy()


def _drawn(probabilities_V: FloatArray, top_p: float, number: float) -> int:
    """Nucleus sampling (Holtzman et al. 2019): among the fewest tokens that hold `top_p` of the probability.

    A token with less than (1 - top_p) / V is never among them, so few are sorted. Equals are in order of their ids.
    """
    probabilities = probabilities_V.astype(np.float64)
    if top_p >= 1:
        kept = np.flatnonzero(probabilities)
    else:
        likely = np.flatnonzero(probabilities >= (1 - top_p) / probabilities.size)
        ordered = likely[np.argsort(-probabilities[likely], kind="stable")]
        before = np.cumsum(probabilities[ordered]) - probabilities[ordered]
        kept = ordered[before < top_p * probabilities.sum()]
    mass = np.cumsum(probabilities[kept])
    return int(kept[min(np.searchsorted(mass, number * mass[-1], side="right"), kept.size - 1)])
