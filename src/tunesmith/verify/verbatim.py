"""The scorer `verbatim`: how much of a known continuation a completion reproduces word for word.

Prefix extraction after Carlini et al. (2021, arXiv 2012.07805): a text that was trained on is begun, and the model goes
on. The value is the longest run of words that both have in common, as a share of the continuation's words.
"""

from collections.abc import Sequence
from typing import Any

from tunesmith.verify.equivalence.texts import cut

MOST_WORDS = 1000
"""Words of either text that are looked at, so that endless answers cost little."""


def verbatim(item: dict[str, Any], completion: str) -> tuple[float, str]:
    """The share of the answer's words that stand in the completion in one run, whatever their case."""
    wanted = str(item["answer"]["value"]).casefold().split()[:MOST_WORDS]
    end, length = longest_run(wanted, completion.casefold().split()[:MOST_WORDS])
    if not length:
        return 0.0, "no word of the text is reproduced."
    run = " ".join(wanted[end - length : end])
    return length / len(wanted), f"{length} of {len(wanted)} words are reproduced in a row: {cut(run)}."


def longest_run(one: Sequence[str], other: Sequence[str]) -> tuple[int, int]:
    """The longest run of words that stands in both: its end in `one` and its length, the first of several."""
    best = (0, 0)
    before = [0] * (len(other) + 1)
    for at, word in enumerate(one, 1):
        lengths = [0] * (len(other) + 1)
        for place, seen in enumerate(other, 1):
            if seen == word:
                lengths[place] = before[place - 1] + 1
                if lengths[place] > best[1]:
                    best = (at, lengths[place])
        before = lengths
    return best
