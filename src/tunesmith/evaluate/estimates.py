"""What several samples of an item, or a whole set of them, come to."""

from collections.abc import Mapping, Sequence
from math import comb
from statistics import fmean

from tunesmith.errors import EvaluateError
from tunesmith.types import Sample
from tunesmith.verify import Item
from tunesmith.verify.instructions import Mode, judged
from tunesmith.verify.labels import read_label


def item_values(samples: Sequence[Sample], pass_at: int | None) -> dict[str, float]:
    """The value of each item, in order of first appearance: the mean over its samples, or pass@k."""
    scores: dict[str, list[float]] = {}
    for sample in samples:
        scores.setdefault(sample.item_id, []).append(sample.score)
    if pass_at is None:
        return {item: fmean(values) for item, values in scores.items()}
    return {item: _pass_at(item, values, pass_at) for item, values in scores.items()}


def pass_at_k(num_samples: int, num_right: int, k: int) -> float:
    """The unbiased estimate of the chance that one of `k` samples is right, 1 - C(n - c, k) / C(n, k).

    Source: Chen et al. (2021), Evaluating large language models trained on code, section 2.1.
    """
    if not (0 <= num_right <= num_samples and 1 <= k <= num_samples):
        raise EvaluateError(f"pass@{k} of {num_samples} samples with {num_right} right: k must be 1 to {num_samples}")
    return 1.0 - comb(num_samples - num_right, k) / comb(num_samples, k)


def _pass_at(item: str, values: Sequence[float], k: int) -> float:
    if any(value not in (0.0, 1.0) for value in values):
        raise EvaluateError(f"item {item!r}: pass_at counts samples that are right, but a score is not 0 or 1")
    return pass_at_k(len(values), sum(value == 1.0 for value in values), k)


def label_facts(items: Sequence[Item], samples: Sequence[Sample]) -> dict[str, float]:
    """Macro-F1 of a classification: the mean of the labels' F1, over the labels that were expected or given.

    An answer that names no label is one the classifier did not give: it lowers recall alone.
    """
    expected = {item.id: str(item.answer["value"]) for item in items}
    by_id = {item.id: item for item in items}
    pairs = [
        (expected[sample.item_id], read_label(by_id[sample.item_id].record, sample.completion)) for sample in samples
    ]
    labels = sorted({label for pair in pairs for label in pair if label is not None})
    return {"macro_f1": fmean(_f1(label, pairs) for label in labels)}


def _f1(label: str, pairs: Sequence[tuple[str, str | None]]) -> float:
    hits = sum(wanted == label == seen for wanted, seen in pairs)
    wrong = sum((wanted == label) != (seen == label) for wanted, seen in pairs)
    return 2 * hits / (2 * hits + wrong)


def instruction_facts(items: Sequence[Item], samples: Sequence[Sample]) -> dict[str, float]:
    """IFEval's four figures: the shares of prompts and of instructions that are followed, strictly and loosely.

    Their gap on prompts marks answers with a preamble, a closing line or asterisks that nobody asked for.
    """
    records = {item.id: item.record for item in items}
    facts: dict[str, float] = {}
    modes: tuple[Mode, ...] = ("strict", "loose")
    for mode in modes:
        verdicts = [judged(records[sample.item_id], sample.completion, mode) for sample in samples]
        facts[f"prompt_{mode}"] = fmean(each.all_followed for each in verdicts)
        facts[f"instruction_{mode}"] = fmean(seen.followed for each in verdicts for seen in each.findings)
    return facts | {"prompt_gap": facts["prompt_loose"] - facts["prompt_strict"]}


def facts_of(items: Sequence[Item], samples: Sequence[Sample], judge: str) -> Mapping[str, float]:
    """Figures of a whole task that are no mean over items."""
    from tunesmith.evaluate.prices import PRICES, text_facts

    if judge in ("bits_per_byte", "text_loss"):
        return text_facts(items, samples, PRICES[judge].unit)
    if judge in ("ifeval_strict", "ifeval_loose"):
        return instruction_facts(items, samples)
    if all(item.answer.get("type") == "label" and item.choices for item in items):
        return label_facts(items, samples)
    return {}
