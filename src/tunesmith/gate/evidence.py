"""The paired comparison of one task: same items, two models, one difference with its interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tunesmith import stats
from tunesmith.gate.policy import SMALL_SHIFT, Line
from tunesmith.types import Harm, Question

MIN_CONTINUOUS_ITEMS = 20  # below, the spread of a continuous score is itself unknown: never decide
NOISE_SHARE = 4  # engine noise above a quarter of the margin widens the interval
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pairs:
    """The values of one task before and after, item by item, as they were measured.

    `seeds` holds the differences of each training, (seeds, items), where several are judged together. `noise` is the
    chance that an item's value flips when the same model answers again (0.0: a deterministic engine).
    """

    ids: tuple[str, ...]
    before: Scores
    after: Scores
    codes: stats.Codes | None = None
    is_binary: bool = False
    unit: str = ""
    noise: float = 0.0
    seeds: Scores | None = None
    items_digest: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The paired comparison of one task under one question, before it is judged.

    `margin` is the smallest gain, the largest loss, or the smallest harm that alarms; `p_value` that of "got better"
    or of a harm beyond `harm_from`; `variance` that of one item's difference, `effect` by how much clusters and noise
    swell it; `span` how far an item may change unseen (0.0 where many items changed, so that their spread is known).
    """

    task: str
    question: Question
    margin: float
    harm: Harm
    is_binary: bool
    unit: str
    base: float
    tuned: float
    num_items: int
    num_clusters: int | None
    difference: float
    low: float
    high: float
    is_widened: bool
    p_value: float
    harm_from: float
    lost_items: tuple[str, ...]
    gained_items: tuple[str, ...]
    variance: float
    effect: float
    span: float

    @property
    def is_large_enough(self) -> bool:
        return self.is_binary or self.num_items >= MIN_CONTINUOUS_ITEMS

    @property
    def gain(self) -> float:
        """The difference, counted so that a harm is below zero."""
        return _gain(self.harm, self.difference)

    @property
    def least(self) -> float:
        """The lowest gain that the interval allows."""
        return min(_gain(self.harm, self.low), _gain(self.harm, self.high))

    @property
    def most(self) -> float:
        """The highest gain that the interval allows."""
        if self.harm == "both" and self.low <= 0 <= self.high:
            return 0.0
        return max(_gain(self.harm, self.low), _gain(self.harm, self.high))

    def resolvable(self, confidence: float) -> float:
        """The smallest harm that these items could rule out where there is none."""
        independent = self.num_items / self.effect
        if not self.is_binary:
            return stats.smallest_provable_margin(self.variance, independent, confidence, span=self.span)
        discordance = (len(self.lost_items) + len(self.gained_items)) / self.num_items
        return stats.smallest_paired_margin(discordance, independent, confidence)

    def num_needed(self, boundary: float, confidence: float) -> int | None:
        """How many items would tell the gain from a boundary, if it is the true one."""
        if self.is_binary:
            lost, gained = (len(each) / self.num_items for each in (self.lost_items, self.gained_items))
            if self.harm == "both" and self.difference > 0:
                lost, gained = gained, lost
            count = stats.paired_items_needed(lost, gained, boundary, confidence)
        else:
            count = stats.items_needed(self.variance, abs(self.gain - boundary), confidence, span=self.span)
        return None if count is None else math.ceil(count * self.effect)


def _gain(harm: Harm, value: float) -> float:
    return {"down": value, "up": -value, "both": -abs(value)}[harm]


def weigh(line: Line, pairs: Pairs, confidence: float) -> Evidence:
    """Compare before and after under one question; `confidence` is one-sided."""
    oriented = -1.0 if line.harm == "up" else 1.0
    seen = _Oriented(replace(pairs, before=oriented * pairs.before, after=oriented * pairs.after))
    margin = SMALL_SHIFT * float(pairs.before.std()) if line.margin is None and not pairs.is_binary else line.margin
    margin = margin or 0.0
    harm_from = margin if line.question == "alarm" or not pairs.is_binary else 0.0
    (low, high), is_widened = _interval(line, margin, pairs, seen, confidence)
    worse, better = _flipped(pairs.ids, seen.gains if pairs.is_binary else np.zeros(0))
    return Evidence(
        task=line.task,
        question=line.question,
        margin=margin,
        harm=line.harm,
        is_binary=pairs.is_binary,
        unit=pairs.unit,
        base=float(pairs.before.mean()),
        tuned=float(pairs.after.mean()),
        num_items=len(pairs.ids),
        num_clusters=None if pairs.codes is None else int(pairs.codes.max()) + 1,
        difference=float((pairs.after - pairs.before).mean()),
        low=low if oriented > 0 else -high,
        high=high if oriented > 0 else -low,
        is_widened=is_widened,
        p_value=_p_value(line, seen, harm_from),
        harm_from=harm_from,
        lost_items=worse,
        gained_items=better,
        variance=seen.variance,
        effect=seen.effect,
        span=seen.span,
    )


class _Oriented:
    """Values counted so that more is better (of a two-sided harm: as they are), and what the tests need of them."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self.gains: Scores = pairs.after - pairs.before
        self.codes = pairs.codes
        self.flips = stats.flips(pairs.before, pairs.after, pairs.codes)
        self.variance = float(self.gains.var(ddof=0 if pairs.is_binary else 1))
        self.effect = stats.design_effect(self.gains, pairs.codes)
        if pairs.noise and self.variance:
            self.effect += pairs.noise / self.variance
        both = np.concatenate([pairs.before, pairs.after])
        full = 1.0 if pairs.is_binary else float(both.max() - both.min())
        few = pairs.is_binary or stats.num_changed(self.gains, pairs.codes) < stats.FEW_CHANGES
        self.full_span, self.span = full, full if few else 0.0

    def interval(self, two_sided: float) -> stats.Interval:
        flips = self.flips
        if self.pairs.is_binary:
            return stats.paired_interval(flips.lost, flips.gained, flips.n, flips.confidence(two_sided))
        return stats.paired_mean_interval(self.gains, two_sided, self.codes, span=self.full_span)

    def p_below(self, mean: float, sign: float = 1.0) -> float:
        """One-sided p-value for "the mean gain lies below `mean`" (with `sign` -1: of the gains turned around)."""
        if not self.pairs.is_binary:
            return stats.paired_t_p(sign * self.gains - mean, self.codes)
        lost, gained = (self.flips.lost, self.flips.gained)[:: int(sign)]
        if mean == 0:
            return self.flips.p_value(stats.mcnemar_mid_p(lost, gained))
        return self.flips.p_value(stats.NORMAL.cdf(stats.tango_z(lost, gained, self.flips.n, mean)))


def _p_value(line: Line, seen: _Oriented, harm_from: float) -> float:
    if line.question == "improve":
        return seen.p_below(0.0, -1.0)
    if line.harm == "both":
        return min(1.0, 2 * min(seen.p_below(-harm_from), seen.p_below(-harm_from, -1.0)))
    return seen.p_below(-harm_from)


def _interval(
    line: Line, margin: float, pairs: Pairs, seen: _Oriented, confidence: float
) -> tuple[stats.Interval, bool]:
    """The interval of the gain, with the noise of the engine and of training added where these count."""
    two_sided = 2 * confidence - 1  # either side is at the one-sided level of the decision
    found, center = seen.interval(two_sided), float(seen.gains.mean())
    extra = 0.0
    deviation = math.sqrt(pairs.noise / len(pairs.ids))
    if deviation > margin / NOISE_SHARE:
        extra = stats.NORMAL.inv_cdf(confidence) * deviation
    if pairs.seeds is not None:
        extra = math.hypot(extra, stats.seed_noise(pairs.seeds).half_width(two_sided))
    return (stats.widened(found, center, extra), True) if extra > 0 else (found, False)


def _flipped(ids: Sequence[str], gains: Scores) -> tuple[tuple[str, ...], tuple[str, ...]]:
    worse = tuple(each for each, gain in zip(ids, gains, strict=False) if gain < 0)
    return worse, tuple(each for each, gain in zip(ids, gains, strict=False) if gain > 0)
