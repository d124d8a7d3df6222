"""`tunesmith train`: training alone, from a data file, a rendered folder or a recipe."""

import json
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.app import app, example
from tunesmith.cli.options import DEFAULT_MODEL, DryRun, Out, Sets, sections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunesmith.model import ModelConfig
    from tunesmith.pack import Batches, PackConfig
    from tunesmith.recipe import Recipe
    from tunesmith.train import TrainConfig
    from tunesmith.types import Rendered


@dataclass(frozen=True, slots=True)
class Settings:
    """The three configs that training reads."""

    train: "TrainConfig"
    pack: "PackConfig"
    model: "ModelConfig"


@app.command(
    epilog=example(
        "tunesmith train data.jsonl --out work/train --set train.epochs=2",
        "tunesmith train work/render --out work/train --dry-run",
        "tunesmith train recipe.toml --out work/train --resume",
    )
)
def train(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A data file, a folder of `tunesmith render`, or a recipe.",
            show_default=False,
        ),
    ],
    out: Out,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="M",
            help=f"The model to start from; by default the recipe's, or {DEFAULT_MODEL}.",
        ),
    ] = None,
    sets: Sets = None,
    dry_run: DryRun = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training that --out holds.")] = False,
) -> None:
    """Train without judging: an adapter or a whole model.

    The result is FOLDER/train/final. Use `tune` or `run` to have it compared with its base as well.
    """
    from tunesmith.train.parallel.ranks import is_first_started

    if not dry_run and is_first_started():
        _check_out(out, resume)
    from tunesmith.render.bulk.rendered_file import is_rendered

    if is_rendered(source):
        return _train_rendered(source, out, model, sets or [], dry_run, resume)
    recipe = _recipe(source, out, model, sets or [])
    if dry_run:
        from tunesmith.cli.plans import print_recipe_plan

        return print_recipe_plan(recipe)
    _train_recipe(recipe, out, resume)


def _check_out(out: Path, resume: bool) -> None:
    from tunesmith.errors import ConfigError

    if out.is_file():
        raise ConfigError(f"--out {out}: this is a file; give a folder")
    holds_training = (out / "train").is_dir()
    if holds_training and not resume:
        raise ConfigError(f"--out {out}: holds a training already; go on with --resume, or give another folder")
    if resume and not holds_training:
        raise ConfigError(f"--resume: there is no training in {out}; start it without --resume")
    if not holds_training and out.is_dir() and any(out.iterdir()) and not (out / "recipe.toml").is_file():
        raise ConfigError(f"--out {out}: this folder holds other files; give another one, or a new one inside it")


def _recipe(source: Path, out: Path, model: str | None, sets: list[str]) -> "Recipe":
    """The recipe of a recipe file or of a data file, under the name of the output folder."""
    from tunesmith.doors import file_paths, model_name
    from tunesmith.errors import ConfigError
    from tunesmith.recipe import build_recipe, load_recipe

    name = out.absolute().name
    if source.suffix == ".toml":
        chosen = [f"model.name={json.dumps(model_name(model))}"] if model else []
        return load_recipe(source, [*chosen, *sets]).model_copy(update={"name": name})
    if not source.exists():
        raise ConfigError(f"{source}: no such file; give a data file, a rendered folder or a recipe")
    values = {
        "name": name,
        "data": {"paths": file_paths([source])},
        "model": {"name": model_name(model or DEFAULT_MODEL)},
    }
    return build_recipe(values, sets)


def _train_recipe(recipe: "Recipe", out: Path, resume: bool) -> None:
    from tunesmith.cli.console import console, say
    from tunesmith.files import atomic_write
    from tunesmith.pipeline import Run
    from tunesmith.recipe import to_toml
    from tunesmith.train.parallel.ranks import joined

    with joined(recipe.train.parallel.timeout_seconds) as ranks:
        if not ranks.is_first:
            run = Run(recipe, out.absolute().parent, _say_nothing, resumes=resume)
            run.data()
            run.train([run.prepare(phase) for phase in run.phases])
            return
        run = Run(recipe, out.absolute().parent, say, resumes=resume)
        with run.dir.lock():
            with atomic_write(out / "recipe.toml") as file:
                file.write(to_toml(recipe))
            console().print(f"# The recipe, saved as {out / 'recipe.toml'}:", style="dim", soft_wrap=True)
            console().print(to_toml(recipe), soft_wrap=True)
            run.data()
            checkpoint = run.train([run.prepare(phase) for phase in run.phases])
            if not run.did_work:
                console().print(f"Nothing to do: the training in {out} is done.", soft_wrap=True)
            say(f"result    {checkpoint.path}")


def _say_nothing(line: str) -> None:
    """What the other ranks have to say: the first one says it."""


def _train_rendered(folder: Path, out: Path, model: str | None, sets: list[str], dry_run: bool, resume: bool) -> None:
    from tunesmith.cli.stages import rendered_mark
    from tunesmith.doors import model_name
    from tunesmith.files import RunDir
    from tunesmith.model import ModelConfig, model_folder
    from tunesmith.pack import PackConfig, pack
    from tunesmith.render.bulk.rendered_file import RenderedFile
    from tunesmith.train import TrainConfig
    from tunesmith.train.apart import rest_fingerprint, set_apart
    from tunesmith.train.parallel.ranks import joined

    values = sections("train", sets, "train", "pack", "model")
    settings = Settings(
        TrainConfig.parse(values["train"], "train"),
        PackConfig.parse(values["pack"], "pack"),
        ModelConfig.parse({"name": model_name(model or DEFAULT_MODEL), **values["model"]}, "model"),
    )
    _check_tokenizer(folder, settings.model)
    rest, apart = set_apart(RenderedFile(folder), settings.train.validation)
    mark = rest_fingerprint(rendered_mark(folder), settings.train.validation)
    batches = pack(settings.pack, rest, settings.train.epochs, mark)
    if dry_run:
        from tunesmith.cli.plans import print_plan, say_dry

        print_plan(_plan(settings, batches, model_folder(settings.model)), settings.pack)
        return say_dry()
    with (
        joined(settings.train.parallel.timeout_seconds) as ranks,
        RunDir(out).lock() if ranks.is_first else nullcontext(),
    ):
        _train(settings, batches, apart, model_folder(settings.model), out, resume)


def _check_tokenizer(folder: Path, model: "ModelConfig") -> None:
    """Tokens of another tokenizer would train nonsense without complaint."""
    from tunesmith.errors import ConfigError
    from tunesmith.files import StageFolder
    from tunesmith.model import tokenizer_folder
    from tunesmith.model.tokenizer import Tokenizer

    known = (StageFolder(folder, "render").manifest() or {}).get("tokenizer")
    if known is not None and known != Tokenizer.load(tokenizer_folder(model)).fingerprint:
        raise ConfigError(
            f"{folder}: was rendered for another tokenizer or chat template than that of {model.name}; "
            f"render again with --model {model.name}"
        )


def _plan(settings: Settings, batches: "Batches", folder: Path) -> Any:
    from tunesmith.train.plan import make_plan

    return make_plan(settings.train, settings.model, folder, batches)


def _train(
    settings: Settings, batches: "Batches", apart: "Sequence[Rendered]", folder: Path, out: Path, resume: bool
) -> None:
    from tunesmith.chain import Footing
    from tunesmith.cli.console import console, say
    from tunesmith.files import StageFolder, fingerprint
    from tunesmith.model import model_digest
    from tunesmith.pipeline import train_batches
    from tunesmith.preparation import refuse_other_inputs
    from tunesmith.probing import recipe_probes, validation_batches
    from tunesmith.progress import count
    from tunesmith.render import renderer_for
    from tunesmith.train.objectives.make import teacher_digest
    from tunesmith.train.parallel.ranks import current

    stage = StageFolder(out / "train", "train")
    footing = Footing(settings.model, folder, model_digest(folder))
    teacher = teacher_digest(settings.train.objective)
    mark = fingerprint([settings.train, settings.model, batches.fingerprint, footing.digest, teacher])
    ranks = current()
    if resume:
        refuse_other_inputs(stage, mark)
    if ranks.gather(stage.is_done(mark))[0]:
        if ranks.is_first:
            console().print(f"Nothing to do: the training in {out} is done.", soft_wrap=True)
        return
    path = stage.open(mark) if ranks.is_first else stage.path
    ranks.barrier()
    probes = recipe_probes(settings.train, validation_batches(settings.pack, apart), renderer_for(folder), path)
    speak = say if ranks.is_first else _say_nothing
    facts = train_batches(settings.train, footing, batches, path, speak, probes=probes)
    if not ranks.is_first:
        return
    stage.finish(mark, **facts)
    say(f"train     done: {count(facts['step'], 'step')}")
    say(f"result    {out / 'train' / 'final'}")
