"""The tasks of a recipe, ready to be asked: items read, scorers loaded."""

import json
from dataclasses import replace
from importlib.resources import files as package_files
from pathlib import Path

from tunesmith.data import DataConfig, data, iter_conversations
from tunesmith.errors import EvaluateError
from tunesmith.evaluate import Task, TaskConfig
from tunesmith.files import open_text
from tunesmith.recipe import HELDOUT, Recipe
from tunesmith.verify import Item, item_from_conversation, load_scorer, read_items


def prepare_tasks(recipe: Recipe, heldout: Path) -> tuple[Task, ...]:
    """Read every task's items and load its scorer."""
    return tuple(_prepare_task(config, recipe.data, heldout) for config in recipe.evaluate.tasks)


def _prepare_task(config: TaskConfig, mapping: DataConfig, heldout: Path) -> Task:
    items = task_items(config, mapping, heldout)[: config.max_items]
    if not items:
        raise EvaluateError(f"task {config.name!r}: {config.path} has no items")
    scorer, mark = (None, "likelihood") if config.scorer == "likelihood" else load_scorer(config.scorer, Path.cwd())
    return Task(config.name, tuple(items), scorer, mark, config.max_tokens)


def task_items(config: TaskConfig, mapping: DataConfig, heldout: Path) -> list[Item]:
    """The items of a task: held-out conversations, a built-in set, golden items, or any data file."""
    if config.path == HELDOUT:
        return [item_from_conversation(each) for each in iter_conversations(heldout)]
    if config.path.startswith("builtin:"):
        return read_items(builtin_set(config.path.removeprefix("builtin:")), config.split)
    path = Path(config.path)
    if is_golden(path):
        return read_items(path, config.split)
    if config.split is not None:
        raise EvaluateError(f"task {config.name!r}: {path} is no golden file, so it has no split {config.split!r}")
    # An item that cannot be read is an error here, whatever the training data may skip.
    changes = {"paths": (config.path,), "holdout": 0.0, "max_conversations": None, "on_error": "stop"}
    source = mapping.model_copy(update=changes)
    return [replace(item_from_conversation(each), cluster=config.name) for each in data(source)]


def builtin_set(name: str) -> Path:
    """The path of a golden set that ships with the package."""
    path = Path(str(package_files("tunesmith"))) / "verify" / "sets" / f"{name}.jsonl"
    if not path.is_file():
        known = sorted(each.stem for each in path.parent.glob("*.jsonl"))
        raise EvaluateError(f"no built-in set {name!r}; there are {', '.join(known)}")
    return path


def is_golden(path: Path) -> bool:
    """Whether a file's first line is a golden item: messages, and an answer apart from them."""
    if not path.is_file() or ".jsonl" not in path.suffixes:
        return False
    try:
        with open_text(path) as file:
            first = json.loads(file.readline() or "null")
    except (ValueError, OSError, EOFError):  # whoever reads it next says what is wrong with it
        return False
    return isinstance(first, dict) and isinstance(first.get("answer"), dict) and "messages" in first
