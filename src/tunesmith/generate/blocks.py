"""Keys and values of past tokens, in blocks of a fixed number of tokens that sequences take and give back.

Block 0 is scratch: padding writes there, and nobody reads it. Memory grows with the highest block in use, by whole
slabs; a block that is given back is the next to be taken, lowest first, so that the blocks in use stay together.

Shapes: P blocks of the pool, G key heads, K tokens of a block, D head width.
"""

import heapq
from typing import Any

import torch
from torch import Tensor

TOKENS = 64
"""Tokens of a block. Attention adds up whole blocks, so that its sums do not depend on a sequence's neighbors."""
SCRATCH = 0
_SLAB = 64


class Pool:
    """The blocks of all layers. `capacity` is how many may be in use at once, scratch not counted."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._free = list(range(1, capacity + 1))
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}
        self._used: set[int] = set()
        self._ready = 0

    @property
    def num_free(self) -> int:
        return len(self._free)

    @property
    def span(self) -> int:
        """How many blocks there are up to the highest in use, scratch counted."""
        return max(self._used, default=SCRATCH) + 1

    @property
    def num_bytes(self) -> int:
        return sum(each.nbytes for layer in self._layers.values() for each in layer)

    def take(self) -> int:
        block = heapq.heappop(self._free)
        self._used.add(block)
        return block

    def give_back(self, blocks: list[int]) -> None:
        for block in blocks:
            self._used.remove(block)
            heapq.heappush(self._free, block)

    def grow(self) -> None:
        """Make room for the highest block in use; new blocks are zero, so that what is masked is never NaN."""
        if self.span > self._ready:
            self._ready = min(self.capacity + 1, (self.span + _SLAB - 1) // _SLAB * _SLAB)
            for index, (keys, values) in self._layers.items():
                self._layers[index] = self._grown(keys), self._grown(values)

    def layer(self, index: int, key_1GTD: Tensor, value_1GTD: Tensor) -> tuple[Tensor, Tensor]:
        """The keys and values of a layer, [P, G, K, D]; made when the layer is first met."""
        if index not in self._layers:
            made = [_zeros(self._ready, each.shape[1], each.shape[3], each) for each in (key_1GTD, value_1GTD)]
            self._layers[index] = made[0], made[1]
        return self._layers[index]

    def copy(self, sources: list[int], targets: list[int]) -> None:
        """Copy whole blocks in all layers."""
        for layer in self._layers.values():
            for each in layer:
                source, target = (torch.tensor(ids, device=each.device) for ids in (sources, targets))
                each.index_copy_(0, target, each.index_select(0, source))

    def _grown(self, old: Tensor) -> Tensor:
        new = _zeros(self._ready, old.shape[1], old.shape[3], old)
        new[: old.shape[0]] = old
        return new


def _zeros(blocks: int, heads: int, width: int, like: Any) -> Tensor:
    return torch.zeros(blocks, heads, TOKENS, width, dtype=like.dtype, device=like.device)
