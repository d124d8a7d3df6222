"""The Recipe: one field for each stage's config, and one door to it.

Three spellings of the same thing: Python (`Recipe(...)`), a TOML file (`load_recipe`), and `--set a.b=c` on top of
either. A recipe file may begin with `base = "other.toml"` and change a few lines. Nothing rewrites a recipe: what is
derived from it lives in the Plan.
"""

import datetime
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import Field

from tunesmith.config import Config
from tunesmith.data import DataConfig
from tunesmith.errors import ConfigError
from tunesmith.evaluate import LIKELIHOOD, EvaluateConfig, TaskConfig
from tunesmith.gate import GateConfig
from tunesmith.model import ModelConfig
from tunesmith.pack import PackConfig
from tunesmith.pool import PoolConfig
from tunesmith.render import RenderConfig
from tunesmith.train import TrainConfig

HELDOUT = "heldout"
GENERAL = "builtin:general"


class Recipe(Config):
    """Everything that decides what a run does."""

    name: str = Field(pattern=r"^[^./\\\x00][^/\\\x00]*$")
    """The run's name: its folder is runs/NAME, so it holds no slash and begins with no dot."""

    data: DataConfig
    """What the examples are."""

    model: ModelConfig = ModelConfig()
    """The model to start from."""

    render: RenderConfig = RenderConfig()
    """Which tokens are trained."""

    pack: PackConfig = PackConfig()
    """How conversations share steps and rows."""

    train: TrainConfig = TrainConfig()
    """How the model learns."""

    evaluate: EvaluateConfig = EvaluateConfig()
    """What base and tuned model are asked."""

    gate: GateConfig = GateConfig()
    """What must improve and what must not get worse."""

    pool: PoolConfig = PoolConfig()
    """Where the result is kept, and under which alias."""


def load_recipe(path: Path, sets: Sequence[str] = ()) -> Recipe:
    """Read a recipe file, apply `--set` strings, and make its paths independent of the current directory."""
    values = apply_sets(_read(path, ()), sets)
    values.setdefault("name", path.parent.name if path.stem == "recipe" else path.stem)
    recipe = Recipe.parse(values, str(path))
    _raise_problems(recipe, str(path))
    return recipe


def build_recipe(values: Mapping[str, Any], sets: Sequence[str] = (), where: str = "command line") -> Recipe:
    """A recipe from nested values and `--set` strings."""
    merged = apply_sets(merge(values, {}), sets)
    recipe = Recipe.parse(merged, where)
    _raise_problems(recipe, where)
    return recipe


def check(recipe: Recipe) -> list[str]:
    """All problems between stages, each one sentence; an empty list when the recipe holds together."""
    problems = []
    names = [task.name for task in recipe.evaluate.tasks]
    for name in {name for name in names if names.count(name) > 1}:
        problems.append(f"evaluate.tasks: two tasks are named {name!r}; names must differ")
    for policy, tasks in (("improve", recipe.gate.improve), ("keep", recipe.gate.keep)):
        for name in tasks:
            if name not in names:
                problems.append(f"gate.{policy}.{name}: no such task; evaluate.tasks has {names or 'none'}")
    if any(task.path == HELDOUT for task in recipe.evaluate.tasks) and recipe.data.holdout == 0:
        problems.append(
            "evaluate.tasks: a task uses the held-out part, but data.holdout is 0; set e.g. data.holdout = 0.1"
        )
    if recipe.render.max_tokens > recipe.pack.row_tokens and recipe.pack.split_long == "error":
        problems.append(
            f"render.max_tokens = {recipe.render.max_tokens} exceeds pack.row_tokens = {recipe.pack.row_tokens}; "
            "a conversation must fit into a row"
        )
    return problems


def _raise_problems(recipe: Recipe, where: str) -> None:
    problems = check(recipe)
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise ConfigError(f"{where}: {len(problems)} problem(s)\n{listed}")


def to_toml(recipe: Recipe) -> str:
    """The TOML that reproduces `recipe`; fields at their defaults are left out."""
    values = recipe.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    # The model is named even when it is the default: it decides more than all other fields.
    values["model"] = {"name": recipe.model.name, **values.get("model", {})}
    return tomli_w.dumps({key: values[key] for key in Recipe.model_fields if key in values})


def default_evaluation(scorer: str = LIKELIHOOD) -> dict[str, Any]:
    """Tasks and gate for data without golden items: the held-out part must improve, general knowledge must stay."""
    return {
        "evaluate": {
            "tasks": [
                {"name": HELDOUT, "path": HELDOUT, "scorer": scorer},
                {"name": "general", "path": GENERAL, "scorer": "contains"},
            ]
        },
        "gate": {"improve": {HELDOUT: 0.0}, "keep": {"general": 0.05}},
    }


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`under` with `over` laid upon it, table by table; lists are replaced, not joined."""
    merged = {key: merge(value, {}) if isinstance(value, Mapping) else value for key, value in under.items()}
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, Mapping):
            merged[key] = merge(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    path = path.resolve()
    if path in seen:
        raise ConfigError(f"{path}: recipes inherit from each other in a circle: {' -> '.join(map(str, seen))}")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such recipe") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error})") from None
    _make_paths_absolute(values, path.parent)
    base = values.pop("base", None)
    if base is not None and not isinstance(base, str):
        raise ConfigError(f"{path}: base must be the path of another recipe, not {base!r}")
    return merge(_read(path.parent / base, (*seen, path)), values) if base else values


def _make_paths_absolute(values: dict[str, Any], folder: Path) -> None:
    """Paths in a recipe are relative to the recipe's folder (a model's when it begins with ./ or ../); `pool.path`
    is relative to where the command runs."""
    data = values.get("data")
    if isinstance(data, dict) and isinstance(data.get("paths"), list):
        data["paths"] = [_absolute(path, folder) for path in data["paths"]]
    model = values.get("model")
    if isinstance(model, dict) and isinstance(model.get("name"), str) and model["name"].startswith(("./", "../")):
        model["name"] = _absolute(model["name"], folder)
    render = values.get("render")
    if isinstance(render, dict) and isinstance(render.get("template"), str):
        render["template"] = _absolute(render["template"], folder)
    evaluation = values.get("evaluate")
    tasks = evaluation.get("tasks") if isinstance(evaluation, dict) else None
    for task in tasks if isinstance(tasks, list) else ():
        if not isinstance(task, dict):
            continue
        if isinstance(task.get("path"), str) and task["path"] != HELDOUT and not task["path"].startswith("builtin:"):
            task["path"] = _absolute(task["path"], folder)
        file, colon, function = str(task.get("scorer", "")).rpartition(":")
        if colon:
            task["scorer"] = f"{_absolute(file, folder)}:{function}"


def _absolute(path: Any, folder: Path) -> Any:
    return str((folder / Path(path).expanduser()).resolve()) if isinstance(path, str) else path


def apply_sets(values: dict[str, Any], sets: Sequence[str]) -> dict[str, Any]:
    """Lay `--set` strings over nested values; paths in them are relative to the current directory."""
    for each in sets:
        _apply_set(values, each)
    # Paths from files are absolute by now, so this touches only those that were just set.
    _make_paths_absolute(values, Path.cwd())
    return values


def _apply_set(values: dict[str, Any], text: str) -> None:
    """Apply one `a.b=c`; the value is read as TOML where it is TOML, else as plain text."""
    key, equals, raw = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text}: expected KEY=VALUE, for example --set train.learning_rate=2e-5")
    *tables, last = key.strip().split(".")
    place = values
    for table in tables:
        inner = place.setdefault(table, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {text}: {table!r} is no table but {inner!r}")
        place = inner
    place[last] = _parse_value(raw.strip())


def _parse_value(raw: str) -> Any:
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return raw
    return raw if isinstance(value, datetime.date | datetime.time) else value


__all__ = [
    "GENERAL",
    "HELDOUT",
    "Recipe",
    "TaskConfig",
    "apply_sets",
    "build_recipe",
    "check",
    "default_evaluation",
    "load_recipe",
    "merge",
    "to_toml",
]
