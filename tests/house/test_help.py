"""The help explains every option, its examples are real, and docs/cli.md is what the commands say."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from tunesmith.cli.reference import commands, examples, reference

COMMANDS = dict(commands())
PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
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


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "docs/cli.md is not what the commands say; write it anew: python -m tunesmith.cli.reference docs/cli.md"
    )
