"""`tunesmith judge` and `votes`: which of two answers is better, and what that judgment is worth."""

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.app import app, example
from tunesmith.cli.options import Pool

Votes = Annotated[
    Path, typer.Option("--votes", metavar="FILE", help="Where votes are kept; a file that exists is gone on with.")
]
Prompts = Annotated[
    Path | None,
    typer.Option(
        "--prompts", metavar="FILE", help="Golden items that two models answer now, in place of samples on disk."
    ),
]


@app.command(
    epilog=example(
        "tunesmith judge work/tuned work/base --judge openai:my-judge@http://localhost:8000/v1",
        "tunesmith judge new=pool:cron old=smollm2-135m --prompts golden.jsonl --judge models/judge",
    )
)
def judge(
    a: Annotated[
        str,
        typer.Argument(metavar="A", help="Samples of `evaluate` (a folder or file), or a model; NAME=... names it."),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="What it is compared with.")],
    judge_model: Annotated[
        str,
        typer.Option("--judge", metavar="M", help="The model that judges: a folder, pool:REF, or openai:NAME@URL."),
    ],
    votes: Votes = Path("votes.jsonl"),
    prompts: Prompts = None,
    criteria: Annotated[
        Path | None,
        typer.Option("--criteria", metavar="FILE", help="What counts, in your words; an item's rubric comes first."),
    ] = None,
    checks: Annotated[
        int,
        typer.Option("--checks", metavar="N", min=0, help="On so many items the judge itself is checked."),
    ] = 20,
    max_items: Annotated[
        int | None, typer.Option("--max-items", metavar="N", min=1, help="Judge only so many items, drawn at random.")
    ] = None,
    judge_tokens: Annotated[
        int,
        typer.Option("--judge-tokens", metavar="N", min=1, help="The longest judgment; a cut one is not read."),
    ] = 512,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", metavar="N", min=1, help="The longest answer to --prompts.")
    ] = 256,
    pool: Pool = Path("pool"),
) -> None:
    """Ask a model which of two answers is better, in both orders.

    Prints the win rate raw and at equal lengths, what the judge's own votes say against it, and, where people judged
    some of the same answers in the same file (chat --blind), the win rate that they would give.
    """
    from tunesmith.cli.contestants import duels_between, generator_of, split_name
    from tunesmith.cli.voted import print_votes
    from tunesmith.evaluate.judging.asking import CRITERIA
    from tunesmith.evaluate.judging.judge import Judge, ask_judge
    from tunesmith.evaluate.judging.votes import VoteFile

    duels = duels_between((a, b), prompts, pool, max_tokens, seed=0)[:max_items]
    name, place = split_name(judge_model)
    told = CRITERIA if criteria is None else criteria.read_text(encoding="utf-8").strip()
    file = VoteFile(votes)
    ask_judge(Judge(name, generator_of(place, pool), told, judge_tokens), duels, file, checks)
    print_votes(file.votes, {split_name(a)[0], split_name(b)[0]})


@app.command(epilog=example("tunesmith votes votes.jsonl", "tunesmith votes monday.jsonl tuesday.jsonl"))
def votes(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Votes of `judge` and `chat --blind`.")],
) -> None:
    """Print what votes say: win rates, faults of judges, strengths.

    With three models or more, Bradley-Terry strengths of all, from the votes of all judges.
    """
    from tunesmith.cli.voted import print_votes
    from tunesmith.evaluate.judging.votes import read_votes

    print_votes(read_votes(files))
