"""Running tasks: every sample is on disk as soon as it is scored, so that a crash loses nothing that was finished."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tunesmith.errors import NoLikelihoodError, SkippedError, TemplateRefusal
from tunesmith.evaluate import Task
from tunesmith.evaluate.estimates import facts_of, item_values
from tunesmith.evaluate.prices import Price
from tunesmith.evaluate.taxes.panel import tax_reports
from tunesmith.evaluate.vault import VAULT, count_look, redacted, sealed
from tunesmith.files import atomic_write, canonical_json, read_jsonl, write_json, write_jsonl
from tunesmith.generate import Completion, Generator, Likelihood, Prompt
from tunesmith.generate.certificate import Certifier
from tunesmith.progress import Progress
from tunesmith.stats import hash_order
from tunesmith.types import Report, Sample, Score, TaskReport
from tunesmith.verify import Item, apply_scorer, items_digest

SAMPLES = "samples.jsonl"
REPORT = "report.json"
Known = dict[tuple[str, str, int], Sample]
Keep = Callable[[Sample], None]


def run_tasks(
    tasks: Sequence[Task], generator: Generator, folder: Path, label: str, certifier: Certifier | None = None
) -> Report:
    """See `tunesmith.evaluate.evaluate`."""
    parts = {False: tuple(task for task in tasks if not task.is_sealed)}
    parts[True] = tuple(task for task in tasks if task.is_sealed)
    reports: dict[str, TaskReport] = {}
    with Progress(label, sum(len(task.items) * task.num_samples for task in tasks)) as progress:
        for is_sealed, some in parts.items():
            if some or not is_sealed:
                place = folder / VAULT if is_sealed else folder
                reports |= {each.task: each for each in _run_part(some, generator, place, progress)}
    for task in parts[True]:
        looks = count_look(task, generator.digest, folder)
        reports[task.name] = sealed(reports[task.name], looks)
    ordered = tuple(reports[name] for task in tasks for name in task.report_names)
    noise = noise_of(tasks, generator, certifier) if certifier else {}
    report = Report(label, generator.digest, ordered, generator.engine, noise)
    write_json(folder / REPORT, report)
    return report


def noise_of(tasks: Sequence[Task], generator: Generator, certifier: Certifier) -> dict[str, Any]:
    """The engine's own noise, by some items of the first task that is answered greedily and is not sealed."""
    for task in tasks:
        if not (task.is_sealed or isinstance(task.judge, Price) or task.sampling.temperature):
            order = hash_order([item.id for item in task.items], task.name)[: certifier.num_items]
            items = [task.items[place] for place in order]
            facts = certifier(generator, [prompt_of(item) for item in items], task.sampling)
            named = {"fragile": [(items[place].id, gap) for place, gap in facts["fragile"]]}
            return {**facts, **named, "flipped": [items[place].id for place in facts["flipped"]], "task": task.name}
    return {}


def _run_part(tasks: Sequence[Task], generator: Generator, folder: Path, progress: Progress) -> list[TaskReport]:
    """Ask the tasks whose samples lie in `folder`, and write them there in order."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o755 if folder.name != VAULT else 0o700)
    known = samples_so_far(folder / SAMPLES)
    skipped: dict[str, str] = {}
    with (folder / SAMPLES).open("a", encoding="utf-8") as file:
        for task in tasks:
            if task.unmeasured:
                skipped[task.name] = task.unmeasured
                continue

            def keep(sample: Sample, task: Task = task) -> None:
                sample = redacted(sample) if task.is_sealed else sample
                file.write(json.dumps(asdict(sample), ensure_ascii=False) + "\n")
                file.flush()
                known[sample.task, sample.item_id, sample.number] = sample
                progress.advance(1, shown={"task": task.name})

            try:
                _ask(task, generator, known, keep, progress)
            except SkippedError as reason:
                skipped[task.name] = str(reason)
            except TemplateRefusal as reason:
                if task.group == "task":
                    raise
                # The user did not write these prompts: a template without a system role is no reason to stop.
                skipped[task.name] = f"the chat template refuses its prompts: {reason}"
            except NoLikelihoodError as reason:
                if task.group == "task":
                    raise
                skipped[task.name] = str(reason)
    ordered = {task.name: _samples_of(task, known) for task in tasks if task.name not in skipped}
    write_jsonl(folder / SAMPLES, [sample for samples in ordered.values() for sample in samples])
    reports = [
        report for task in tasks for report in _reports(task, ordered.get(task.name, ()), skipped.get(task.name, ""))
    ]
    if folder.name == VAULT:
        write_json(folder / REPORT, {"tasks": reports})
    return reports


def samples_so_far(path: Path) -> Known:
    """What a run that died left behind; a line that its death tore is not counted, and leaves the file."""
    found: Known = {}
    if not path.exists():
        return found
    lines = path.read_bytes().split(b"\n")
    whole = []
    for line in lines[:-1]:
        try:
            sample = Sample(**json.loads(line))
        except (ValueError, TypeError):  # torn, or of another version
            continue
        found[sample.task, sample.item_id, sample.number] = sample
        whole.append(line + b"\n")
    if len(whole) < len(lines) - 1 or lines[-1]:
        with atomic_write(path, "wb") as file:
            file.writelines(whole)
    return found


def read_samples(folder: Path) -> tuple[Sample, ...]:
    """The answers of an evaluate folder; none where they were not kept."""
    path = folder / SAMPLES
    return tuple(Sample(**raw) for _, raw in read_jsonl(path)) if path.is_file() else ()


def _ask(task: Task, generator: Generator, known: Known, keep: Keep, progress: Progress) -> None:
    """Ask what is not known yet; `keep` receives each sample as soon as it is scored."""
    wanted = [(item, number) for number in range(task.num_samples) for item in task.items]
    asked = [(item, number) for item, number in wanted if (task.name, item.id, number) not in known]
    progress.advance(len(wanted) - len(asked), shown={"task": task.name})
    if not asked:
        return
    prompts = [prompt_of(item, number) for item, number in asked]
    judge = task.judge
    if isinstance(judge, Price):
        offers = [judge.offers(item) for item, _ in asked]

        def priced(index: int, found: tuple[Likelihood, ...]) -> None:
            keep(_priced(task, judge, asked[index][0], found))

        generator.log_likelihood(prompts, offers, task.window, priced)
        return

    def answered(index: int, completion: Completion) -> None:
        item, number = asked[index]
        score = apply_scorer(judge, item, completion.text)
        keep(_sample(task, item, number, completion, score))

    generator.generate(prompts, task.sampling, answered)


def prompt_of(item: Item, sample: int = 0) -> Prompt:
    """What a golden item asks."""
    return Prompt(item.messages, item.tools, item.text, sample, item.begun)


def _sample(task: Task, item: Item, number: int, completion: Completion, score: Score) -> Sample:
    return Sample(
        task=task.name,
        item_id=item.id,
        cluster=item.cluster,
        prompt=prompt_text(item),
        expected=expected_text(item),
        completion=completion.text,
        num_tokens=completion.num_tokens,
        stopped=completion.stopped,
        score=score.value,
        explanation=score.explanation,
        rule=score.rule,
        number=number,
        gap=completion.gap,
    )


def _priced(task: Task, price: Price, item: Item, found: Sequence[Likelihood]) -> Sample:
    score, preferred = price.score(item, found)
    num_tokens = sum(each.num_tokens for each in found)
    return _sample(task, item, 0, Completion(preferred, (), True, num_unseen=num_tokens), score)


def prompt_text(item: Item) -> str:
    """A prompt for people to read: the user's text, or the whole exchange when there is more than one message."""
    if item.text is not None:
        return item.text
    shown = [message for message in item.messages if message.role != "system"]
    if len(shown) == 1:
        return shown[0].content
    return "\n".join(f"{message.role}: {message.content}" for message in shown)


def expected_text(item: Item) -> str:
    """The expected answer for people to read; what a checker checks; or a judge's rubric."""
    if item.answer:
        value = item.answer["value"]
        return value if isinstance(value, str) else canonical_json(value)
    return canonical_json(item.checker) if item.checker else item.rubric


def _samples_of(task: Task, known: Known) -> list[Sample]:
    return [known[task.name, item.id, number] for item in task.items for number in range(task.num_samples)]


def _reports(task: Task, samples: Sequence[Sample], skipped: str) -> list[TaskReport]:
    return tax_reports(task, samples, skipped) if task.taxes else [task_report(task, samples, skipped)]


def task_report(task: Task, samples: Sequence[Sample], skipped: str = "") -> TaskReport:
    """The value of each item, and the figures of the whole task."""
    # A sealed task has no completions to draw figures from, and shows none.
    shows_facts = bool(samples) and not task.is_sealed
    return TaskReport(
        task=task.name,
        items_digest=items_digest(task.items),
        scores=item_values(samples, task.pass_at),
        clusters={sample.item_id: sample.cluster for sample in samples},
        better=task.better,
        unit=task.unit,
        about=task.about,
        group=task.group,
        skipped=skipped,
        is_sealed=task.is_sealed,
        facts=facts_of(task.items, samples, task.judge_fingerprint.partition("@")[0]) if shows_facts else {},
    )
