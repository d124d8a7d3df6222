"""The typer application, its sections, and the one place where an error becomes a message and an exit code.

Imports nothing heavy, so that `tunesmith --help` is instant; a command imports what it needs when it runs.
"""

from typing import Any

import typer
from typer.core import TyperGroup

from tunesmith.cli.failures import explain, say_failure

SECTIONS = {
    "Start here": ("quickstart", "tune", "run", "show", "lint", "losses", "chat"),
    "Every stage on its own": (
        "data",
        "render",
        "mix",
        "pack",
        "train",
        "evaluate",
        "gate",
        "judge",
        "votes",
        "compare",
        "harness",
        "merge",
        "pool",
    ),
}
COMMON = f"""Every command has --help with an example, and takes --set KEY=VALUE where it reads a recipe's fields.

{chr(8)}
A first try, without any data of your own:
  tunesmith quickstart"""


class Commands(TyperGroup):
    """The top-level group: commands by section, and errors without tracebacks."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(len(name) for name in self.commands)
        for title, names in SECTIONS.items():
            with formatter.section(title):
                limit = formatter.width - width - 4
                formatter.write_dl([(name, self.commands[name].get_short_help_str(limit)) for name in names])

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (Exception, KeyboardInterrupt) as error:
            failure = explain(error, ctx.invoked_subcommand or "")
            if failure is None:
                raise
            say_failure(failure)
            raise typer.Exit(failure.exit_code) from None


app = typer.Typer(
    name="tunesmith",
    cls=Commands,
    help="Examples in, a language model with a proven new behavior out.",
    epilog=COMMON,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)


def example(*lines: str) -> str:
    """The epilog of a command's help: examples, one a line (a backspace tells the formatter not to join them)."""
    return "\n".join(["\b", "Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)])


def _print_version(wanted: bool) -> None:
    if wanted:
        from tunesmith import __version__

        typer.echo(f"tunesmith {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
    ),
) -> None:
    """Examples in, a language model with a proven new behavior out."""
