"""Repetition within an answer: n-grams, lines, loops that never stop, and how well the answer compresses.

rep-n is that of Welleck et al. (2019, arXiv 1908.04319), the compression ratio that of Shaib et al. (2024, arXiv
2403.00553). All grow with length; the compression ratio is therefore taken of answers cut to the same length.
"""

import re
import zlib
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from statistics import fmean

from tunesmith.evaluate.taxes.sets import WRITING
from tunesmith.evaluate.taxes.tax import Answer, Tax, each_sample, each_text
from tunesmith.types import Sample

WORD = re.compile(r"\w+")
LOOP = 0.5


def rep(text: str, n: int) -> float:
    """1 - distinct n-grams of words / all of them; 0.0 where there is none."""
    words = WORD.findall(text.casefold())
    grams = list(zip(*(words[start:] for start in range(n)), strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def longest_run(text: str) -> float:
    """How often the most repeated line stands in a row; 0.0 without any line."""
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    return float(max((sum(1 for _ in run) for _, run in groupby(lines)), default=0))


def is_loop(sample: Sample) -> float:
    """1.0 for an answer that did not end, and of whose 4-grams more than half were there before."""
    return float(not sample.stopped and rep(sample.completion, 4) > LOOP)


def compression(text: str) -> float:
    """Bytes over bytes packed by zlib: about 1 for a sentence, far more for a text that repeats itself."""
    raw = text.encode("utf-8", "replace")
    return len(raw) / len(zlib.compress(raw, 9)) if raw else 1.0


def shorter_sequences(answers: Sequence[Answer]) -> dict[str, float]:
    """The means of rep-2 and rep-3, to be shown beside rep-4."""
    return {f"rep_{n}": fmean(rep(answer.text, n) for answer in answers) for n in (2, 3)}


REPETITION = Tax(
    name="repetition",
    panel_set=WRITING,
    about="Share of the four-word sequences of an answer that stood in it before.",
    better="lower",
    unit="share of an answer",
    measure=each_text(partial(rep, n=4)),
    facts=shorter_sequences,
)
REPEATED_LINES = Tax(
    name="repeated_lines",
    panel_set=WRITING,
    about="How often one and the same line stands in a row, at most.",
    better="lower",
    unit="lines",
    measure=each_text(longest_run),
)
LOOPS = Tax(
    name="loops",
    panel_set=WRITING,
    about="Share of answers that never stop and repeat themselves.",
    better="lower",
    unit="",
    measure=each_sample(is_loop),
)
COMPRESSION = Tax(
    name="compression",
    panel_set=WRITING,
    about="How far answers can be compressed, both models' cut to the same length: empty talk compresses well.",
    better="lower",
    unit="ratio",
    measure=each_text(compression),
    is_matched=True,
)
