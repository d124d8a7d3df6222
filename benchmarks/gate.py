"""Does the gate say what it promises? Simulated models, judged by the gate's own functions.

    boundary   how often a kept task passes when its true loss is exactly the margin: at most 5 %
    power      how often equal models pass on as many items as the sample size formula asks for: 80 %
    policy     the default policy on whole reports: harmless tunes pass, planted harms fail and are named
    alarms     how often any of twenty alarms is raised when nothing is wrong: at most 5 %
    stopping   early stops: false PASSes at the boundary over all looks, and how many items it takes

Items are flipped at random with the given discordance (the share of flipped items). In clusters, each cluster has its
own chances, drawn from a Dirichlet distribution with the given correlation within clusters (ICC). One core, minutes:

    python benchmarks/gate.py
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import machine, markdown, write_results

from tunesmith import stats
from tunesmith.gate import GateConfig, gate
from tunesmith.types import Report, TaskReport

RESULTS = Path(__file__).resolve().parent / "results" / "gate.json"
ALPHA = 0.05
TWO_SIDED = 1 - 2 * ALPHA
SIZES = (100, 300, 1000, 3000)
Array = NDArray[Any]


class Rate(NamedTuple):
    """A share of simulated rounds, and its Monte-Carlo standard error."""

    value: float
    error: float


def rate(hits: int, rounds: int) -> Rate:
    share = hits / rounds
    return Rate(share, math.sqrt(max(share * (1 - share), 1 / rounds) / rounds))


# Single lines


def cells(rng: np.random.Generator, n: int, lost: float, gained: float, rounds: int) -> Iterator[tuple[int, int, int]]:
    """(lost, gained, how often) over rounds of independent items."""
    drawn = rng.multinomial(n, [lost, gained, 1 - lost - gained], rounds)[:, :2]
    found, counts = np.unique(drawn, axis=0, return_counts=True)
    return ((int(cell[0]), int(cell[1]), int(count)) for cell, count in zip(found, counts, strict=True))


def clustered(
    rng: np.random.Generator, n: int, size: int, icc: float, lost: float, gained: float, rounds: int
) -> tuple[Array, Array]:
    """(changes of each round and item: -1, 0 or 1; the cluster of each item)."""
    num_clusters = n // size
    scale = (1 - icc) / icc
    chances = np.maximum(np.array([lost, gained, 1 - lost - gained]) * scale, 1e-9)
    own = np.maximum(rng.standard_gamma(chances, (rounds, num_clusters, 3)), 1e-300)
    own /= own.sum(axis=-1, keepdims=True)
    drawn = rng.random((rounds, num_clusters, size), dtype=np.float32)
    is_lost = drawn < own[..., :1]
    changes = np.where(is_lost, -1, np.where(drawn < own[..., :1] + own[..., 1:2], 1, 0)).astype(np.int8)
    return changes.reshape(rounds, -1), np.repeat(np.arange(num_clusters), size)


def share_passed(
    rng: np.random.Generator,
    n: int,
    lost: float,
    gained: float,
    margin: float,
    rounds: int,
    size: int = 1,
    icc: float = 0.0,
) -> Rate:
    """How often a kept pass-or-fail task passes: its interval lies above -margin."""
    if size == 1:
        hits = sum(
            count * (stats.paired_interval(worse, better, n, TWO_SIDED)[0] > -margin)
            for worse, better, count in cells(rng, n, lost, gained, rounds)
        )
        return rate(int(hits), rounds)
    changes, codes = clustered(rng, n, size, icc, lost, gained, rounds)
    hits = 0
    for each in changes.astype(np.float64):
        seen = stats.flips(np.maximum(-each, 0), np.maximum(each, 0), codes)
        confidence = seen.confidence(TWO_SIDED)
        z = stats.NORMAL.inv_cdf((1 + confidence) / 2)
        # The interval reaches no further up than Tango's, so most rounds are decided without solving for its bounds.
        if stats.tango_z(seen.lost, seen.gained, seen.n, -margin) > z:
            hits += stats.paired_interval(seen.lost, seen.gained, seen.n, confidence)[0] > -margin
    return rate(hits, rounds)


def boundary(rng: np.random.Generator, rounds: int, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """False PASSes where the true loss is the margin, for discordance from the margin to 20 %."""
    rows = []
    for n in sizes:
        for margin in (0.02, 0.05):
            for discordance in sorted({margin, 0.05, 0.1, 0.2}):
                if discordance < margin:
                    continue
                lost, gained = (discordance + margin) / 2, (discordance - margin) / 2
                for size, icc in ((1, 0.0), (2, 0.3), (5, 0.1), (5, 0.6)):
                    if size > 1 and n // size < stats.FEWEST_CLUSTERS:
                        continue
                    runs = rounds if size > 1 else 10 * rounds
                    found = share_passed(rng, n, lost, gained, margin, runs, size, icc)
                    keys = {"n": n, "margin": margin, "discordance": discordance, "cluster_size": size, "icc": icc}
                    rows.append({**keys, "false_pass": found.value, "error": found.error})
    return rows


def power(rng: np.random.Generator, rounds: int) -> list[dict[str, Any]]:
    """PASSes of equal models on the number of items that the formula names, beside its 80 %."""
    rows = []
    for margin in (0.02, 0.03, 0.05):
        for discordance in (0.05, 0.1, 0.2):
            half = discordance / 2
            n = stats.paired_items_needed(half, half, -margin)
            assert n is not None
            found = share_passed(rng, n, half, half, margin, 10 * rounds)
            row = {"margin": margin, "discordance": discordance, "icc": 0.0, "n": n}
            rows.append({**row, "theory": 0.8, "power": found.value, "error": found.error})
            size, icc = 4, 0.3
            n = size * math.ceil(n * (1 + (size - 1) * icc) / size)
            found = share_passed(rng, n, half, half, margin, rounds, size, icc)
            row = {"margin": margin, "discordance": discordance, "icc": icc, "n": n}
            rows.append({**row, "theory": 0.8, "power": found.value, "error": found.error})
    return rows


# Whole reports


@dataclass(frozen=True)
class Tune:
    """What tuning did to a model, as true rates: losses are of the general set, `tax` of one pass-or-fail tax."""

    name: str
    is_harmless: bool
    discordance: float = 0.15
    gain: float = 0.15
    general: float = 0.0
    kl: float = 0.03
    loss: float = 0.01
    log_length: float = 0.0
    tax: float = 0.0


TUNES = (
    Tune("harmless, 5 % of the general items flip", True, discordance=0.05),
    Tune("harmless, 15 % flip", True),
    Tune("harmless, 25 % flip", True, discordance=0.25),
    Tune("10 points lost on the general set", False, general=-0.1),
    Tune("12 points lost, 25 % flip", False, discordance=0.25, general=-0.12),
    Tune("KL divergence of 0.3 nats a token", False, kl=0.3),
    Tune("loss on general text up by 0.15", False, loss=0.15),
    Tune("answers twice as long", False, log_length=math.log(2)),
    Tune("answers half as long", False, log_length=-math.log(2)),
    Tune("one tax: 25 points more refusals", False, tax=0.25),
    Tune("the target got worse", False, gain=-0.15),
)


def reports(rng: np.random.Generator, tune: Tune) -> tuple[Report, Report]:
    """(tuned, base): a target of 200 items, 508 general ones, 128 texts, 60 items for each of 18 taxes."""
    lower: dict[str, Any] = {"better": "lower"}
    parts = [
        _flips(rng, "target", 200, 0.25, tune.gain),
        _flips(rng, "general", 508, tune.discordance, tune.general, num_clusters=10),
    ]
    texts = rng.normal(2.6, 0.5, 128)
    parts.append(_values("kl_general", tune.kl * rng.gamma(2, 0.5, 128), np.zeros(128), group="forgetting", **lower))
    moved = texts + tune.loss + rng.normal(0, 0.05, 128)
    parts.append(_values("loss_general", moved, texts, group="forgetting", **lower))
    tokens = rng.normal(4.5, 0.6, 60)
    longer = tokens + tune.log_length + rng.normal(0, 0.4, 60)
    parts.append(_values("length", longer, tokens, unit="log tokens", group="tax", **lower))
    for index in range(10):
        change = tune.tax if index == 0 else 0.0
        parts.append(_flips(rng, f"tax-{index}", 60, max(0.08, change + 0.05), change, group="tax", **lower))
    for index in range(7):
        style = rng.gamma(2, 1, 60)
        parts.append(_values(f"style-{index}", style + rng.normal(0, 0.7, 60), style, group="tax", **lower))
    tuned, base = zip(*parts, strict=True)
    return Report("tuned", "tuned", tuned), Report("base", "base", base)


def _flips(
    rng: np.random.Generator, task: str, n: int, discordance: float, change: float, num_clusters: int = 0, **fields: Any
) -> tuple[TaskReport, TaskReport]:
    drawn = rng.random(n)
    is_up = drawn < (discordance + change) / 2
    is_down = ~is_up & (drawn < discordance)
    before = np.where(is_up, 0, np.where(is_down, 1, rng.random(n) < 0.6))
    after = np.where(is_up, 1, np.where(is_down, 0, before))
    return _values(task, after, before, num_clusters, **fields)


def _values(
    task: str, after: Array, before: Array, num_clusters: int = 0, **fields: Any
) -> tuple[TaskReport, TaskReport]:
    ids = [str(index) for index in range(len(before))]
    clusters = {each: str(index % num_clusters) if num_clusters else each for index, each in enumerate(ids)}

    def made(values: Array) -> TaskReport:
        return TaskReport(task, "items", dict(zip(ids, map(float, values), strict=True)), clusters, **fields)

    return made(after), made(before)


def policy(rng: np.random.Generator, rounds: int) -> list[dict[str, Any]]:
    """Verdicts of the default policy, without any configuration."""
    rows = []
    for tune in TUNES:
        verdicts = [gate(GateConfig(), *reports(rng, tune)) for _ in range(rounds)]
        shares = {name: rate(sum(each.outcome == name for each in verdicts), rounds) for name in ("PASS", "FAIL")}
        wanted = shares["PASS" if tune.is_harmless else "FAIL"]
        alarmed = sum(any(each.outcome == "FAIL" for each in verdict.findings) for verdict in verdicts)
        rows.append(
            {
                **asdict(tune),
                "PASS": shares["PASS"].value,
                "FAIL": shares["FAIL"].value,
                "INCONCLUSIVE": 1 - shares["PASS"].value - shares["FAIL"].value,
                "any_line_failed": alarmed / rounds,
                "as_it_should": wanted.value,
                "error": wanted.error,
            }
        )
    return rows


def alarms(rng: np.random.Generator, rounds: int) -> dict[str, Any]:
    """Twenty alarms on 60 items each when nothing is wrong: how often is any raised?"""
    names = [f"tax-{index}" for index in range(20)]
    watch = GateConfig(keep={"kept": 0.5}, alarms=dict.fromkeys(names, 0.0), others="ignore")
    raised = 0
    for _ in range(rounds):
        parts = [_flips(rng, "kept", 60, 0.0, 0.0)]
        parts += [_flips(rng, name, 60, 0.15, 0.0) for name in names[:12]]
        for name in names[12:]:
            style = rng.gamma(2, 1, 60)
            parts.append(_values(name, style + rng.normal(0, 0.7, 60), style))
        tuned, base = zip(*parts, strict=True)
        raised += gate(watch, Report("t", "t", tuned), Report("b", "b", base)).outcome == "FAIL"
    found = rate(raised, rounds)
    return {"num_alarms": len(names), "any_raised": found.value, "error": found.error}


def stopping(rng: np.random.Generator, rounds: int) -> list[dict[str, Any]]:
    """Early stops of a kept task with a margin of two points, over at most 3,000 items."""
    margin, rows = 0.02, []
    for discordance, change in ((0.02, 0.0), (0.05, 0.0), (0.1, 0.0), (0.05, -0.02), (0.1, -0.02), (0.1, -0.05)):
        drawn = rng.random((rounds, 3000))
        lost = (discordance - change) / 2
        changes = np.where(drawn < lost, -1.0, np.where(drawn < discordance, 1.0, 0.0))
        stops = [stats.stop_early(each, -margin, 0.0) for each in changes]
        passed, failed = (sum(stop.settled == side for stop in stops) for side in ("above", "below"))
        row = {"discordance": discordance, "true_difference": change, "PASS": passed / rounds, "FAIL": failed / rounds}
        rows.append({**row, "median_items": float(np.median([stop.num_used for stop in stops]))})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--rounds", type=int, default=2000, help="rounds of each clustered cell; others take a multiple"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, rounds = np.random.default_rng(options.seed), options.rounds
    found: dict[str, Any] = {"machine": machine({"numpy": np.__version__}), "rounds": rounds, "seed": options.seed}
    parts: dict[str, Callable[[], Any]] = {
        "boundary": lambda: boundary(rng, rounds, SIZES),
        "power": lambda: power(rng, rounds),
        "policy": lambda: policy(rng, max(rounds // 10, 1)),
        "alarms": lambda: alarms(rng, rounds // 2),
        "stopping": lambda: stopping(rng, rounds),
    }
    for name, work in parts.items():
        began = time.perf_counter()
        found[name] = work()
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    write_results(RESULTS, found)
    show(found)


def show(found: dict[str, Any]) -> None:
    worst: dict[tuple[float, int], dict[str, Any]] = {}
    for row in found["boundary"]:
        key = (row["icc"], row["cluster_size"])
        worst[key] = max(worst.get(key, row), row, key=lambda each: each["false_pass"])
    print("\nfalse PASS at the true boundary, the worst of all n, margins and discordances")
    columns = {"cluster_size": "cluster size", "icc": "ICC", "n": "n", "margin": "margin", "false_pass": "false PASS"}
    print(_table(columns, [worst[key] for key in sorted(worst)]))
    print("\npower on the items that the formula names")
    print(
        _table(
            {"margin": "margin", "discordance": "discordance", "icc": "ICC", "n": "n", "power": "power"}, found["power"]
        )
    )
    print("\nthe default policy")
    print(_table({"name": "tune", "PASS": "PASS", "FAIL": "FAIL", "INCONCLUSIVE": "INCONCLUSIVE"}, found["policy"]))
    print(
        f"\nany of {found['alarms']['num_alarms']} alarms, nothing wrong: {100 * found['alarms']['any_raised']:.1f} %"
    )
    print("\nearly stops, margin 2 points, at most 3,000 items")
    columns = {"discordance": "discordance", "true_difference": "true difference", "PASS": "PASS", "FAIL": "FAIL"}
    print(_table({**columns, "median_items": "median items"}, found["stopping"]))


def _table(columns: dict[str, str], rows: Sequence[dict[str, Any]]) -> str:
    return markdown(
        {name: "---" if name == "tune" else "---:" for name in columns.values()},
        [[f"{row[key]:.3g}" if isinstance(row[key], float) else row[key] for key in columns] for row in rows],
    )


if __name__ == "__main__":
    main()
