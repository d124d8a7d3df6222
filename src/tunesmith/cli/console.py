"""Printing: one console for results, one for complaints, and text that fits 80 columns and survives a pipe."""

import sys
import textwrap

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDEST = 100


def console() -> Console:
    """Where results go. Nothing in a text is markup: data is full of brackets."""
    return Console(file=sys.stdout, markup=False, emoji=False, highlight=False)


def error_console() -> Console:
    """Where errors, hints and questions go."""
    return Console(file=sys.stderr, markup=False, emoji=False, highlight=False)


def say(line: str) -> None:
    """One line of a stage's report, its first word in bold."""
    head, space, rest = line.partition(" ")
    console().print(Text.assemble((head, "bold"), space, rest), soft_wrap=True)


def plain_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """A table without boxes: it reads the same in a terminal, a log and grep."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_header=any(columns))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def print_table(to: Console, table: Table) -> None:
    """Print a table without the blanks that rich leaves at the ends of its lines."""
    with to.capture() as captured:
        to.print(table)
    to.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def print_paragraph(to: Console, text: str, first: str = "", rest: str = "", style: str = "") -> None:
    """A text wrapped to the console's width, with `first` before its first line and `rest` before the others."""
    width = min(to.width, WIDEST)
    lines = textwrap.wrap(text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
    for line in lines:
        to.print(Text(line, style=style), soft_wrap=True)


def one_line(text: str, width: int) -> str:
    """A text on one line, line breaks as ` / `, cut to `width`."""
    joined = " / ".join(part.strip() for part in text.splitlines() if part.strip())
    return joined if len(joined) <= width else joined[: max(width - 3, 1)] + "..."
