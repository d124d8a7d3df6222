"""Sequences of one conversation joined into one tree, or laid side by side.

Turns of a conversation whose template rewrites history have different contexts, which begin alike. Joined, what they
have in common stands there once; a token's path to the root is its own sequence, so each token sees what it would
see alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tunesmith.types import LINEAR, BranchArray, Part, Rendered, TokenArray, WeightArray


class Strand(NamedTuple):
    """One sequence: tokens, loss weights, parts and messages, all of one length."""

    tokens: TokenArray
    weights: WeightArray
    parts: NDArray[np.uint8]
    messages: NDArray[np.int16]

    def behind(self, count: int) -> "Strand":
        """Without the first `count` tokens."""
        return Strand(self.tokens[count:], self.weights[count:], self.parts[count:], self.messages[count:])

    def with_origins(self, origins: Sequence[int]) -> "Strand":
        """With the messages' numbers in the data, `origins[number]`, in place of those that the template was given."""
        # The last place answers for -1, the template's own text.
        return self._replace(messages=np.array([*origins, -1], np.int16)[self.messages])

    def after(self, token: int) -> "Strand":
        """With a control token of nobody's put first."""
        return Strand(
            np.append(np.int32(token), self.tokens).astype(np.int32),
            np.append(np.float32(0), self.weights).astype(np.float32),
            np.append(np.uint8(Part.CONTROL), self.parts).astype(np.uint8),
            np.append(np.int16(-1), self.messages).astype(np.int16),
        )


def side_by_side(conversation_id: str, strands: Sequence[Strand]) -> Rendered:
    """Each strand a sequence of its own."""
    if len(strands) == 1:
        return Rendered(conversation_id, strands[0].tokens, strands[0].weights, LINEAR, *strands[0][2:])
    starts = np.cumsum([0, *(strand.tokens.size for strand in strands[:-1])])
    branches = np.stack([starts, np.full(len(strands), -1)], axis=1).astype(np.int32)
    return _rendered(conversation_id, [np.concatenate(each) for each in zip(*strands, strict=True)], branches)


def joined(conversation_id: str, strands: Sequence[Strand], limits: Sequence[int] | None = None) -> Rendered:
    """The strands as one tree of shared prefixes. Weights of a shared token add up, so the loss stays the same sum.

    `limits` says how many of each strand's tokens may be shared with strands before it; by default all.
    """
    kept: list[Strand] = []
    places: list[NDArray[np.int64]] = []
    branches: list[tuple[int, int]] = []
    shared_weights: list[tuple[NDArray[np.int64], WeightArray]] = []
    size = 0
    for number, strand in enumerate(strands):
        limit = strand.tokens.size if limits is None else limits[number]
        shared, like = _longest_prefix(strand.tokens[:limit], list(zip(strands, places, strict=False)))
        new = strand.tokens.size - shared
        place = np.concatenate([like[:shared], np.arange(size, size + new)])
        shared_weights.append((place[:shared], strand.weights[:shared]))
        if new:
            parent = int(place[shared - 1]) if shared else -1
            if parent != size - 1 or size == 0:
                branches.append((size, parent))
            kept.append(strand.behind(shared))
        places.append(place)
        size += new
    arrays = [np.concatenate(each) for each in zip(*kept, strict=True)]
    for place, weights in shared_weights:
        arrays[1][place] += weights
    return _rendered(conversation_id, arrays, np.array(branches, np.int32))


def _longest_prefix(
    tokens: TokenArray, known: Sequence[tuple[Strand, NDArray[np.int64]]]
) -> tuple[int, NDArray[np.int64]]:
    """The length of the longest prefix shared with an earlier strand, and where that strand's tokens stand."""
    best, like = 0, np.empty(0, np.int64)
    for strand, place in known:
        size = min(tokens.size, strand.tokens.size)
        same = tokens[:size] == strand.tokens[:size]
        shared = size if same.all() else int(np.argmin(same))
        if shared > best:
            best, like = shared, place
    return best, like


def _rendered(conversation_id: str, arrays: Sequence[NDArray[np.generic]], branches: BranchArray) -> Rendered:
    tokens, weights, parts, messages = arrays
    return Rendered(
        conversation_id,
        tokens.astype(np.int32, copy=False),
        weights.astype(np.float32, copy=False),
        branches,
        parts.astype(np.uint8, copy=False),
        messages.astype(np.int16, copy=False),
    )
