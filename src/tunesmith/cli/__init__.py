"""The command line: thin faces over the package's functions, one file for each family of commands.

app.py         the application, its sections, errors to messages      failures.py   which message, which exit code
options.py     options that several commands share                    console.py    printing
runs.py        run, tune, quickstart                                  stages.py     data, render, mix, pack
training.py    train                                                  judging.py    evaluate, gate
pools.py       pool list, show, history, promote, ...                 showing.py    show
chatting.py    chat                                                   linting.py    lint
voting.py      judge, votes                                           blind.py      chat --blind
losses.py      losses                                                 summary.py    what a finished run prints
merging.py     merge                                                  candidates.py models that gate and merge measure
comparing.py   compare                                                harnessing.py harness
"""

from tunesmith.cli import (
    chatting,
    comparing,
    harnessing,
    judging,
    linting,
    losses,
    merging,
    pools,
    runs,
    showing,
    stages,
    training,
    voting,
)
from tunesmith.cli.app import app

__all__ = [
    "app",
    "chatting",
    "comparing",
    "harnessing",
    "judging",
    "linting",
    "losses",
    "main",
    "merging",
    "pools",
    "runs",
    "showing",
    "stages",
    "training",
    "voting",
]


def main() -> None:
    """The entry point of the command `tunesmith`."""
    app(prog_name="tunesmith")
