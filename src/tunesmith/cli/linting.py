"""`tunesmith lint`: what is probably wrong with the data, before anything is trained."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.app import app, example
from tunesmith.cli.failures import explain, say_failure
from tunesmith.cli.options import DEFAULT_MODEL, Model, Sets
from tunesmith.cli.showing import opened

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.render.lint.results import Result, Results

STYLES = {"ok": "green", "note": "cyan", "warning": "bold yellow", "error": "bold red"}
INDENT = " " * 9


@app.command(
    epilog=example(
        "tunesmith lint data.jsonl",
        "tunesmith lint chats.json --model ./my-model --strict",
        "tunesmith lint chats.json --json --set render.max_tokens=4096 --set render.too_long=drop",
    )
)
def lint(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A data file, folder or glob.", show_default=False)],
    model: Model = DEFAULT_MODEL,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings fail, too.")] = False,
    sets: Sets = None,
) -> None:
    """Look for mistakes in data: one line a check, with examples.

    Renders every conversation as training would and goes on past those that cannot be. Exit code 0: no errors, and
    with --strict no warnings; 1: some; 2: the check could not run.
    """
    try:
        results = _checked(data, model, sets)
    except Exception as error:
        failure = explain(error, "lint")
        if failure is None:
            raise
        say_failure(failure)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(json.dumps({"data": data, "model": model, **results.to_dict()}, indent=2))
    else:
        _print_all(results)
    if results.level == "error" or (strict and results.level == "warning"):
        raise typer.Exit(1)


def _checked(data: str, model: str, sets: list[str] | None) -> "Results":
    from tunesmith.data import data as stream
    from tunesmith.model.tokenizer import Tokenizer
    from tunesmith.render.lint import Setting
    from tunesmith.render.lint import lint as look
    from tunesmith.render.lint.checks import CHECKS
    from tunesmith.render.show.tokens import Reader

    found = opened("lint", data, model, sets)
    config = found.data.model_copy(update={"on_error": "skip"})
    conversations = stream(config)
    skips = found.data.on_error == "skip"
    setting = Setting(found.config, found.renderer, Tokenizer.load(found.folder), Reader(found.renderer), skips)
    return look(setting, CHECKS, conversations, conversations.dropped, lambda: stream(config, lambda dropped: None))


def _print_all(results: "Results") -> None:
    from rich.text import Text

    from tunesmith.cli.console import console
    from tunesmith.progress import count
    from tunesmith.render.lint.results import LEVELS

    to = console()
    width = max(len(result.name) for result in results.results)
    for result in results.results:
        head = Text.assemble((f"{result.level:<8}", STYLES[result.level]), f" {result.name:<{width}}  ")
        to.print(head + Text(result.summary), soft_wrap=True)
        _print_more(to, result)
    numbers = [(sum(result.level == level for result in results.results), level) for level in LEVELS]
    told = ", ".join(f"{number} {level}" for number, level in numbers if number)
    to.print(Text(f"{count(len(results.results), 'check')}: {told}"), soft_wrap=True)


def _print_more(to: "Console", result: "Result") -> None:
    """What stands below a check's line: bars or a ledger, examples, and how to mend it."""
    from rich.text import Text

    from tunesmith.cli.console import print_paragraph
    from tunesmith.render.show import visible

    for line in result.lines:
        to.print(Text(f"{INDENT}{visible(line)}", style="dim"), soft_wrap=True)
    for source, identifier, detail in result.examples:
        first = detail.partition("\n")[0]
        to.print(Text(visible(f"{INDENT}{source} ({identifier}): {first}")), soft_wrap=True)
    for remedy in result.remedies:
        print_paragraph(to, remedy, f"{INDENT}-> ", f"{INDENT}   ", style="italic")
