"""`--dry-run`: the plan, each derived number with its reason, worked out in a folder that is gone afterwards."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tunesmith.cli.console import console, plain_table, print_paragraph, print_table, say

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
        run.data()
        _ = run.tasks  # so that a missing golden file or scorer shows
        plans = []
        for phase in run.phases:
            batches = run.prepare(phase).batches()
            plans.append((phase, make_plan(phase.train, recipe.model, run.model_folder, batches)))
    for phase, plan in plans:
        print_plan(plan, phase.pack, phase.folder)
    say_dry()


def say_dry() -> None:
    """The last line of a plan."""
    console().print("\nThis was a dry run: nothing was trained or written.")


def print_plan(plan: "Plan", config: "PackConfig", phase: str = "") -> None:
    """The plan as a table, under the name of its phase where there are several."""
    to = console()
    table = plain_table("plan", "value", "why")
    for line in plan.lines:
        table.add_row(line.name, line.value, line.reason)
    table.add_row(
        "row limit", f"{config.row_tokens:,} tokens", "pack.row_tokens: what passes through the model at once"
    )
    to.print(f"\n{phase}" if phase else "")
    print_table(to, table)
    for each in plan.advice:
        print_paragraph(to, f"advice: {each.text} ({each.source}).", "\n", "  ", style="yellow")
