"""From votes to figures: one pair and one judge at a time; the faults of the judge; strengths of several models."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from tunesmith import stats
from tunesmith.errors import EvaluateError
from tunesmith.evaluate.judging.votes import Vote
from tunesmith.stats import Agreement, Corrected, Interval, LengthControlled

T = TypeVar("T")
Key = tuple[str, str]
"""An item, and the digest of the answers to it."""

VALUES = {"a": 1.0, "tie": 0.5, "b": 0.0}
FEWEST_LABELS = 10
ENOUGH_LABELS = 50


class Share(NamedTuple):
    """So many of so many, and the interval of their share."""

    hits: int
    of: int

    @property
    def value(self) -> float:
        return self.hits / self.of if self.of else float("nan")

    @property
    def interval(self) -> Interval:
        return stats.wilson_interval(self.hits, self.of) if self.of else (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Faults:
    """What a judge's own votes say against it.

    `unread`: verdicts that could not be read. `by_place`: duels whose two orders gave opposite winners, or a winner
    and a tie. `first`: of the items that the place alone decided, those that went to the first place; of people's
    votes, those for the answer shown first. `longer`: decided items that went to the longer answer. `reworded`: items
    whose verdict changed when the same was asked in other words. `same_decided`: equal answers between which a
    difference was found.
    """

    unread: Share
    by_place: Share
    first: Share
    longer: Share
    reworded: Share
    same_decided: Share


@dataclass(frozen=True, slots=True)
class PairFigures:
    """How often one judge, or all people together, preferred `a` to `b`, item by item.

    `human` and `corrected` are of a model judge, where people judged some of the same answers: how far both agree,
    and the win rate that people would give, by prediction-powered inference.
    """

    a: str
    b: str
    judge: str
    is_human: bool
    num_items: int
    won: int
    lost: int
    win_rate: float
    interval: Interval
    length_controlled: LengthControlled
    faults: Faults
    human: Agreement | None = None
    corrected: Corrected | None = None


class Strength(NamedTuple):
    """One model among several: its strength in log-odds around the mean of all, with its interval."""

    model: str
    value: float
    low: float
    high: float
    num_items: int


def pair_figures(votes: Iterable[Vote]) -> list[PairFigures]:
    """Figures of each pair and judge, people first; of a pair without a readable vote there are none."""
    between: dict[tuple[str, str], list[Vote]] = defaultdict(list)
    same: list[Vote] = []
    for vote in votes:
        if vote.a == vote.b:
            same.append(vote)
            continue
        pair = (vote.b, vote.a) if (vote.b, vote.a) in between else (vote.a, vote.b)
        between[pair].append(vote.seen_from(pair[0]))
    return [found for (a, b), some in between.items() for found in _of_pair(a, b, some, same)]


def _of_pair(a: str, b: str, votes: Sequence[Vote], same: Sequence[Vote]) -> Iterable[PairFigures]:
    human = [vote for vote in votes if vote.kind == "human"]
    labels = _human_values(human)
    voters = sorted({vote.judge for vote in human})
    if labels:
        yield _figures(a, b, ", ".join(voters), human, labels, ())
    judges = dict.fromkeys((vote.judge, vote.judge_digest) for vote in votes if vote.kind == "model")
    for name, digest in judges:
        own = [vote for vote in votes if vote.kind == "model" and vote.judge_digest == digest and vote.judge == name]
        values = model_values(vote for vote in own if vote.wording == 0)
        checks = [vote for vote in same if vote.judge_digest == digest and vote.judge == name and vote.a in (a, b)]
        if values:
            yield _figures(a, b, name, own, values, checks, labels)


def _figures(
    a: str,
    b: str,
    judge: str,
    votes: Sequence[Vote],
    values: dict[Key, float],
    checks: Sequence[Vote],
    labels: dict[Key, float] | None = None,
) -> PairFigures:
    outcomes = [rounded(value) for value in values.values()]
    both = [key for key in values if key in (labels or {})]
    return PairFigures(
        a=a,
        b=b,
        judge=judge,
        is_human=labels is None,
        num_items=len(values),
        won=outcomes.count(1.0),
        lost=outcomes.count(0.0),
        win_rate=stats.win_rate(outcomes),
        interval=stats.win_rate_interval(outcomes),
        length_controlled=_length_controlled([vote for vote in votes if vote.wording == 0], values),
        faults=_faults(votes, values, checks),
        human=_agreement(values, labels, both) if labels and both else None,
        corrected=_corrected(values, labels, both) if labels and len(both) >= FEWEST_LABELS else None,
    )


def rounded(value: float) -> float:
    """Won, lost or tied, of several people's mean."""
    return 1.0 if value > 0.5 else 0.0 if value < 0.5 else 0.5


def _human_values(votes: Iterable[Vote]) -> dict[Key, float]:
    """The mean vote of the people on each item; skipped ones say nothing."""
    told: dict[Key, list[float]] = defaultdict(list)
    for vote in votes:
        if vote.winner != "none":
            told[vote.item, vote.answers].append(VALUES[vote.winner])
    return {key: sum(some) / len(some) for key, some in told.items()}


def model_values(votes: Iterable[Vote]) -> dict[Key, float]:
    """Of each item that was read in both orders: won, lost, or tied, also where the orders disagree."""
    told: dict[Key, dict[str, float]] = defaultdict(dict)
    for vote in votes:
        if vote.winner != "none":
            told[vote.item, vote.answers][vote.order] = VALUES[vote.winner]
    agreed = {key: set(orders.values()) for key, orders in told.items() if len(orders) == 2}
    return {key: some.pop() if len(some) == 1 else 0.5 for key, some in agreed.items()}


def _length_controlled(votes: Sequence[Vote], values: dict[Key, float]) -> LengthControlled:
    rows = [vote for vote in votes if (vote.item, vote.answers) in values and vote.winner != "none"]
    number = {item: index for index, item in enumerate(dict.fromkeys(vote.item for vote in rows))}
    return stats.length_controlled(
        [VALUES[vote.winner] for vote in rows],
        [vote.length_a - vote.length_b for vote in rows],
        [vote.order == "ab" for vote in rows],
        [number[vote.item] for vote in rows],
    )


def _faults(votes: Sequence[Vote], values: dict[Key, float], checks: Sequence[Vote]) -> Faults:
    asked = [vote for vote in votes if not vote.is_same and vote.wording == 0]
    lengths = {(vote.item, vote.answers): vote.length_a - vote.length_b for vote in asked}
    decided = [key for key, value in values.items() if rounded(value) != 0.5 and lengths.get(key)]
    again = model_values(vote for vote in votes if vote.wording == 1 and not vote.is_same)
    told = [vote for vote in checks if vote.winner != "none"]
    return Faults(
        unread=_share(asked, lambda vote: vote.winner == "none"),
        by_place=_share(_both_orders(asked), lambda each: each["ab"] != each["ba"]),
        first=_first_place(asked),
        longer=_share(decided, lambda key: (rounded(values[key]) == 1) == (lengths[key] > 0)),
        reworded=_share([key for key in again if key in values], lambda key: again[key] != values[key]),
        same_decided=_share(told, lambda vote: vote.winner != "tie"),
    )


def _share(members: Sequence[T], counts: Callable[[T], bool]) -> Share:
    return Share(sum(counts(member) for member in members), len(members))


def _both_orders(votes: Sequence[Vote]) -> list[dict[str, str]]:
    """The winners by order, of each item that a model read in both."""
    told: dict[Key, dict[str, str]] = defaultdict(dict)
    for vote in votes:
        if vote.winner != "none" and vote.kind == "model":
            told[vote.item, vote.answers][vote.order] = vote.winner
    return [each for each in told.values() if len(each) == 2]


def _first_place(votes: Sequence[Vote]) -> Share:
    """Of a model's items that one place won in both orders, those of the first place; of people's decided votes,
    those for the answer shown first, for each of them saw one order."""
    placed = [each["ab"] == "a" for each in _both_orders(votes) if {each["ab"], each["ba"]} == {"a", "b"}]
    decided = [vote for vote in votes if vote.kind == "human" and vote.winner in ("a", "b")]
    return _share([*placed, *((vote.winner == "a") == (vote.order == "ab") for vote in decided)], bool)


def _agreement(values: dict[Key, float], labels: dict[Key, float], both: Sequence[Key]) -> Agreement:
    return stats.agreement([str(values[key]) for key in both], [str(rounded(labels[key])) for key in both])


def _corrected(values: dict[Key, float], labels: dict[Key, float], both: Sequence[Key]) -> Corrected:
    others = [value for key, value in values.items() if key not in labels]
    return stats.prediction_powered_mean([labels[key] for key in both], [values[key] for key in both], others)


def strengths(votes: Iterable[Vote]) -> list[Strength]:
    """Bradley-Terry strengths (with Davidson's ties) of all models from the votes of all judges, strongest first.

    Raises EvaluateError where votes do not connect all models. Votes are counted one by one and drawn anew by item.
    """
    told = [vote for vote in votes if vote.a != vote.b and vote.winner != "none" and vote.wording == 0]
    models = list(dict.fromkeys(name for vote in told for name in (vote.a, vote.b)))
    number = {name: index for index, name in enumerate(models)}
    pairs = sorted({_ordered(number[vote.a], number[vote.b]) for vote in told})
    groups = stats.connected_groups(pairs, len(models))
    if len(groups) > 1:
        named = "; ".join(", ".join(models[index] for index in group) for group in groups)
        raise EvaluateError(f"no vote connects these groups of models, so they have no order: {named}")
    items = {item: index for index, item in enumerate(dict.fromkeys(vote.item for vote in told))}
    counts = np.zeros((len(items), len(pairs), 3))
    for vote in told:
        first, second = _ordered(number[vote.a], number[vote.b])
        seen = vote.seen_from(models[first])
        counts[items[vote.item], pairs.index((first, second)), ("a", "b", "tie").index(seen.winner)] += 1
    found = stats.strength_intervals(pairs, counts, len(models))
    asked = [len({vote.item for vote in told if name in (vote.a, vote.b)}) for name in models]
    rows = zip(models, found.fitted.values, found.low, found.high, asked, strict=True)
    made = [Strength(name, float(value), float(low), float(high), num) for name, value, low, high, num in rows]
    return sorted(made, key=lambda each: -each.value)


def _ordered(first: int, second: int) -> tuple[int, int]:
    return (first, second) if first < second else (second, first)
