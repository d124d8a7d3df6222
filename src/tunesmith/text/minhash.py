"""Near-duplicates by MinHash and locality-sensitive hashing, in memory that holds signatures and no texts.

Two texts are near-duplicates when the Jaccard similarity of their sets of word trigrams reaches a threshold.
A cluster is what near-duplicate pairs connect, so every pair of near-duplicates lies within one cluster.

Shapes: U different texts, P permutations, G texts that meet in a band.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

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
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must lie above 0 and at most at 1, not {threshold}")
    sets = UnionFind()
    numbers, signatures_UP = _sign(texts, sets, seed)
    for group_G in _meetings(signatures_UP, num_bands(threshold)):
        met = [numbers[place] for place in group_G.tolist()]
        roots = [sets.find(number) for number in met]
        if len(set(roots)) > 1:
            _unite(sets, met, np.array(roots), signatures_UP[group_G], _least_estimate(threshold))
    del numbers, signatures_UP  # half a kilobyte for each text
    return sets.labels()


def _sign(texts: Iterable[str], sets: UnionFind, seed: int) -> tuple[list[int], NDArray[np.uint32]]:
    """Add every text to `sets` and unite equal ones; the numbers of the different ones, and their signatures."""
    import rensa

    first_with: dict[int, int] = {}
    signatures = bytearray()
    for text in texts:
        number = sets.add()
        grams = sorted(shingles(text))
        # Only the first of equal texts gets a signature: a thousand copies would make a million pairs.
        first = first_with.setdefault(_digest(grams), number)
        if first != number:
            sets.union(first, number)
            continue
        signature = rensa.RMinHash(NUM_PERMUTATIONS, seed)
        signature.update(grams)
        signatures += np.array(signature.digest(), np.uint32).tobytes()
    return list(first_with.values()), np.frombuffer(signatures, np.uint32).reshape(-1, NUM_PERMUTATIONS)


def _meetings(signatures_UP: NDArray[np.uint32], bands: int) -> Iterator[NDArray[np.intp]]:
    """The places of the signatures that agree in all of a band, band by band, two or more each time."""
    width = NUM_PERMUTATIONS // bands
    for start in range(0, NUM_PERMUTATIONS, width):
        keys_U = np.zeros(len(signatures_UP), np.uint64)
        for column in range(start, start + width):  # two bands in one key are told apart by their signatures
            keys_U = keys_U * np.uint64(0x9E3779B97F4A7C15) + signatures_UP[:, column]
        order_U = np.argsort(keys_U, kind="stable")
        borders = np.flatnonzero(np.diff(keys_U[order_U])) + 1
        starts, ends = np.append(0, borders), np.append(borders, len(order_U))
        for group in np.flatnonzero(ends - starts > 1):
            yield order_U[starts[group] : ends[group]]


def _unite(
    sets: UnionFind, met: list[int], roots_G: NDArray[np.int64], signatures_GP: NDArray[np.uint32], least: float
) -> None:
    """Unite the texts whose signatures say that they are near-duplicates, where they are not united yet."""
    for place, number in enumerate(met):
        apart = np.flatnonzero(roots_G[place + 1 :] != roots_G[place]) + place + 1
        if not apart.size:
            continue
        agreeing = np.count_nonzero(signatures_GP[apart] == signatures_GP[place], axis=1)
        for near in apart[agreeing >= least * NUM_PERMUTATIONS].tolist():
            sets.union(number, met[near])
            roots_G[roots_G == roots_G[near]] = roots_G[place]


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


def _digest(grams: list[str]) -> int:
    content = "\n".join(grams).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest())
