"""The help explains every option, its examples are real, and the reference pages are what the code says."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from tunesmith.cli.reference import PAGES, commands, examples, recipe_reference

COMMANDS = dict(commands())
DOCS = Path(__file__).resolve().parents[2] / "docs"
WIDTH = 80


@pytest.mark.parametrize("name", COMMANDS)
def test_every_parameter_is_explained(name: str) -> None:
    for parameter in COMMANDS[name].params:
        assert parameter.help, f"{name}: {parameter.name} has no help text"
        assert parameter.help.rstrip().endswith("."), f"{name}: {parameter.name}: write a sentence"
        assert parameter.metavar or parameter.is_flag, f"{name}: {parameter.name} has no metavar"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_short_help_fits_one_line(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert not command.get_short_help_str(WIDTH - len("  quickstart  ")).endswith("...")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_that_parse(name: str) -> None:
    found = examples(COMMANDS[name])
    assert any(line.startswith(name) for line in found), f"{name} has no example in its help"
    for line in found:
        parse(line)


def parse(line: str) -> None:
    """Raises a usage error when the command line would be refused."""
    words = shlex.split(line)
    depth = 3 if " ".join(words[:3]) in COMMANDS else 2
    command: Any = COMMANDS[" ".join(words[:depth])]
    command.make_context("tunesmith", words[depth:])


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_are_current(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == PAGES[page](), f"docs/{page} is old; run: make reference"


def test_every_recipe_field_is_explained() -> None:
    rows = [line for line in recipe_reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 40
    assert not [row for row in rows if row.endswith(("| None |", "|  |"))]
