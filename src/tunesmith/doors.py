"""The easy doors: a recipe for data and nothing else (`tune`), and a copy of the shipped example (`quickstart`)."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files as package_files
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from tunesmith.errors import ConfigError, DataError, TunesmithError
from tunesmith.files import atomic_folder

if TYPE_CHECKING:
    from tunesmith.data import DataConfig
    from tunesmith.recipe import Recipe
    from tunesmith.types import Conversation

FEWEST, FEWEST_HELDOUT, MOST_HELDOUT = 40, 20, 300
SHORT_ANSWER = 40  # characters: answers of this length can be compared word for word


@dataclass(slots=True)
class Answers:
    """What a look through the data tells: how many conversations, and how they end."""

    lengths: list[int] = field(default_factory=list)
    num_calls: int = 0

    def add(self, conversation: "Conversation") -> None:
        last = conversation.messages[-1] if conversation.messages else None
        if last is None or last.role != "assistant":
            kind = "a document" if last is None else f"a conversation that ends with a {last.role} message"
            raise DataError(
                f"{conversation.source} ({conversation.id}): {kind} has no last answer to compare models by. "
                "Leave it out, or train without a comparison: tunesmith train DATA_FILE --out FOLDER"
            )
        self.lengths.append(len(last.content))
        self.num_calls += bool(last.tool_calls)

    @property
    def scorer(self) -> str:
        """Short answers are right or wrong; for long ones the probability of the held-out answer must rise."""
        if self.num_calls:
            return "tool_call" if self.num_calls == len(self.lengths) else "likelihood"
        return "exact" if median(self.lengths) <= SHORT_ANSWER else "likelihood"


def recipe_for_data(files: Sequence[Path], model: str, name: str | None, sets: Sequence[str]) -> "Recipe":
    """The recipe of `tunesmith tune`; the `--set` strings have the last word."""
    from tunesmith.recipe import build_recipe, default_evaluation

    name = name or _name(files[0])
    values: dict[str, Any] = {
        "name": name,
        "data": {"paths": file_paths(files), "holdout": 0.1},
        "model": {"name": model_name(model)},
        "pool": {"alias": name},
    }
    # The scorer follows from the data, which the `--set` strings may say how to read: hence two rounds.
    answers = _look_through(build_recipe({**values, **default_evaluation()}, sets).data)
    values |= default_evaluation(answers.scorer)
    if not any(each.replace(" ", "").startswith("data.holdout=") for each in sets):
        values["data"]["holdout"] = holdout_of(len(answers.lengths))
    return build_recipe(values, sets)


def holdout_of(num_conversations: int) -> float:
    """How much to hold out: a tenth, but enough to judge by and no more than that takes."""
    if num_conversations < FEWEST:
        raise DataError(
            f"only {num_conversations} conversations: too few to learn from and to compare by, {FEWEST} are the "
            "least. Add more, set data.holdout yourself, or train without a comparison: "
            "tunesmith train DATA_FILE --out FOLDER"
        )
    tenth = num_conversations / 10
    return 0.1 if FEWEST_HELDOUT <= tenth <= MOST_HELDOUT else float(min(max(tenth, FEWEST_HELDOUT), MOST_HELDOUT))


def _look_through(config: "DataConfig") -> Answers:
    from tunesmith.data import data

    answers = Answers()
    for conversation in data(config, on_drop=lambda dropped: None):
        answers.add(conversation)
    return answers


def file_paths(files: Sequence[Path]) -> list[str]:
    """Paths that mean the same from any folder, so that a saved recipe can be run from anywhere."""
    return [str(path.expanduser().absolute()) for path in files]


def model_name(name: str) -> str:
    """A model's name, absolute when it is a path that exists here."""
    path = Path(name).expanduser()
    return str(path.absolute()) if path.exists() else name


def _name(file: Path) -> str:
    """The name of a run from that of a file: its stem, in characters that an alias may hold."""
    stem = file.name.split(".")[0] if file.name not in ("", "..") else ""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_")[:60]
    if not name:
        raise ConfigError(f"{file}: no name can be made of this; give one with --name")
    return f"tuned-{name}" if re.fullmatch(r"[0-9a-fA-F]{6,}", name) else name


def copy_example(name: str, folder: Path) -> bool:
    """Copy a shipped example to `folder`; returns False when it was there before, and leaves it as it is."""
    if (folder / "recipe.toml").is_file():
        return False
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: exists, but holds no recipe.toml; give another one with --folder")
    source = example_folder(name)
    with atomic_folder(folder) as temporary:
        shutil.copytree(source, temporary, ignore=shutil.ignore_patterns("__pycache__", ".*"), dirs_exist_ok=True)
    return True


def example_folder(name: str) -> Path:
    """Inside the package when it was installed from a wheel, beside `src` in a source checkout."""
    package = Path(str(package_files("tunesmith")))
    for folder in (package / "examples" / name, package.parent.parent / "examples" / name):
        if folder.is_dir():
            return folder
    raise TunesmithError(f"the example {name!r} is not part of this installation; reinstall tunesmith")
