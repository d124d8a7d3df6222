"""`--dry-run`: the plan, each derived number with its reason, worked out in a folder that is gone afterwards."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tunesmith.cli.console import console, plain_table, print_table, say

if TYPE_CHECKING:
    from tunesmith.pack import PackConfig
    from tunesmith.recipe import Recipe
    from tunesmith.train.plan import Plan


def print_recipe_plan(recipe: "Recipe") -> None:
    """Read, render and pack the data of a recipe, and print what training it would do."""
    from tunesmith.pipeline import Run
    from tunesmith.train.plan import make_plan

    with TemporaryDirectory(prefix="tunesmith-plan-") as folder:
        run = Run(recipe, Path(folder), say)
        manifest = run.data()
        _ = run.tasks  # so that a missing golden file or scorer shows
        rendered = run.render(manifest)
        run.pack(rendered)
        batches = run.batches(rendered)
        plan = make_plan(recipe.train, recipe.model, run.model_folder, batches)
    print_plan(plan, recipe.pack)


def print_plan(plan: "Plan", config: "PackConfig") -> None:
    """The plan as a table."""
    to = console()
    table = plain_table("plan", "value", "why")
    for line in plan.lines:
        table.add_row(line.name, line.value, line.reason)
    table.add_row(
        "row limit", f"{config.row_tokens:,} tokens", "pack.row_tokens: what passes through the model at once"
    )
    to.print()
    print_table(to, table)
    to.print()
    to.print("This was a dry run: nothing was trained or written.")
