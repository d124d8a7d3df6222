"""How long answers are: more words, answers that are cut, answers that hardly say anything."""

import math
from collections.abc import Sequence

import numpy as np

from tunesmith.evaluate.taxes.sets import WRITING
from tunesmith.evaluate.taxes.tax import Answer, Tax, each_sample, each_text
from tunesmith.types import Sample

FEWEST_WORDS = 10


def log_tokens(sample: Sample) -> float:
    """The logarithm of the number of tokens, so that a paired difference is the logarithm of a ratio of lengths."""
    return math.log(max(1, sample.num_tokens))


def is_cut(sample: Sample) -> float:
    """1.0 when the answer ran into the limit instead of ending."""
    return float(not sample.stopped)


def is_stub(text: str) -> float:
    """1.0 for fewer than 10 words."""
    return float(len(text.split()) < FEWEST_WORDS)


def quantiles(answers: Sequence[Answer]) -> dict[str, float]:
    """The median and the 95th percentile of the number of tokens."""
    counts = [answer.sample.num_tokens for answer in answers]
    median, high = np.percentile(counts, (50, 95))
    return {"median_tokens": float(median), "p95_tokens": float(high)}


LENGTH = Tax(
    name="length",
    panel_set=WRITING,
    about="How long answers to open questions are: the mean logarithm of their tokens.",
    better="lower",
    unit="log tokens",
    measure=each_sample(log_tokens),
    facts=quantiles,
)
TRUNCATION = Tax(
    name="truncation",
    panel_set=WRITING,
    about=f"Share of answers to open questions that do not end within {WRITING.sampling.max_tokens} tokens.",
    better="lower",
    unit="",
    measure=each_sample(is_cut),
)
STUBS = Tax(
    name="stubs",
    panel_set=WRITING,
    about=f"Share of answers with fewer than {FEWEST_WORDS} words to questions that ask for a paragraph or more.",
    better="lower",
    unit="",
    measure=each_text(is_stub),
)
