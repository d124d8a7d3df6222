"""What an alignment tax is: a set of prompts that ship with the package, and a measure of the answers to it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tunesmith.generate import Sampling
from tunesmith.types import Better, Sample
from tunesmith.verify import Item


@dataclass(frozen=True, slots=True)
class PanelSet:
    """A built-in set and how it is asked. It is asked once; several taxes may read the answers."""

    name: str
    """The built-in set, and the task of the samples."""

    scorer: str
    """The built-in scorer that gives each sample its score and its sentence."""

    sampling: Sampling
    num_samples: int = 1
    """Answers to each item; more than one needs a temperature."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One sample, beside the item that it answers."""

    item: Item
    sample: Sample

    @property
    def text(self) -> str:
        return self.sample.completion


Measure = Callable[[Sequence[Answer]], dict[str, float]]
"""The answers of one model to a set -> a value an item, by item id. Items that it does not concern are left out.
Pure: base and tuned model are measured apart, and compared item by item like any task."""


@dataclass(frozen=True, slots=True)
class Tax:
    """One way in which tuning may cost something that nobody asked to pay."""

    name: str
    panel_set: PanelSet
    about: str
    """One sentence for a manager."""

    better: Better
    unit: str
    """Empty for a share of the items."""

    measure: Measure
    facts: Callable[[Sequence[Answer]], dict[str, float]] | None = None
    """Figures of the whole set that are no mean over items, to be shown; nothing is judged by them."""

    is_matched: bool = False
    """Whether the answers of base and tuned model are first cut to the length of the shorter one, item by item:
    such a tax exists in a comparison only."""

    version: int = 1
    """Raise it when the measure changes, so that old values are not reused."""


def each_text(value: Callable[[str], float]) -> Measure:
    """A measure that looks at each answer's text alone; several answers to an item give their mean."""
    return each_sample(lambda sample: value(sample.completion))


def each_sample(value: Callable[[Sample], float]) -> Measure:
    """A measure of each sample alone; several samples of an item give their mean."""
    return each_answer(lambda answer: value(answer.sample))


def each_answer(value: Callable[[Answer], float], tag: str | None = None) -> Measure:
    """A measure of each answer to the items with `tag`; several answers to an item give their mean."""

    def measure(answers: Sequence[Answer]) -> dict[str, float]:
        chosen = (answer for answer in answers if tag is None or tag in answer.item.tags)
        return mean_by_item((answer.item.id, value(answer)) for answer in chosen)

    return measure


def mean_by_item(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The mean of the values that belong to each item, in order of first appearance."""
    values: dict[str, list[float]] = {}
    for item, value in pairs:
        values.setdefault(item, []).append(value)
    return {item: sum(found) / len(found) for item, found in values.items()}
