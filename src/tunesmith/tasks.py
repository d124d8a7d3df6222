"""The tasks of a recipe, ready to be asked: items read, scorers loaded."""

import json
from dataclasses import replace
from importlib.resources import files as package_files
from pathlib import Path

from tunesmith.data import DataConfig, data, iter_conversations
from tunesmith.errors import EvaluateError
from tunesmith.evaluate import Task, TaskConfig
from tunesmith.evaluate.forgetting import Probe, loss_task, probes, with_divergence
from tunesmith.evaluate.prices import PRICES
from tunesmith.evaluate.regurgitation import regurgitation_task
from tunesmith.evaluate.run import read_samples
from tunesmith.evaluate.taxes.panel import matched_taxes, panel_tasks
from tunesmith.evaluate.vault import VAULT
from tunesmith.files import open_text
from tunesmith.generate import Sampling, Window
from tunesmith.recipe import HELDOUT, Recipe
from tunesmith.types import Report
from tunesmith.verify import Item, item_from_conversation, load_scorer, read_items
from tunesmith.verify.benchmarks import plain_text, split_spelling
from tunesmith.verify.items import of_split

BUILT_IN_SETS = "builtin:"
DIVERGED = Path("divergence") / "divergence.json"
"""Where a run keeps the divergence, beside the folders of the two reports."""


def prepare_tasks(recipe: Recipe, heldout: Path, training: Path | None = None) -> tuple[Task, ...]:
    """Read every task's items and load its scorer; behind them stands the panel, where it is on.

    A recipe without tasks evaluates nothing, so it has no panel either. `training` holds the conversations of the
    run, where there is one.
    """
    tasks = tuple(_prepare_task(config, recipe.data, heldout) for config in recipe.evaluate.tasks)
    if not tasks or recipe.evaluate.panel == "off":
        return tasks
    taught = None if training is None else iter_conversations(training)
    return (
        *tasks,
        loss_task(general_passages(recipe.evaluate.general_text)),
        *panel_tasks(builtin_items),
        regurgitation_task(taught, recipe.evaluate.canaries),
    )


def general_passages(spelling: str) -> list[Item]:
    """The passages of `evaluate.general_text`, as items."""
    if spelling.startswith(BUILT_IN_SETS):
        return builtin_items(spelling.removeprefix(BUILT_IN_SETS))
    known = split_spelling(spelling)
    return plain_text.read(known[1] if known else Path(spelling))


def general_probes(spelling: str, base_folder: Path) -> list[Probe]:
    """What a divergence is measured on: the passages, and the base's own answers in its folder."""
    return probes(general_passages(spelling), builtin_items("writing"), read_samples(base_folder))


def _prepare_task(config: TaskConfig, mapping: DataConfig, heldout: Path) -> Task:
    known = split_spelling(config.path) if is_spelled(config.path) else None
    items = task_items(config, mapping, heldout)[: config.max_items]
    if not items:
        raise EvaluateError(f"task {config.name!r}: {config.path} has no items")
    scorer = config.scorer or (known[0].scorer if known else "exact")
    max_tokens = config.max_tokens or (known[0].max_tokens if known else 128)
    price = PRICES.get(scorer)
    judge, mark = (price, f"{scorer}@{price.version}") if price else load_scorer(scorer, Path.cwd())
    if price and config.samples > 1:
        raise EvaluateError(f"task {config.name!r}: the scorer {scorer!r} prices given texts, so samples must be 1")
    about = known[0].about if known and config.scorer is None else price.about if price else f"scored by {scorer}"
    return Task(
        name=config.name,
        items=tuple(items),
        judge=judge,
        judge_fingerprint=mark,
        sampling=Sampling(max_tokens, config.temperature),
        num_samples=config.samples,
        pass_at=config.pass_at,
        window=Window(config.window_tokens, config.stride_tokens) if scorer == "bits_per_byte" else None,
        better=price.better if price else "higher",
        unit=price.unit if price else "",
        about=f"pass@{config.pass_at} of {config.samples} samples, {about}" if config.pass_at else about,
        is_sealed=config.split == VAULT,
        golden=Path(config.path) if is_golden(Path(config.path)) else None,
    )


def compared(base: Report, base_folder: Path, tuned: Report, tuned_folder: Path) -> tuple[Report, Report]:
    """Both reports with what exists in a comparison only: a divergence that was measured beside the tuned report, and
    the taxes that need answers of one length, from the samples in the two folders.

    What is not there is left out.
    """
    base, tuned = with_divergence(base, tuned, tuned_folder.parent / DIVERGED)
    before, after = read_samples(base_folder), read_samples(tuned_folder)
    if not (before and after):
        return base, tuned
    return matched_taxes(base, tuned, before, after, builtin_items)


def is_spelled(path: str) -> bool:
    """Whether a task's path is NAME:PATH of a benchmark, not one of our own spellings."""
    return path != HELDOUT and not path.startswith(BUILT_IN_SETS)


def task_items(config: TaskConfig, mapping: DataConfig, heldout: Path) -> list[Item]:
    """The items of a task: held-out conversations, a built-in set, golden items, or any data file."""
    if config.path == HELDOUT:
        return [item_from_conversation(each) for each in iter_conversations(heldout)]
    if config.path.startswith(BUILT_IN_SETS):
        return read_items(builtin_set(config.path.removeprefix(BUILT_IN_SETS)), config.split)
    known = split_spelling(config.path)
    if known is not None:
        benchmark, path = known
        return of_split(benchmark.read(path), config.split, path)
    path = Path(config.path)
    if is_golden(path):
        return read_items(path, config.split)
    if config.split is not None:
        raise EvaluateError(f"task {config.name!r}: {path} is no golden file, so it has no split {config.split!r}")
    # An item that cannot be read is an error here, whatever the training data may skip.
    changes = {"paths": (config.path,), "holdout": 0.0, "max_conversations": None, "on_error": "stop"}
    source = mapping.model_copy(update=changes)
    return [replace(item_from_conversation(each), cluster=config.name) for each in data(source)]


def builtin_items(name: str) -> list[Item]:
    """The items of a golden set that ships with the package."""
    return read_items(builtin_set(name))


def builtin_set(name: str) -> Path:
    """The path of a golden set that ships with the package."""
    path = Path(str(package_files("tunesmith"))) / "verify" / "sets" / f"{name}.jsonl"
    if not path.is_file():
        known = sorted(each.stem for each in path.parent.glob("*.jsonl"))
        raise EvaluateError(f"no built-in set {name!r}; there are {', '.join(known)}")
    return path


def is_golden(path: Path) -> bool:
    """Whether a file's first line is a golden item: a prompt, and apart from it what the answer is judged by."""
    if not path.is_file() or ".jsonl" not in path.suffixes:
        return False
    try:
        with open_text(path) as file:
            first = json.loads(file.readline() or "null")
    except (ValueError, OSError, EOFError):  # whoever reads it next says what is wrong with it
        return False
    judged = isinstance(first, dict) and (isinstance(first.get("answer"), dict) or first.keys() & {"checker", "rubric"})
    return bool(judged and first.keys() & {"messages", "text"})
