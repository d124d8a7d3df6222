"""Running tasks: every sample is on disk as soon as it is scored."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

from tunesmith.errors import SkippedError
from tunesmith.evaluate import EvaluateConfig, Task
from tunesmith.files import atomic_write, canonical_json, write_json, write_jsonl
from tunesmith.generate import Completion, Generator, Likelihood, Prompt, Sampling
from tunesmith.progress import Progress
from tunesmith.types import Message, Report, Sample, TaskReport, ToolCall
from tunesmith.verify import Item, apply_scorer, items_digest

SAMPLES = "samples.jsonl"
REPORT = "report.json"
Known = dict[tuple[str, str, int], Sample]


def run_tasks(config: EvaluateConfig, tasks: Sequence[Task], generator: Generator, folder: Path, label: str) -> Report:
    """See `tunesmith.evaluate.evaluate`."""
    folder.mkdir(parents=True, exist_ok=True)
    known = samples_so_far(folder / SAMPLES)
    skipped: dict[str, str] = {}
    total = sum(len(task.items) for task in tasks)
    with Progress(label, total) as progress, (folder / SAMPLES).open("a", encoding="utf-8") as file:
        for task in tasks:

            def keep(sample: Sample, task: Task = task) -> None:
                file.write(json.dumps(asdict(sample), ensure_ascii=False) + "\n")
                file.flush()
                known[sample.task, sample.item_id, sample.number] = sample
                progress.advance(1, shown={"task": task.name})

            try:
                _ask(task, generator, known, keep)
            except SkippedError as reason:
                skipped[task.name] = str(reason)
    ordered = {task.name: _samples_of(task, known) for task in tasks if task.name not in skipped}
    write_jsonl(folder / SAMPLES, [sample for samples in ordered.values() for sample in samples])
    reports = (task_report(task, ordered.get(task.name, ()), skipped.get(task.name, "")) for task in tasks)
    report = Report(label, generator.digest, tuple(reports), generator.engine)
    write_json(folder / REPORT, report)
    return report


def samples_so_far(path: Path) -> Known:
    """What a run that died left behind; a line torn by its death is not counted."""
    found: Known = {}
    if not path.exists():
        return found
    whole = path.read_bytes()
    torn = len(whole) - (whole.rfind(b"\n") + 1)
    if torn:
        whole = whole[:-torn]
        with atomic_write(path, "wb") as file:
            file.write(whole)
    for line in whole.splitlines():
        sample = Sample(**json.loads(line))
        found[sample.task, sample.item_id, sample.number] = sample
    return found


def _ask(task: Task, generator: Generator, known: Known, keep: Callable[[Sample], None]) -> None:
    """Ask what is not known yet; `keep` receives each sample as soon as it is scored."""
    open_items = [item for item in task.items if (task.name, item.id, 0) not in known]
    if not open_items:
        return
    prompts = [prompt_of(item) for item in open_items]
    if task.scorer is None:

        def priced(index: int, found: tuple[Likelihood, ...]) -> None:
            keep(_priced(task, open_items[index], found[0]))

        generator.log_likelihood(prompts, [[answer_message(item)] for item in open_items], on_done=priced)
        return

    def answered(index: int, completion: Completion) -> None:
        keep(_sample(task, open_items[index], completion))

    generator.generate(prompts, Sampling(task.max_tokens), answered)


def prompt_of(item: Item, sample: int = 0) -> Prompt:
    """What a golden item asks."""
    return Prompt(item.messages, item.tools, item.text, sample)


def _sample(task: Task, item: Item, completion: Completion, number: int = 0) -> Sample:
    assert task.scorer is not None
    score = apply_scorer(task.scorer, item, completion.text)
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


def _priced(task: Task, item: Item, likelihood: Likelihood) -> Sample:
    """Score an item by the mean log-probability of its expected answer, in nats per token."""
    value = likelihood.nats / likelihood.num_tokens
    return Sample(
        task=task.name,
        item_id=item.id,
        cluster=item.cluster,
        prompt=prompt_text(item),
        expected=expected_text(item),
        completion="",
        num_tokens=likelihood.num_tokens,
        stopped=True,
        score=value,
        explanation=f"mean log-probability of the expected answer: {value:.3f} nats per token",
    )


def answer_message(item: Item) -> Message:
    """The assistant message that a golden item expects."""
    value = item.answer["value"]
    if item.answer.get("type") == "tool_calls":
        return Message("assistant", tool_calls=tuple(ToolCall(call["name"], call["arguments"]) for call in value))
    return Message("assistant", str(value))


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
    return [known[task.name, item.id, 0] for item in task.items]


def task_report(task: Task, samples: Sequence[Sample], skipped: str = "") -> TaskReport:
    """The value of each item: the mean over its samples."""
    values: dict[str, list[float]] = {}
    for sample in samples:
        values.setdefault(sample.item_id, []).append(sample.score)
    return TaskReport(
        task.name,
        items_digest(task.items),
        {item: fmean(scores) for item, scores in values.items()},
        {sample.item_id: sample.cluster for sample in samples},
        skipped=skipped,
    )
