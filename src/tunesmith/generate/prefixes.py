"""Beginnings that several prompts share: they pass through the model once and are copied.

A prompt's beginning is a chain of whole blocks; each link is named by a hash over all tokens up to its end. A link
stays in the pool for as long as a prompt that has it is still to come.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from tunesmith.generate.blocks import TOKENS, Pool
from tunesmith.types import TokenArray

Link = bytes


class Prefixes:
    """Which links prompts to come share, and where in the pool those are that have passed."""

    def __init__(self, prompts: Sequence[TokenArray], pool: Pool, shares: bool = True) -> None:
        self._pool = pool
        self._chains = [_chain(prompt) if shares else [] for prompt in prompts]
        self._to_come = Counter(link for chain in self._chains for link in chain)
        self._blocks: dict[Link, int] = {}

    def leading(self, prompt: int, room: int) -> tuple[list[int], int]:
        """The blocks of a prompt's shared beginning, and how many of them have passed before.

        New blocks are taken for at most `room` links that other prompts to come have, too.
        """
        chain, blocks = self._chains[prompt], []
        for link in chain:
            if link not in self._blocks:
                break
            blocks.append(self._blocks[link])
        num_passed = len(blocks)
        for link in chain[num_passed : num_passed + room]:
            if self._to_come[link] < 2:
                break
            self._blocks[link] = self._pool.take()
            blocks.append(self._blocks[link])
        return blocks, num_passed

    def forget(self, prompt: int) -> None:
        """A prompt has come: its links are kept only for others."""
        for link in self._chains[prompt]:
            self._to_come[link] -= 1

    def clear(self, everything: bool = False) -> None:
        """Give back the blocks that no prompt waits for, or all."""
        gone = [link for link in self._blocks if everything or not self._to_come[link]]
        self._pool.give_back([self._blocks.pop(link) for link in gone])


def _chain(prompt: TokenArray) -> list[Link]:
    """The prompt's whole blocks; its last token stays apart, because an answer begins with a step from it."""
    links, hashed = [], hashlib.blake2b(digest_size=16)
    tokens = np.ascontiguousarray(prompt, dtype="<i4")
    for end in range(TOKENS, prompt.size, TOKENS):
        hashed.update(tokens[end - TOKENS : end].tobytes())
        links.append(hashed.copy().digest())
    return links
