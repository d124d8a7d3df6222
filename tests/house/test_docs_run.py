"""Every command in README and docs runs, in the order of its page, on a tiny model in place of the embedded one.

Commands that set up or install (`make`, `pip`, `git`) are run by CI instead, as they are written.
"""

import re
import shlex
from pathlib import Path

import pytest
from test_help import parse
from typer.testing import CliRunner

from tunesmith.cli import app
from tunesmith.files import read_json
from tunesmith.generate import certificate
from tunesmith.model import embedded

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [
    REPOSITORY / "README.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *REPOSITORY.glob("examples/*/README.md"),
]
RUN_BY_CI = ("make ", "pip ", "python -m venv", "git ", "cd ", "source ")


def commands_of(page: Path) -> list[str]:
    """The command lines of a page's console and sh blocks; continued lines joined, comments and output left out."""
    blocks = re.findall(r"```(?:console|sh)\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line.removeprefix("$ ") for line in lines if line and not line.startswith("#")]


def is_ours(line: str) -> bool:
    return line.startswith("tunesmith ")


def test_every_command_is_ours_or_run_by_ci():
    for page in PAGES:
        if page.name == "cli.md":
            continue
        for line in commands_of(page):
            known = is_ours(line) or line.startswith(RUN_BY_CI) or line.startswith("python examples/")
            assert known, f"{page.name}: nobody runs {line!r}"


def test_commands_elsewhere_on_a_page_would_be_accepted():
    """Lines of other blocks, which name files or models of the reader's, are at least spelled rightly."""
    found = 0
    for page in PAGES:
        text = re.sub(r"```(?:console|sh)\n.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for block in re.findall(r"```[a-z]*\n(.*?)```", text.replace("\\\n", " "), flags=re.DOTALL):
            for line in block.splitlines():
                if is_ours(line) and page.name != "cli.md":
                    parse(line.split("  #")[0])
                    found += 1
    assert found > 3


def pages():
    """The pages as parameters; the README's commands run the shipped example from end to end, which takes a while."""
    for page in PAGES:
        if page.name != "cli.md":
            marks = [pytest.mark.slow] if page == PAGES[0] else []
            yield pytest.param(page, id=f"{page.parent.name}-{page.stem}", marks=marks)


@pytest.mark.parametrize("page", list(pages()))
def test_commands_run(page, in_tmp, tiny_model_folder, monkeypatch):
    """cli.md is left out: its examples name files of the reader's; `test_help.py` parses them."""
    monkeypatch.setattr(embedded, "embedded_folder", lambda name: tiny_model_folder)
    monkeypatch.setattr(embedded, "embedded_tokenizer", lambda name: tiny_model_folder)
    # The A/A certificate's process of its own takes seconds to start; here it is none.
    monkeypatch.setattr(certificate, "_in_fresh_process", lambda spec: certificate.answers_of(read_json(spec)))
    for shipped in ("examples", "recipes"):
        (in_tmp / shipped).symlink_to(REPOSITORY / shipped)
    for line in commands_of(page):
        if not is_ours(line):
            continue
        line = re.sub(r"(?<= )/tmp/", f"{in_tmp}/", line)
        result = CliRunner().invoke(app, shlex.split(line)[1:], catch_exceptions=True)
        assert result.exit_code == 0, f"{page.name}: {line}\n{result.output}\n{result.exception!r}"
