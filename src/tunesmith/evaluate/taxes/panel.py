"""The panel: the sets of all taxes as tasks, asked like any other, and each tax's report from their samples."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tunesmith.evaluate import Task
from tunesmith.evaluate.taxes import TAXES
from tunesmith.evaluate.taxes.tax import Answer, PanelSet, Tax
from tunesmith.types import Report, Sample, TaskReport
from tunesmith.verify import Item, items_digest, load_scorer

PANEL = "panel:"
ReadSet = Callable[[str], list[Item]]


def panel_tasks(read_set: ReadSet) -> tuple[Task, ...]:
    """One task for each set of the panel, named `panel:SET`; `read_set` gives the items of a built-in set."""
    return tuple(_task(panel_set, read_set(panel_set.name)) for panel_set in _sets())


def tax_reports(task: Task, samples: Sequence[Sample], skipped: str = "") -> list[TaskReport]:
    """What each tax that reads this task's samples measures of one model."""
    answers = [] if skipped else _answers(task.items, samples)
    return [_report(tax, task.items, answers, skipped) for tax in task.taxes]


def matched_taxes(
    base: Report, tuned: Report, base_samples: Sequence[Sample], tuned_samples: Sequence[Sample], read_set: ReadSet
) -> tuple[Report, Report]:
    """Both reports, with the taxes that need answers of one length: these exist in a comparison only.

    They are left out where either model was not asked the same items of the set.
    """
    reports: tuple[list[TaskReport], list[TaskReport]] = ([], [])
    for panel_set in _sets():
        name = PANEL + panel_set.name
        pairs = _matched(*(_by_key(samples, name) for samples in (base_samples, tuned_samples)))
        if not pairs:
            continue
        items = read_set(panel_set.name)
        for tax in (each for each in TAXES if each.panel_set == panel_set and each.is_matched):
            for place, samples in zip(reports, zip(*pairs, strict=True), strict=True):
                place.append(_report(tax, items, _answers(items, samples), ""))
    return _extended(base, reports[0]), _extended(tuned, reports[1])


def same_length(one: str, other: str) -> tuple[str, str]:
    """Two texts, the longer one cut to the other's number of UTF-8 bytes (a character in two is left out)."""
    raw = [text.encode("utf-8", "replace") for text in (one, other)]
    shortest = min(map(len, raw))
    first, second = (each[:shortest].decode("utf-8", "ignore") for each in raw)
    return first, second


def _sets() -> tuple[PanelSet, ...]:
    return tuple(dict.fromkeys(tax.panel_set for tax in TAXES))


def _task(panel_set: PanelSet, items: Iterable[Item]) -> Task:
    taxes = tuple(tax for tax in TAXES if tax.panel_set == panel_set and not tax.is_matched)
    scorer, mark = load_scorer(panel_set.scorer, Path.cwd())
    versions = " ".join(f"{tax.name}@{tax.version}" for tax in taxes)
    return Task(
        name=PANEL + panel_set.name,
        items=tuple(items),
        judge=scorer,
        judge_fingerprint=f"{mark} {versions}",
        sampling=panel_set.sampling,
        num_samples=panel_set.num_samples,
        group="tax",
        taxes=taxes,
    )


def _answers(items: Iterable[Item], samples: Iterable[Sample]) -> list[Answer]:
    known = {item.id: item for item in items}
    return [Answer(known[sample.item_id], sample) for sample in samples]


def _report(tax: Tax, items: Sequence[Item], answers: Sequence[Answer], skipped: str) -> TaskReport:
    values = tax.measure(answers)
    clusters = {item.id: item.cluster for item in items if item.id in values}
    return TaskReport(
        task=tax.name,
        items_digest=items_digest(items),
        scores=values,
        clusters=clusters,
        better=tax.better,
        unit=tax.unit,
        about=tax.about,
        group="tax",
        skipped=skipped,
        facts=tax.facts(answers) if tax.facts is not None and answers else {},
    )


def _by_key(samples: Iterable[Sample], task: str) -> Mapping[tuple[str, int], Sample]:
    return {(sample.item_id, sample.number): sample for sample in samples if sample.task == task}


def _matched(
    base: Mapping[tuple[str, int], Sample], tuned: Mapping[tuple[str, int], Sample]
) -> list[tuple[Sample, Sample]]:
    if base.keys() != tuned.keys():
        return []
    return [_cut(base[key], tuned[key]) for key in base]


def _cut(base: Sample, tuned: Sample) -> tuple[Sample, Sample]:
    one, other = same_length(base.completion, tuned.completion)
    return replace(base, completion=one), replace(tuned, completion=other)


def _extended(report: Report, more: Iterable[TaskReport]) -> Report:
    return replace(report, tasks=(*report.tasks, *more))
