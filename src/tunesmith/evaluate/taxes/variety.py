"""Diversity: how much several drawn answers to one open request differ from each other.

distinct-n is that of Li et al. (2016, arXiv 1510.03055); self-BLEU, after Zhu et al. (2018, arXiv 1802.01886), is taken
here over the answers to one request, and is shown only.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations
from statistics import fmean

from tunesmith.evaluate.taxes.sets import IDEAS
from tunesmith.evaluate.taxes.tax import Answer, Tax

WORD = re.compile(r"\w+")
LONGEST = 3
Grams = Counter[tuple[str, ...]]


def grams(text: str, n: int) -> Grams:
    """How often each sequence of `n` words stands in a text, whatever their case."""
    words = WORD.findall(text.casefold())
    return Counter(zip(*(words[start:] for start in range(n)), strict=False))


def dissimilarity(one: str, other: str) -> float:
    """1 - the share of common n-grams (Dice), averaged over n = 1 to 3: from 0 for the same words to 1."""
    return fmean(1 - _dice(grams(one, n), grams(other, n)) for n in range(1, LONGEST + 1))


def _dice(one: Grams, other: Grams) -> float:
    size = one.total() + other.total()
    # Texts that are too short for an n-gram are the same as far as it can be told.
    return 2 * (one & other).total() / size if size else 1.0


def by_item(answers: Iterable[Answer]) -> dict[str, list[str]]:
    """The texts of each item, in order of first appearance."""
    texts: dict[str, list[str]] = {}
    for answer in answers:
        texts.setdefault(answer.item.id, []).append(answer.text)
    return texts


def spread(answers: Sequence[Answer]) -> dict[str, float]:
    """The mean dissimilarity of the pairs of answers to an item; items with one answer are left out."""
    return {
        item: fmean(dissimilarity(one, other) for one, other in combinations(texts, 2))
        for item, texts in by_item(answers).items()
        if len(texts) > 1
    }


def distinct(texts: Sequence[str], n: int) -> float:
    """Distinct n-grams over all n-grams of the texts; 0.0 without any."""
    counts = sum((grams(text, n) for text in texts), Grams())
    return len(counts) / counts.total() if counts else 0.0


def self_bleu(texts: Sequence[str]) -> float:
    """The mean over the texts of the geometric mean of clipped n-gram precisions, n = 1 to 3, against the others."""
    return fmean(_precision(text, [*texts[:at], *texts[at + 1 :]]) for at, text in enumerate(texts))


def _precision(text: str, others: Sequence[str]) -> float:
    shares = []
    for n in range(1, LONGEST + 1):
        seen = grams(text, n)
        known = Grams()
        for other in others:
            known |= grams(other, n)
        shares.append((seen & known).total() / seen.total() if seen else 0.0)
    return math.prod(shares) ** (1 / LONGEST)


def other_figures(answers: Sequence[Answer]) -> dict[str, float]:
    """distinct-1, distinct-2 and self-BLEU, the means over items."""
    parts = list(by_item(answers).values())
    several = [texts for texts in parts if len(texts) > 1]
    return {
        **{f"distinct_{n}": fmean(distinct(texts, n) for texts in parts) for n in (1, 2)},
        **({"self_bleu": fmean(map(self_bleu, several))} if several else {}),
    }


DIVERSITY = Tax(
    name="diversity",
    panel_set=IDEAS,
    about=f"How much {IDEAS.num_samples} drawn answers to one open request differ from each other, from 0 to 1.",
    better="higher",
    unit="dissimilarity",
    measure=spread,
    facts=other_figures,
)
