"""Arms compared: one tuned model minus another, by item and by seed, and what that difference says in words.

A study judges every model by the same items. The result of a model is a dictionary with `arm`, `seed`, and under the
key of each measure its items, each with `value` and `weight`. The base is one model, of seed 0.
"""

import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tunesmith import __version__
from tunesmith.model import ModelConfig
from tunesmith.stats import Interval, mean_interval, paired_mean_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

BASE = "base"


class Measure(NamedTuple):
    """One way to judge. `span` is how far one item may change, 0 where most change a little anyway; see stats."""

    key: str
    title: str
    span: float


class Difference(NamedTuple):
    """`arm` minus `other` by one measure. An interval is None where one value, or equal ones, tell of no spread."""

    measure: Measure
    arm: str
    other: str
    by_seed: tuple[float, ...]
    over_seeds: Interval | None
    over_items: Interval | None

    @property
    def mean(self) -> float:
        return statistics.fmean(self.by_seed)


def weighted_mean(items: Sequence[dict[str, Any]]) -> float:
    return float(np.average([each["value"] for each in items], weights=[each["weight"] for each in items]))


def of_arm(results: Sequence[dict[str, Any]], arm: str) -> dict[int, dict[str, Any]]:
    """The results of an arm by seed."""
    return {result["seed"]: result for result in results if result["arm"] == arm}


def compare(results: Sequence[dict[str, Any]], measure: Measure, arm: str, other: str) -> Difference:
    """`arm` minus `other`, paired by seed and by item; the one base stands beside every seed."""
    ones, others = of_arm(results, arm), of_arm(results, other)
    pairs = [(each[measure.key], others[0 if other == BASE else seed][measure.key]) for seed, each in ones.items()]
    by_seed = tuple(weighted_mean(one) - weighted_mean(two) for one, two in pairs)
    items = np.mean([[a["value"] - b["value"] for a, b in zip(*pair, strict=True)] for pair in pairs], axis=0)
    weights = np.array([each["weight"] for each in pairs[0][0]], np.float64)
    spread = len(by_seed) > 1 and max(by_seed) - min(by_seed) > 1e-12
    return Difference(
        measure,
        arm,
        other,
        by_seed,
        mean_interval(by_seed) if spread else None,
        paired_mean_interval(linearized(items, weights), span=measure.span) if len(items) > 1 else None,
    )


def linearized(values: "NDArray[np.float64]", weights: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Values whose plain mean and its standard error are those of the weighted mean; equal weights change nothing.

    Source: the ratio estimator's linearization, Cochran (1977), Sampling Techniques, chapter 6.
    """
    mean = float(np.average(values, weights=weights))
    return np.asarray(mean + weights / weights.mean() * (values - mean), np.float64)


def reading(difference: Difference) -> str:
    """What a difference says, from its numbers alone."""
    known = {"seeds": difference.over_seeds, "items": difference.over_items}
    shown = f"{difference.measure.title}, {difference.arm} minus {difference.other}: {difference.mean:+.3f}"
    across = [f"over {name}" for name, interval in known.items() if interval and interval[0] <= 0 <= interval[1]]
    includes = "include" if len(across) > 1 else "includes"
    if len(difference.by_seed) < 2 or difference.over_items is None:
        return f"{shown}; one seed or one item tells nothing of the spread, so nothing is shown."
    if across:
        return f"{shown}; not shown: the interval {' and the one '.join(across)} {includes} zero."
    if difference.over_seeds is None:
        return f"{shown} on every seed; the interval over items excludes zero, and over seeds there is no spread."
    if (difference.over_seeds[0] > 0) != (difference.over_items[0] > 0):
        return f"{shown}; not shown: the two intervals lie on different sides of zero."
    return f"{shown}; {'higher' if difference.mean > 0 else 'lower'}: both intervals exclude zero."


def spelled(values: Sequence[float]) -> str:
    """Mean and standard deviation, the latter where there are several values."""
    mean = f"{statistics.fmean(values):.3f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.3f}"


def differences_table(differences: Sequence[Difference]) -> str:
    """Each difference with both of its intervals."""
    lines = ["| measure | difference | mean | 95 % over seeds | 95 % over items |", "|---|---|---:|---:|---:|"]
    for each in differences:
        cells = [f"{each.mean:+.3f}", *(_interval(found) for found in (each.over_seeds, each.over_items))]
        lines.append(f"| {each.measure.title} | {each.arm} − {each.other} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _interval(interval: Interval | None) -> str:
    return "no spread" if interval is None else f"{interval[0]:+.3f} to {interval[1]:+.3f}"


def machine(model: ModelConfig) -> dict[str, Any]:
    """Where it ran, and with what."""
    import peft
    import torch
    import transformers

    from tunesmith.model.load import pick_device, pick_dtype

    device = pick_device()
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "device": str(device),
        "number format": str(pick_dtype(model.dtype, device)[0]).removeprefix("torch."),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "peft": peft.__version__,
        "tunesmith": __version__,
    }


def _processor() -> str:
    """The processor's name: Linux tells it in a file, others through Python."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
