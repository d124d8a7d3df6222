"""docs/cli.md and docs/recipe.md, made from the commands and schemas: `make reference` writes them anew."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from tunesmith.cli import app
from tunesmith.cli.app import SECTIONS
from tunesmith.config import inner_config

INTRODUCTION = """\
# The command line

Made from the commands' own words by `make reference`; change them, not this page.

Every command has `--help`. Results go to the standard output, progress and complaints to the standard error. Exit
codes: 0 done, 1 an error, 2 a recipe, field or option that cannot work, 130 stopped with Ctrl-C; `tunesmith gate`
gives 0 for PASS, 3 for INCONCLUSIVE and 4 for FAIL.

`--set KEY=VALUE` changes one field of the recipe; a command for one stage reads only the tables that it uses, such as
`data.*`. The value is read as TOML where it is TOML, else as plain text."""


def reference() -> str:
    """The whole page."""
    top: Any = typer.main.get_command(app)
    parts = [INTRODUCTION]
    for title, names in SECTIONS.items():
        parts.append(f"## {title}")
        for name in names:
            parts += _pages(f"tunesmith {name}", top.commands[name])
    return "\n\n".join(parts) + "\n"


def commands() -> Iterator[tuple[str, Any]]:
    """Every command by its full name, in the order of the page."""
    top: Any = typer.main.get_command(app)
    for name in (name for names in SECTIONS.values() for name in names):
        command = top.commands[name]
        yield f"tunesmith {name}", command
        for inner, child in getattr(command, "commands", {}).items():
            yield f"tunesmith {name} {inner}", child


def examples(command: Any) -> list[str]:
    """The command lines of a command's examples, continued lines joined."""
    text = (command.epilog or "").replace("\\\n", " ")
    return [" ".join(line.split()) for line in text.splitlines() if line.strip().startswith("tunesmith ")]


def _pages(name: str, command: Any) -> Iterator[str]:
    yield "\n\n".join([f"### {name}", *_page(name, command)])
    for inner, child in getattr(command, "commands", {}).items():
        yield "\n\n".join([f"#### {name} {inner}", *_page(f"{name} {inner}", child)])


def _page(name: str, command: Any) -> Iterator[str]:
    yield str(command.help).strip()
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    rest = " COMMAND" if hasattr(command, "commands") else ""
    if not rest:
        yield f"    {' '.join([name, *map(_usage, arguments), '[OPTIONS]' if options else '']).strip()}"
    rows = [*map(_argument_row, arguments), *map(_option_row, options)]
    if rows:
        yield "\n".join(["| | |", "|---|---|", *rows])
    shown = str(command.epilog).removeprefix("\b\n").partition("\n")[2]
    lines = "\n".join(line.removeprefix("  ") for line in shown.splitlines())
    yield f"```console\n{lines}\n```"


def _usage(argument: Any) -> str:
    repeated = "..." if argument.nargs == -1 else ""
    return f"{argument.metavar}{repeated}" if argument.required else f"[{argument.metavar}]{repeated}"


def _argument_row(argument: Any) -> str:
    return f"| `{argument.metavar}` | {argument.help} |"


def _option_row(option: Any) -> str:
    spelled = f"{option.opts[0]} {option.metavar}" if option.metavar else option.opts[0]
    spelled = spelled.replace("|", "\\|")  # a bare one would end the table's cell
    return f"| `{spelled}` | {option.help}{_default(option)} |"


def _default(option: Any) -> str:
    if option.required:
        return " Required."
    if option.is_flag or option.default is None or option.multiple:
        return ""
    return f" Default: `{option.default}`."


RECIPE_INTRODUCTION = """\
# The fields of a recipe

Made from the schemas' own words by `make reference`; change them, not this page. Write them in TOML, one table for
each stage, or set one with `--set TABLE.FIELD=VALUE`."""


def recipe_reference() -> str:
    """The page of all recipe fields: one table for each stage's config."""
    from tunesmith.recipe import Recipe

    parts = [RECIPE_INTRODUCTION]
    for name, field in Recipe.model_fields.items():
        if name != "name":
            parts += _tables(name, inner_config(field.annotation), "##")
    return "\n\n".join(parts) + "\n"


def _tables(name: str, config: Any, heading: str) -> Iterator[str]:
    """The table of a config, then those of the configs inside it."""
    yield f"{heading} {name}\n\n{config.__doc__}"
    yield _field_table(config)
    for field, info in config.model_fields.items():
        inner = inner_config(info.annotation)
        if inner is not None:
            yield from _tables(f"{name}.{field}", inner, "###")


def _field_table(config: Any) -> str:
    rows = [
        f"| `{name}` | {_shown_default(field)} | {' '.join(str(field.description).split())} |"
        for name, field in config.model_fields.items()
    ]
    return "\n".join(["| field | default | |", "|---|---|---|", *rows])


def _shown_default(field: Any) -> str:
    if inner_config(field.annotation) is not None and field.default != ():
        return "see below"
    if field.is_required():
        return "required"
    if field.default is None:
        return "none"
    return "empty" if field.default in ((), {}) else f"`{field.default}`"


PAGES = {"cli.md": reference, "recipe.md": recipe_reference}

if __name__ == "__main__":
    for page, make in PAGES.items():
        (Path(sys.argv[1]) / page).write_text(make(), encoding="utf-8")
