"""What the study of training compares: five experiments, the arms of each, and how their results become a page.

An arm is a name and what it changes in the plain recipe; experiments share arms. A result (see comparison.py) holds the
items of three measures, mean losses in nats per supervised token: of the target's answers, of general answers, and of
plain text. The last two say what was forgotten.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from comparison import BASE, Difference, Measure, compare, differences_table, of_arm, reading, spelled, weighted_mean

from tunesmith.stats import mean_interval

PLAIN = "plain"
MEASURES = (
    Measure("target", "target loss", 0.0),
    Measure("general", "general loss", 0.0),
    Measure("text", "text loss", 0.0),
)
KEPT = MEASURES[1:]
RATES = {"lora": (1e-4, 3e-4, 1e-3), "full": (1e-5, 3e-5, 1e-4)}
PLAIN_RATE = RATES["lora"][1]
FRACTION = 0.125  # the k of DMT: how much of the target's data each pass of the second stage sees again
GAINS = {"at half of the gain": 0.5, "at the whole gain": 1.0}
Result = dict[str, Any]
Pairs = tuple[tuple[str, str], ...]


# Arms


def rate_arm(method: str, rate: float) -> str:
    """The arm that trains by `method` at a learning rate; one of them is the plain arm."""
    return PLAIN if (method, rate) == ("lora", PLAIN_RATE) else f"{method}-{rate:.0e}"


def changes(target: dict[str, Any], general: dict[str, Any], text: str, seed: int) -> dict[str, dict[str, Any]]:
    """What each arm changes in the plain recipe; `target` and `general` are tables of data, `text` is a path."""
    rated = {
        rate_arm(method, rate): {"train": {"method": method, "learning_rate": rate}}
        for method, rates in RATES.items()
        for rate in rates
    }
    again = {"seed": seed, "sources": [{"name": "again", "data": target, "epochs": FRACTION}]}
    return {
        **rated,
        PLAIN: {},
        "padding": {"pack": {"layout": "padding"}},
        "full_rows": {"pack": {"layout": "full_rows"}},
        "neftune-5": {"train": {"noise": {"kind": "uniform", "alpha": 5.0}}},
        "neftune-10": {"train": {"noise": {"kind": "uniform", "alpha": 10.0}}},
        "replay-5": {"mix": {"replay": {"paths": [text], "share": 0.05}}},
        "replay-10": {"mix": {"replay": {"paths": [text], "share": 0.1}}},
        "mixed": {"mix": {"sources": [{"name": "general", "data": general, "epochs": 1.0}]}},
        "sequential": {"phases": [{"name": "target"}, {"name": "general", "data": general}]},
        "dmt": {"phases": [{"name": "target"}, {"name": "general", "data": general, "mix": again}]},
    }


# Experiments


@dataclass(frozen=True, slots=True)
class Experiment:
    """A question. `arms` maps what an arm is called here to its name; `pairs` are subtracted, first minus second.

    `derive` works out further results from those of the arms, and which of these to subtract, in what is to be kept;
    `derived` is what the page calls them.
    """

    title: str
    question: str
    arms: dict[str, str]
    pairs: Pairs = ()
    is_about_speed: bool = False
    derive: Callable[[Sequence[Result]], tuple[list[Result], Pairs]] | None = None
    derived: str = ""

    def labeled(self, results: Sequence[Result]) -> list[Result]:
        """The results of the base and of its arms, under the names that the arms have here."""
        named = [(BASE, BASE), *self.arms.items()]
        return [{**each, "arm": label} for label, arm in named for each in of_arm(results, arm).values()]

    def differences(self, results: Sequence[Result]) -> list[Difference]:
        """All that is compared, from labeled results."""
        found = [compare(results, measure, *pair) for measure in MEASURES for pair in self.pairs]
        if self.derive is not None:
            derived, pairs = self.derive(results)
            found += [compare(derived, measure, *pair) for measure in KEPT for pair in pairs]
        return found


def equal_gain(results: Sequence[Result]) -> tuple[list[Result], Pairs]:
    """LoRA and full fine-tuning where both have lowered the target loss as far: for each seed and level of gain.

    The path of a method begins at the base and goes through its learning rates, smallest first; between two of its
    models every item is interpolated linearly. The whole gain is the largest that both reach in a seed; a seed in
    which one of them gains nothing has no such level, and is left out.
    """
    found: list[Result] = []
    start = target_loss(of_arm(results, BASE)[0])
    for seed in of_arm(results, rate_label("lora", RATES["lora"][0])):
        paths = {method: path_of(results, method, seed) for method in RATES}
        reached = max(min(map(target_loss, path)) for path in paths.values())
        for said, share in GAINS.items() if reached < start else ():
            level = reached + (1 - share) * (start - reached)
            found += [{**at_level(path, level), "arm": f"{each} {said}", "seed": seed} for each, path in paths.items()]
    known = {each["arm"] for each in found}
    return found, tuple((f"lora {said}", f"full {said}") for said in GAINS if f"lora {said}" in known)


def path_of(results: Sequence[Result], method: str, seed: int) -> list[Result]:
    """The base, then the models of a method and a seed by learning rate."""
    return [of_arm(results, BASE)[0], *(of_arm(results, rate_label(method, rate))[seed] for rate in RATES[method])]


def rate_label(method: str, rate: float) -> str:
    return f"{method} {rate:.0e}"


def target_loss(result: Result) -> float:
    return weighted_mean(result[MEASURES[0].key])


def at_level(path: Sequence[Result], level: float) -> Result:
    """Where a path first comes to `level` of the target loss; ValueError where it never does."""
    for before, after in pairwise(path):
        first, second = target_loss(before), target_loss(after)
        if min(first, second) <= level <= max(first, second):
            return blend(before, after, (first - level) / (first - second) if first != second else 0.0)
    raise ValueError(f"the path never comes to a target loss of {level:.3f}")


def blend(one: Result, other: Result, share: float) -> Result:
    """Each item a `share` of the way from one result to the other."""
    return {
        measure.key: [
            {**a, "value": (1 - share) * a["value"] + share * b["value"]}
            for a, b in zip(one[measure.key], other[measure.key], strict=True)
        ]
        for measure in MEASURES
    }


EXPERIMENTS = {
    "packing": Experiment(
        "Packing against padding",
        "Does it matter for the result, and for the speed, whether each conversation is a row of its own (padding), "
        "those of a step share rows (best_fit), or rows are filled across steps (full_rows)? In padding every row "
        "passes through the model by itself and no padded token is computed: its time is that of conversations one "
        "by one, not that of a padded micro-batch of several.",
        {"best_fit": PLAIN, "padding": "padding", "full_rows": "full_rows"},
        (("padding", "best_fit"), ("full_rows", "best_fit")),
        is_about_speed=True,
    ),
    "noise": Experiment(
        "NEFTune on and off",
        "Does uniform noise on the embeddings (Jain et al. 2023) lower the loss of held-out answers? The paper judged "
        "long free answers by preference, and what it found there need not show in losses.",
        {"off": PLAIN, "alpha 5": "neftune-5", "alpha 10": "neftune-10"},
        (("alpha 5", "off"), ("alpha 10", "off")),
    ),
    "replay": Experiment(
        "Replay against forgetting",
        "Does a share of plain text among the supervised tokens keep the loss on other plain text from rising, and "
        "what does it cost on the target? The replay comes on top of the target's conversations, so these arms train "
        "on more tokens, and visit the conversations in another order.",
        {"0 %": PLAIN, "5 %": "replay-5", "10 %": "replay-10"},
        (("0 %", BASE), ("5 %", "0 %"), ("10 %", "0 %")),
    ),
    "adapter": Experiment(
        "LoRA against full fine-tuning, at equal gain",
        "Which of the two forgets more, where both have learned as much? Each is trained at three learning rates; "
        "what was forgotten is read off where both have come to the same target loss, on the way from the base "
        "through these models, with straight lines between them. The whole gain is the largest that both reach in a "
        "seed.",
        {rate_label(method, rate): rate_arm(method, rate) for method, rates in RATES.items() for rate in rates},
        derive=equal_gain,
        derived="Where both have gained as much",
    ),
    "dmt": Experiment(
        "Dual-stage mixed fine-tuning against sequential and mixed",
        "The target's data and general data together (mixed), one after the other (sequential), or general data last "
        f"with a part of the target's among them (dmt, k = {FRACTION:g}; Dong et al. 2023): what is kept of both? All "
        "see the same conversations as often, but for those that dmt sees again.",
        {name: name for name in ("mixed", "sequential", "dmt")},
        (("sequential", "mixed"), ("dmt", "mixed"), ("dmt", "sequential")),
    ),
}


# The page


def arms_table(results: Sequence[Result]) -> str:
    """Mean ± standard deviation over seeds of each measure."""
    lines = [f"| arm | {' | '.join(each.title for each in MEASURES)} |", f"|---|{'---:|' * len(MEASURES)}"]
    for arm in dict.fromkeys(each["arm"] for each in results):
        found = of_arm(results, arm).values()
        cells = [spelled([weighted_mean(each[measure.key]) for each in found]) for measure in MEASURES]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


def speed_table(results: Sequence[Result], arms: Sequence[str]) -> str:
    """Seconds and tokens a second of training, and how many times as fast as the first of `arms`.

    The ratio is the geometric mean over seeds, with Student's t interval of its logarithm.
    """
    lines = ["| arm | steps | seconds | tokens/s | times as fast | 95 % over seeds |", "|---|---:|---:|---:|---:|---:|"]
    first = of_arm(results, arms[0])
    for arm in arms:
        found = of_arm(results, arm)
        ratios = [math.log(speed(each) / speed(first[seed])) for seed, each in found.items()]
        interval = mean_interval(ratios) if arm != arms[0] and len(ratios) > 1 else None
        cells = [
            f"{statistics.fmean(each['num_steps'] for each in found.values()):g}",
            f"{statistics.fmean(each['seconds']['train'] for each in found.values()):.1f}",
            f"{statistics.fmean(map(speed, found.values())):,.0f}",
            f"{math.exp(statistics.fmean(ratios)):.2f}",
            f"{math.exp(interval[0]):.2f} to {math.exp(interval[1]):.2f}" if interval else "no spread",
        ]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


def speed(result: Result) -> float:
    """Non-pad tokens a second in optimizer steps."""
    return float(result["num_tokens"] / result["seconds"]["train"])


def page(
    experiment: Experiment, results: Sequence[Result], differences: Sequence[Difference], facts: dict[str, Any]
) -> str:
    """The whole account of an experiment, in Markdown; `results` are labeled."""
    sizes = ", ".join(f"{len(results[0][each.key])} ({each.title})" for each in MEASURES)
    speeds = f"## Speed\n\n{speed_table(results, list(experiment.arms))}\n\n" if experiment.is_about_speed else ""
    derived = experiment.derive(results)[0] if experiment.derive else []
    worked_out = f"## {experiment.derived}\n\n{arms_table(derived)}\n\n" if derived else ""
    listed = "\n".join(f"- {reading(each)}" for each in differences) or "- Nothing can be compared: see the arms."
    told = "\n".join(f"- {name}: {value}" for name, value in facts["how"].items())
    return (
        f"# {experiment.title}\n\n{experiment.question}\n\n{facts['note']}\n\n"
        f"## Arms\n\nMean ± standard deviation over seeds {', '.join(map(str, facts['seeds']))}, in nats per "
        f"supervised token. The base is one model, so it has no spread. Items: {sizes}.\n\n{arms_table(results)}\n\n"
        f"{speeds}{worked_out}## Differences\n\nPaired by seed (Student's t) and by item (averaged over seeds). "
        f"{len(differences)} comparisons; the intervals are not widened for their number. Lower is better.\n\n"
        f"{differences_table(differences)}\n\n## What the numbers say\n\n{listed}\n\n## How it was run\n\n{told}\n"
    )
