"""`tunesmith losses`: the conversations that training found hardest, which is where wrong labels gather."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.app import app, example

if TYPE_CHECKING:
    from tunesmith.train.conversation_losses import Course
    from tunesmith.types import Conversation

QUOTED = 60


@app.command(epilog=example("tunesmith losses runs/cron", "tunesmith losses runs/cron --never-fell --num 50 --json"))
def losses(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run's folder, or that of one of its phases.", show_default=False)
    ],
    num: Annotated[int, typer.Option("--num", metavar="N", min=1, help="How many conversations to list.")] = 20,
    never_fell: Annotated[
        bool, typer.Option("--never-fell", help="Only those whose loss no epoch made clearly lower.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """List the conversations with the highest loss in their last epoch.

    A loss that stays high while others fall is a hard conversation or a wrong one: read them, with the file and line
    they come from. Needs a run that has trained, for two epochs or more where --never-fell is asked.
    """
    from tunesmith.train.conversation_losses import read_courses, worst

    courses = read_courses(_training(run))
    chosen = worst(courses, num, never_fell)
    known = _conversations(run, {course.conversation_id for course in chosen})
    if as_json:
        for course in chosen:
            typer.echo(json.dumps(_record(course, known.get(course.conversation_id)), ensure_ascii=False))
    else:
        _print_table(chosen, known, courses, never_fell)


def _training(run: Path) -> Path:
    """The folder of the training: of its last phase that has begun, where there are several."""
    from tunesmith.train.conversation_losses import FILE

    phases = sorted((run / "train").glob(f"*/{FILE}"))
    if phases:
        return phases[-1].parent
    return run / "train" if (run / "train").is_dir() else run


def _conversations(run: Path, wanted: set[str]) -> dict[str, "Conversation"]:
    """The conversations themselves, where the run that `run` is, or is in, holds them."""
    from tunesmith.data import iter_conversations

    around = (run, *run.resolve().parents[:2])
    folder = next((each / "data" for each in around if (each / "data").is_dir()), None)
    files = sorted(folder.rglob("conversations.jsonl")) if folder else []
    return {each.id: each for path in files for each in iter_conversations(path) if each.id in wanted}


def _record(course: "Course", conversation: "Conversation | None") -> dict[str, object]:
    return {
        "id": course.conversation_id,
        "losses": [round(loss, 5) for loss in course.losses],
        "num_supervised": course.num_supervised,
        "never_fell": course.never_fell,
        "source": conversation.source if conversation else None,
    }


def _print_table(
    chosen: list["Course"], known: dict[str, "Conversation"], courses: list["Course"], never_fell: bool
) -> None:
    from tunesmith.cli.console import console, plain_table, print_table
    from tunesmith.progress import count

    to = console()
    if not chosen:
        to.print("None: every conversation that was visited more than once fell.", soft_wrap=True)
        return
    table = plain_table("loss", "at first", "trained", "where", "ends with", right=("loss", "at first", "trained"))
    for course in chosen:
        conversation = known.get(course.conversation_id)
        where = conversation.source if conversation and conversation.source else course.conversation_id
        first = f"{course.losses[0]:.3f}" if len(course.losses) > 1 else ""
        table.add_row(f"{course.last:.3f}", first, f"{course.num_supervised:,}", where, _ending(conversation))
    print_table(to, table)
    stuck = sum(course.never_fell for course in courses)
    to.print()
    to.print(
        f"{len(chosen):,} of {count(len(courses), 'conversation')}; {stuck:,} never fell. Loss in nats a trained "
        "token, in the last epoch that visited the conversation; short answers vary most.",
        soft_wrap=True,
    )


def _ending(conversation: "Conversation | None") -> str:
    from tunesmith.cli.console import one_line

    if conversation is None:
        return ""
    text = conversation.text if conversation.text is not None else conversation.messages[-1].content
    return one_line(text, QUOTED)
