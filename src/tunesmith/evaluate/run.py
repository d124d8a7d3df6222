"""Running tasks: fixed batches in a fixed order, every sample on disk as soon as it is scored."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from tunesmith.evaluate import EvaluateConfig, Task
from tunesmith.files import atomic_write, write_json, write_jsonl
from tunesmith.generate import Generator, Sampling
from tunesmith.progress import Progress
from tunesmith.render import Renderer
from tunesmith.types import Conversation, Message, Report, Sample, TaskReport, ToolCall
from tunesmith.verify import Item, apply_scorer, items_digest

SAMPLES = "samples.jsonl"
REPORT = "report.json"


def run_tasks(
    config: EvaluateConfig,
    tasks: Sequence[Task],
    generator: Generator,
    renderer: Renderer,
    folder: Path,
    label: str,
) -> Report:
    """See `tunesmith.evaluate.evaluate`."""
    folder.mkdir(parents=True, exist_ok=True)
    known = _samples_so_far(folder / SAMPLES)
    total = sum(len(task.items) for task in tasks)
    with Progress(label, total) as progress, (folder / SAMPLES).open("a", encoding="utf-8") as file:
        for task in tasks:
            for samples, is_new in _answered(config, task, generator, renderer, known):
                if is_new:
                    file.writelines(json.dumps(asdict(sample), ensure_ascii=False) + "\n" for sample in samples)
                    file.flush()
                known |= {(sample.task, sample.item_id): sample for sample in samples}
                progress.advance(len(samples), shown={"task": task.name})
    ordered = {task.name: [known[task.name, item.id] for item in task.items] for task in tasks}
    write_jsonl(folder / SAMPLES, [sample for samples in ordered.values() for sample in samples])
    report = Report(label, generator.digest, tuple(_task_report(task, ordered[task.name]) for task in tasks))
    write_json(folder / REPORT, report)
    return report


def _samples_so_far(path: Path) -> dict[tuple[str, str], Sample]:
    """What a run that died left behind; a line torn by its death is not counted."""
    found: dict[tuple[str, str], Sample] = {}
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
        found[sample.task, sample.item_id] = sample
    return found


def _answered(
    config: EvaluateConfig,
    task: Task,
    generator: Generator,
    renderer: Renderer,
    known: dict[tuple[str, str], Sample],
) -> Iterator[tuple[list[Sample], bool]]:
    """The samples of a task, batch by batch, and whether they are new.

    Batches are made of all items, known or not, so that each prompt rides in the same batch after a restart.
    """
    prompts = {item.id: renderer.prompt(item.messages, item.tools) for item in task.items}
    # Like lengths together: less padding, and prompts of a kind share more of their beginning.
    order = sorted(task.items, key=lambda item: (prompts[item.id].size, item.id))
    for start in range(0, len(order), config.batch_prompts):
        batch = order[start : start + config.batch_prompts]
        if all((task.name, item.id) in known for item in batch):
            yield [known[task.name, item.id] for item in batch], False
        elif task.scorer is None:
            yield _priced(task, batch, generator, renderer), True
        else:
            completions = generator.generate([prompts[item.id] for item in batch], Sampling(task.max_tokens))
            yield (
                [
                    _sample(task, item, renderer, completion.text, completion.num_tokens, completion.stopped)
                    for item, completion in zip(batch, completions, strict=True)
                ],
                True,
            )


def _sample(task: Task, item: Item, renderer: Renderer, text: str, num_tokens: int, stopped: bool) -> Sample:
    assert task.scorer is not None
    score = apply_scorer(task.scorer, item, text)
    facts = (task.name, item.id, item.cluster, prompt_text(item.messages), _expected(item, renderer))
    return Sample(*facts, text, num_tokens, stopped, score.value, score.explanation)


def _priced(task: Task, batch: Sequence[Item], generator: Generator, renderer: Renderer) -> list[Sample]:
    """Score items by the mean log-probability of their expected answer, in nats per token."""
    rendered = [renderer.render(_answered_conversation(item)) for item in batch]
    values = generator.log_likelihood(rendered)
    return [
        Sample(
            task.name,
            item.id,
            item.cluster,
            prompt_text(item.messages),
            _expected(item, renderer),
            completion="",
            num_tokens=each.num_supervised,
            stopped=True,
            score=value,
            explanation=f"mean log-probability of the expected answer: {value:.3f} nats per token",
        )
        for item, each, value in zip(batch, rendered, values, strict=True)
    ]


def answer_message(item: Item) -> Message:
    """The assistant message that a golden item expects."""
    value = item.answer["value"]
    if item.answer.get("type") == "tool_calls":
        return Message("assistant", tool_calls=tuple(ToolCall(call["name"], call["arguments"]) for call in value))
    return Message("assistant", str(value))


def prompt_text(messages: Sequence[Message]) -> str:
    """A prompt for people to read: the user's text, or the whole exchange when there is more than one message."""
    shown = [message for message in messages if message.role != "system"]
    if len(shown) == 1:
        return shown[0].content
    return "\n".join(f"{message.role}: {message.content}" for message in shown)


def _answered_conversation(item: Item) -> Conversation:
    """The item with its expected answer, which alone is priced; see RenderConfig.for_answers."""
    asked = [replace(each, train=0.0) if each.role == "assistant" else each for each in item.messages]
    return Conversation(item.id, (*asked, answer_message(item)), tools=tuple(item.tools))


def _expected(item: Item, renderer: Renderer) -> str:
    return renderer.completion_text(answer_message(item))


def _task_report(task: Task, samples: Sequence[Sample]) -> TaskReport:
    return TaskReport(
        task.name,
        items_digest(list(task.items)),
        {sample.item_id: sample.score for sample in samples},
        {sample.item_id: sample.cluster for sample in samples},
    )
