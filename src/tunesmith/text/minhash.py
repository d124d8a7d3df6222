"""Near-duplicates by MinHash and locality-sensitive hashing, in memory that holds signatures and no texts.

Two texts are near-duplicates when the Jaccard similarity of their sets of word trigrams reaches a threshold.
A cluster is what near-duplicate pairs connect, so every pair of near-duplicates lies within one cluster.
"""

import hashlib
import math
from collections.abc import Iterable

from tunesmith.text.ngrams import ngrams, normalize, words

SHINGLE_SIZE = 3
NUM_PERMUTATIONS = 128
WANTED_RECALL = 0.999


class UnionFind:
    """Disjoint sets of 0, 1, 2, ...; the root of a set is its smallest member."""

    def __init__(self) -> None:
        self._parents: list[int] = []

    def add(self) -> int:
        """Add one element as a set of its own; returns its number."""
        self._parents.append(len(self._parents))
        return len(self._parents) - 1

    def find(self, element: int) -> int:
        """The root of the element's set."""
        while self._parents[element] != element:
            self._parents[element] = self._parents[self._parents[element]]
            element = self._parents[element]
        return element

    def union(self, first: int, second: int) -> None:
        """Join the sets of two elements."""
        low, high = sorted((self.find(first), self.find(second)))
        self._parents[high] = low

    def labels(self) -> list[int]:
        """The set of each element, numbered 0, 1, 2, ... in order of first appearance."""
        numbers: dict[int, int] = {}
        roots = (self.find(element) for element in range(len(self._parents)))
        return [numbers.setdefault(root, len(numbers)) for root in roots]


def shingles(text: str) -> set[str]:
    """What is compared: the word trigrams; a text too short for one is its own only shingle."""
    tokens = words(text)
    grams = {" ".join(gram) for gram in ngrams(tokens, SHINGLE_SIZE)}
    return grams or {" ".join(tokens) or normalize(text).strip()}


def near_duplicate_clusters(texts: Iterable[str], threshold: float = 0.7, seed: int = 0) -> list[int]:
    """The cluster of each text, numbered in order of first appearance; equal seeds give equal clusters.

    Pairs at the threshold or above are united with a probability above 0.999. A pair just below may be united
    too: where two sides must share nothing, uniting too much is the safe mistake.
    """
    import rensa

    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must lie above 0 and at most at 1, not {threshold}")
    index = rensa.RMinHashLSH(threshold, NUM_PERMUTATIONS, num_bands(threshold))
    signatures: dict[int, rensa.RMinHash] = {}
    first_with: dict[bytes, int] = {}
    sets = UnionFind()
    for text in texts:
        number = sets.add()
        grams = sorted(shingles(text))
        # Only the first of equal texts enters the index: a thousand copies would make a million pairs.
        first = first_with.setdefault(_digest(grams), number)
        if first != number:
            sets.union(first, number)
            continue
        signature = rensa.RMinHash(NUM_PERMUTATIONS, seed)
        signature.update(grams)
        for candidate in index.query(signature):
            if signature.jaccard(signatures[candidate]) >= _least_estimate(threshold):
                sets.union(candidate, number)
        index.insert(number, signature)
        signatures[number] = signature
    return sets.labels()


def num_bands(threshold: float) -> int:
    """The fewest bands, hence the fewest false candidates, that still find a pair at the threshold."""
    counts = [2**power for power in range(NUM_PERMUTATIONS.bit_length())]
    return next((count for count in counts if _recall(threshold, count) >= WANTED_RECALL), NUM_PERMUTATIONS)


def _recall(similarity: float, bands: int) -> float:
    """The probability that a pair of this similarity meets in at least one band."""
    return 1 - float((1 - similarity ** (NUM_PERMUTATIONS // bands)) ** bands)


def _least_estimate(threshold: float) -> float:
    """Three standard errors below the threshold: an estimate that a pair at the threshold stays above."""
    return threshold - 3 * math.sqrt(threshold * (1 - threshold) / NUM_PERMUTATIONS)


def _digest(grams: list[str]) -> bytes:
    return hashlib.blake2b("\n".join(grams).encode("utf-8", "surrogatepass"), digest_size=8).digest()
