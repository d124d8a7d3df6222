"""`tunesmith compare`: two models on the same items, without a verdict; and what `gate` shows alike."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.app import app, example
from tunesmith.cli.options import BaseModel, Html, Pool, Sets, Work, sections

if TYPE_CHECKING:
    from tunesmith.cli.candidates import Measured
    from tunesmith.report import Row
    from tunesmith.types import Report, Verdict


@app.command(
    epilog=example(
        "tunesmith compare runs/cron/evaluate/base runs/cron/evaluate/tuned --html cron.html",
        "tunesmith compare smollm2-135m pool:cron --policy recipe.toml",
    )
)
def compare(
    before: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="A report or its folder, a log of another tool, a run, a model or adapter folder, pool:REF, a hub id, "
            "or openai:NAME@URL.",
            show_default=False,
        ),
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="What is compared with it.", show_default=False)],
    html: Html = None,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="RECIPE", help="Ask models the tasks of this recipe's [evaluate]."),
    ] = None,
    base: BaseModel = None,
    work: Work = Path("work/gate"),
    pool: Pool = Path("pool"),
    sets: Sets = None,
) -> None:
    """Show what B does better and worse than A, without a verdict.

    Reports are read; models are asked first. Each difference is that of the same items, with its 95 % interval.
    """
    from tunesmith.cli.candidates import Measuring, matched, read_policy
    from tunesmith.report import unjudged
    from tunesmith.report.rows import COMPARED_CONFIDENCE

    recipe = read_policy(policy, sections("compare", sets, "evaluate"))
    measuring = Measuring(recipe, policy, work, pool, base)
    first, (second,) = matched(measuring.measure(before), measuring.measure(after))
    rows = unjudged(first.shown, second.shown)
    print_tables(rows, first.shown, second.shown)
    if html is not None:
        write_comparison(html, first, second, rows, COMPARED_CONFIDENCE)


def print_tables(rows: "Sequence[Row]", base: "Report", tuned: "Report") -> None:
    """The paired differences, and what tuning cost besides."""
    from tunesmith.cli.console import console, print_table
    from tunesmith.cli.scores import rows_table
    from tunesmith.cli.taxes import tax_table

    to = console()
    print_table(to, rows_table(rows))
    taxes = tax_table(base, tuned)
    if taxes is not None:
        to.print()
        print_table(to, taxes)
    to.print()


def write_comparison(
    path: Path,
    base: "Measured",
    tuned: "Measured",
    rows: "Sequence[Row]",
    confidence: float,
    verdict: "Verdict | None" = None,
) -> None:
    """Write the page, and say where it is."""
    from tunesmith.cli.console import console
    from tunesmith.report import Story, write_page

    write_page(path, Story(base.shown, tuned.shown, tuple(rows), confidence, verdict, base.samples, tuned.samples))
    console().print(f"page  {path}", soft_wrap=True)
