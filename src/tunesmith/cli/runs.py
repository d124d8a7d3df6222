"""`tunesmith run`, `tune` and `quickstart`: whole runs, from data to a proven model in the pool."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.app import app, example
from tunesmith.cli.options import DEFAULT_MODEL, DryRun, Model, Runs, Sets

if TYPE_CHECKING:
    from tunesmith.recipe import Recipe


@app.command(
    epilog=example(
        "tunesmith run examples/cron/recipe.toml",
        "tunesmith run recipe.toml --set train.epochs=2 --set name=longer",
        "tunesmith run recipe.toml --dry-run",
    )
)
def run(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="The recipe to run.", show_default=False)],
    sets: Sets = None,
    runs: Runs = Path("runs"),
    dry_run: DryRun = False,
) -> None:
    """Run a recipe: train, compare with the base, judge, keep.

    Stages that were done before are skipped, and a run that was stopped goes on from where it was.
    """
    from tunesmith.recipe import load_recipe

    _run(load_recipe(recipe, sets or ()), runs, dry_run, None if sets else recipe)


@app.command(
    epilog=example(
        "tunesmith tune data.jsonl",
        "tunesmith tune chats/*.parquet --model ./my-model --name support",
        "tunesmith tune qa.csv --set data.prompt_field=question \\",
        "    --set data.response_field=answer --dry-run",
    )
)
def tune(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="DATA_FILE", help="Files with examples to learn from.", show_default=False),
    ],
    model: Model = DEFAULT_MODEL,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="The run's and the model's name; by default that of the first file.",
        ),
    ] = None,
    sets: Sets = None,
    runs: Runs = Path("runs"),
    dry_run: DryRun = False,
) -> None:
    """Tune a model on your data, and prove that it helped.

    Holds out a part of the data (near-duplicates kept together), trains, compares the result with the base on the
    held-out part and on everyday questions, and prints the recipe that does the same again.
    """
    from tunesmith.cli.console import console
    from tunesmith.doors import recipe_for_data
    from tunesmith.recipe import to_toml

    recipe = recipe_for_data(files, model, name, sets or ())
    saved = runs / recipe.name / "recipe.toml"
    to = console()
    to.print(f"# The recipe{'' if dry_run else f', saved as {saved}'}:", style="dim", soft_wrap=True)
    to.print(to_toml(recipe), soft_wrap=True)
    _run(recipe, runs, dry_run)


@app.command(epilog=example("tunesmith quickstart"))
def quickstart(
    folder: Annotated[
        Path,
        typer.Option("--folder", metavar="FOLDER", help="Where the example is copied to, to read and change."),
    ] = Path("tunesmith-cron"),
    sets: Sets = None,
    runs: Runs = Path("runs"),
    dry_run: DryRun = False,
) -> None:
    """Run the shipped example: plain English to cron, in minutes.

    Copies the example's data and recipe into a folder (used as it is when it exists), and runs the recipe.
    """
    from tunesmith.cli.console import say
    from tunesmith.doors import copy_example, example_folder
    from tunesmith.recipe import load_recipe

    if not dry_run:
        is_new = copy_example("cron", folder)
        say(f"example   {folder}/ {'holds a copy of the shipped example' if is_new else 'was there: used as it is'}")
    recipe = (folder if folder.exists() else example_folder("cron")) / "recipe.toml"
    _run(load_recipe(recipe, sets or ()), runs, dry_run, None if sets else recipe)


def _run(recipe: "Recipe", runs: Path, dry_run: bool, source: Path | None = None) -> None:
    """`source` is the file that holds this very recipe; without one it is the copy in the run's folder."""
    _refuse_ranks(recipe, runs)
    if dry_run:
        from tunesmith.cli.plans import print_recipe_plan

        return print_recipe_plan(recipe)
    from tunesmith.cli.console import say
    from tunesmith.cli.summary import print_summary
    from tunesmith.pipeline import run as run_pipeline

    began = time.monotonic()
    result = run_pipeline(recipe, runs, say)
    print_summary(recipe, result, time.monotonic() - began, str(source or result.folder / "recipe.toml"))


def _refuse_ranks(recipe: "Recipe", runs: Path) -> None:
    from tunesmith.errors import ConfigError
    from tunesmith.train.parallel.ranks import num_started

    if num_started() > 1:
        raise ConfigError(
            f"torchrun started {num_started()} processes, and of all commands only `train` is for several: train with "
            f"`torchrun ... -m tunesmith train RECIPE.toml --out {runs / recipe.name}`, and then give this command "
            "without torchrun; it finds the training done"
        )
