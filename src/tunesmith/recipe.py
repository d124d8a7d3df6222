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
from tunesmith.evaluate.forgetting import NAMES as FORGETTING
from tunesmith.evaluate.regurgitation import NAME as REGURGITATION
from tunesmith.evaluate.taxes import TAXES
from tunesmith.gate import GateConfig
from tunesmith.gate.policy import GENERAL_MARGIN, KNOWN
from tunesmith.model import ModelConfig
from tunesmith.pack import PackConfig
from tunesmith.phases import MixSection, Phase, PhaseConfig, chain_problems, merge, phases_of
from tunesmith.pool import PoolConfig
from tunesmith.render import RenderConfig
from tunesmith.train import TrainConfig
from tunesmith.train.probe import VALIDATION_LOSS
from tunesmith.verify.benchmarks import BENCHMARKS

HELDOUT = "heldout"
LEDGERS = ("cache", "off")
GENERAL = "builtin:general"


class Recipe(Config):
    """Everything that decides what a run does."""

    name: str = Field(pattern=r"^[^./\\\x00][^/\\\x00]*$")
    """The run's name: its folder is runs/NAME, so it holds no slash and begins with no dot."""

    data: DataConfig
    """What the examples are."""

    model: ModelConfig = ModelConfig()
    """The model to start from."""

    mix: MixSection = MixSection()
    """What is learned beside the data, and in which order."""

    render: RenderConfig = RenderConfig()
    """Which tokens are trained."""

    pack: PackConfig = PackConfig()
    """How conversations share steps and rows."""

    train: TrainConfig = TrainConfig()
    """How the model learns."""

    phases: tuple[PhaseConfig, ...] = ()
    """Several phases of training, one after the other; none is one phase with the recipe's own tables."""

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


def load_policy(path: Path | None, tables: Mapping[str, Any]) -> Recipe:
    """The `evaluate` and `gate` tables of a recipe file, and nothing else of it, with `tables` on top; without a file
    the everyday questions and the default policy. The rest of the result is made up: there is nothing to train."""
    asked: dict[str, Any] = {"evaluate": {"tasks": [{"name": "general", "path": GENERAL, "scorer": "contains"}]}}
    if path is not None:
        found = _read(path, ())
        asked = {name: found[name] for name in ("evaluate", "gate") if name in found}
    data = {"paths": ["unused"], "holdout": 0.1}
    values = merge({"name": "gate", "data": data, **asked}, {key: value for key, value in tables.items() if value})
    return Recipe.parse(values, str(path or "command line"))


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
    taxes = (
        {*(tax.name for tax in TAXES), *FORGETTING, REGURGITATION} if recipe.evaluate.panel == "on" and names else set()
    )
    for name in sorted(taxes & set(names)):
        problems.append(
            f'evaluate.tasks: {name!r} is measured by the panel; rename the task, or set evaluate.panel = "off"'
        )
    measured = {*names, *KNOWN, *taxes}
    for policy in ("improve", "keep", "alarms", "both_ways"):
        for name in getattr(recipe.gate, policy):
            if name not in measured:
                problems.append(f"gate.{policy}.{name}: no such task; evaluate.tasks has {names or 'none'}")
    try:
        phases = phases_of(recipe)
    except ConfigError as error:
        return [*problems, str(error)]
    if any(task.path == HELDOUT for task in recipe.evaluate.tasks) and phases[-1].main.data.holdout == 0:
        problems.append(
            "evaluate.tasks: a task uses the held-out part, but data.holdout is 0 (in the last phase, where there are "
            "several); set e.g. data.holdout = 0.1"
        )
    of_phases = [problem for phase in phases for problem in (*_row_problems(phase), *_score_problems(phase))]
    return problems + of_phases + chain_problems(phases)


def _score_problems(phase: Phase) -> list[str]:
    """Scores that a phase goes by and that a recipe does not measure."""
    where = f"phases.{phase.name}: " if phase.name else ""
    problems = []
    for name in phase.train.needed_scores:
        if name != VALIDATION_LOSS:
            problems.append(
                f"{where}train.score = {name!r}: a recipe measures validation_loss; other probes are handed to "
                "tunesmith.train.train in Python"
            )
        elif phase.train.validation.size == 0:
            problems.append(
                f"{where}early stopping, best states or the schedule go by the validation loss, but nothing is "
                "validated; set train.validation.size, for example to 0.1"
            )
    return problems


def _row_problems(phase: Phase) -> list[str]:
    """Sources of a phase whose conversations may be longer than its rows."""
    where = f"phases.{phase.name}: " if phase.name else ""
    longest = max(source.render.max_tokens for source in phase.sources)
    if longest <= phase.pack.row_tokens or phase.pack.split_long != "error":
        return []
    return [
        f"{where}render.max_tokens = {longest} exceeds pack.row_tokens = {phase.pack.row_tokens}; "
        "a conversation must fit into a row"
    ]


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
    # What a phase or a source sets counts even where it is the default: it may stand in place of another value.
    if recipe.phases:
        values["phases"] = [
            each.model_dump(mode="json", exclude_unset=True, exclude_none=True) for each in recipe.phases
        ]
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
        "gate": {"improve": {HELDOUT: 0.0}, "keep": {"general": GENERAL_MARGIN}},
    }


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
    _make_data_absolute(values, folder)
    for phase in _tables(values.get("phases")):
        _make_data_absolute(phase, folder)
    model = _table(values.get("model"))
    if isinstance(model.get("name"), str):
        model["name"] = _absolute_model(model["name"], folder)
    for place in (values, *_tables(values.get("phases"))):
        _make_teacher_absolute(_table(place.get("train")), folder)
    evaluate = _table(values.get("evaluate"))
    if isinstance(evaluate.get("ledger"), str) and evaluate["ledger"] not in LEDGERS:
        evaluate["ledger"] = _absolute(evaluate["ledger"], folder)
    if isinstance(evaluate.get("general_text"), str):
        evaluate["general_text"] = _absolute_items(evaluate["general_text"], folder)
    for task in _tables(evaluate.get("tasks")):
        if isinstance(task.get("path"), str):
            task["path"] = _absolute_items(task["path"], folder)
        file, colon, function = str(task.get("scorer", "")).rpartition(":")
        if colon:
            task["scorer"] = f"{_absolute(file, folder)}:{function}"


def _absolute_items(path: str, folder: Path) -> str:
    """A task's items: a path, the path behind a benchmark's name, or one of our own spellings, which stay."""
    name, colon, rest = path.partition(":")
    if path == HELDOUT or (colon and name == "builtin"):
        return path
    return f"{name}:{_absolute(rest, folder)}" if colon and name in BENCHMARKS else _absolute(path, folder)


def _make_data_absolute(values: dict[str, Any], folder: Path) -> None:
    """The paths of a recipe's data, mix, template and sample prompts, or of a phase's."""
    samples = _table(_table(values.get("train")).get("samples"))
    if isinstance(samples.get("path"), str):
        samples["path"] = _absolute(samples["path"], folder)
    mix = _table(values.get("mix"))
    sources = _tables(mix.get("sources"))
    for data in (
        _table(values.get("data")),
        _table(mix.get("replay")),
        *(_table(each.get("data")) for each in sources),
    ):
        if isinstance(data.get("paths"), list):
            data["paths"] = [_absolute(path, folder) for path in data["paths"]]
    for place in (values, mix.get("replay"), *sources):
        render = _table(_table(place).get("render"))
        if isinstance(render.get("template"), str):
            render["template"] = _absolute(render["template"], folder)


def _make_teacher_absolute(train: dict[str, Any], folder: Path) -> None:
    teacher = _table(_table(_table(train.get("objective")).get("distill")).get("teacher"))
    if isinstance(teacher.get("name"), str):
        teacher["name"] = _absolute_model(teacher["name"], folder)


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _tables(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _absolute_model(name: str, folder: Path) -> str:
    """A model's name, or that of the tokenizer behind the @ of a new model, where it is a path."""
    new, at, tokenizer = name.partition("@") if name.startswith("new:") else ("", "", name)
    return f"{new}{at}{_absolute(tokenizer, folder)}" if tokenizer.startswith(("./", "../")) else name


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
    place: Any = values
    for table in tables:
        inner = _element(place, table) if isinstance(place, list) else place.setdefault(table, {})
        if not isinstance(inner, dict | list):
            raise ConfigError(f"--set {text}: {table!r} is no table but {inner!r}")
        place = inner
    if isinstance(place, list):
        raise ConfigError(f"--set {text}: {last!r} is a whole table of a list; set one of its fields")
    place[last] = _parse_value(raw.strip())


def _element(tables: list[Any], name: str) -> Any:
    """A table of a list, such as one of `phases`, by its name or its number from 0."""
    for number, each in enumerate(tables):
        if isinstance(each, dict) and name in (each.get("name"), str(number)):
            return each
    known = ", ".join(str(each.get("name")) for each in tables if isinstance(each, dict))
    raise ConfigError(f"--set: nothing is named {name!r} here; there are {known or 'none'}")


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
    "load_policy",
    "load_recipe",
    "to_toml",
]
