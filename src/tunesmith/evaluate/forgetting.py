"""Forgetting: what general text costs the model now, and how far its predictions have moved from the base's.

`loss_general` is measured of each model alone; `kl_general` compares two, so it is 0 for the base. Both are
continuous, and therefore show small harms with few items.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from tunesmith.errors import SkippedError
from tunesmith.evaluate import Task
from tunesmith.evaluate.prices import PRICES
from tunesmith.files import canonical_json, fingerprint, read_json, write_json
from tunesmith.generate import Prompt, Window
from tunesmith.generate.ledger import Ledger, ledger_path
from tunesmith.progress import Progress
from tunesmith.types import Message, Report, Sample, TaskReport
from tunesmith.verify import Item

if TYPE_CHECKING:
    from tunesmith.generate.divergence import Differ

LOSS, DIVERGENCE = "loss_general", "kl_general"
NAMES = (LOSS, DIVERGENCE)
ANSWERS_TO = "panel:writing"
WINDOW = Window(512, 256)
VERSION = 1


@dataclass(frozen=True, slots=True)
class Probe:
    """A text on which two models are compared: a passage, or an answer of the base to `messages`."""

    id: str
    cluster: str
    messages: tuple[Message, ...]
    text: str

    @property
    def prompt(self) -> Prompt:
        return Prompt(self.messages) if self.messages else Prompt(text="")


def loss_task(passages: Sequence[Item]) -> Task:
    """The loss of general text, in nats per token, a value a passage; bits per byte stand beside it."""
    price = PRICES["text_loss"]
    return Task(
        name=LOSS,
        items=tuple(passages),
        judge=price,
        judge_fingerprint=f"text_loss@{price.version}",
        window=WINDOW,
        better=price.better,
        unit=price.unit,
        about="Loss of general text that nobody tuned for: it grows when a model forgets.",
        group="forgetting",
    )


def probes(passages: Iterable[Item], asked: Iterable[Item], base_samples: Iterable[Sample]) -> list[Probe]:
    """The passages, and the greedy answers that the base gave to the open questions `asked`, where it did."""
    texts = [Probe(each.id, each.cluster, (), str(each.answer["value"])) for each in passages]
    questions = {each.id: each for each in asked}
    answers = [
        Probe(f"answer:{each.item_id}", f"answer:{each.cluster}", questions[each.item_id].messages, each.completion)
        for each in base_samples
        if each.task == ANSWERS_TO and each.item_id in questions and each.completion
    ]
    return texts + answers


def divergences(
    asked: Sequence[Probe], make: Callable[[], "Differ"], ledger: str, mark: str, label: str = "divergence"
) -> TaskReport:
    """KL(base || tuned) on each probe, its mean over tokens, in nats.

    `mark` names both models and all else that decides a value; what stands under it in the ledger is read, and `make`
    loads the models only where something is missing. Skipped with the reason where `make` raises SkippedError.
    """
    known = ledger_path(ledger)
    try:
        values = _measured(asked, make, Ledger(known) if known else None, mark, label)
    except SkippedError as reason:
        return _report(asked, {}, str(reason))
    return _report(asked, values, "")


def _measured(
    asked: Sequence[Probe], make: Callable[[], "Differ"], ledger: Ledger | None, mark: str, label: str
) -> dict[str, float]:
    values: dict[str, float] = {}
    differ: Differ | None = None
    with Progress(label, len(asked)) as progress:
        for probe in asked:
            key = _key(mark, probe)
            value = None if ledger is None else ledger.get(key)
            if value is None:
                differ = differ or make()
                value = differ.divergence(probe.prompt, probe.text)[0]
                value = value if ledger is None else ledger.put(key, value)
            values[probe.id] = value
            progress.advance(1, shown={"task": DIVERGENCE})
    return values


def _key(mark: str, probe: Probe) -> str:
    payload = canonical_json({"divergence": VERSION, "mark": mark, "window": asdict(WINDOW), "probe": asdict(probe)})
    return hashlib.sha256(payload.encode("utf-8", "surrogatepass")).hexdigest()


def _report(asked: Sequence[Probe], values: Mapping[str, float], skipped: str) -> TaskReport:
    texts, answers = ([values[each.id] for each in asked if bool(each.messages) == of and values] for of in (0, 1))
    return TaskReport(
        task=DIVERGENCE,
        items_digest=fingerprint([asdict(each) for each in asked]),
        scores=values,
        clusters={each.id: each.cluster for each in asked if values},
        better="lower",
        unit="nats per token",
        about="How far the predictions of the next word have moved from the base's: KL(base || tuned) on general text "
        "and on the base's own answers.",
        group="forgetting",
        skipped=skipped,
        facts={name: fmean(part) for name, part in (("kl_of_texts", texts), ("kl_of_answers", answers)) if part},
    )


def write_divergence(path: Path, base_digest: str, tuned_digest: str, report: TaskReport) -> None:
    """Keep a divergence with the names of the two models that it belongs to."""
    write_json(path, {"base": base_digest, "tuned": tuned_digest, "report": report})


def with_divergence(base: Report, tuned: Report, path: Path) -> tuple[Report, Report]:
    """Both reports with the divergence that `path` holds, 0 for the base; as they are where it is of other models."""
    if not path.is_file():
        return base, tuned
    found: dict[str, Any] = read_json(path)
    if (found["base"], found["tuned"]) != (base.model_digest, tuned.model_digest):
        return base, tuned
    after = TaskReport(**found["report"])
    before = replace(after, scores=dict.fromkeys(after.scores, 0.0), facts={})
    return replace(base, tasks=(*base.tasks, before)), replace(tuned, tasks=(*tuned.tasks, after))
