"""`tunesmith chat`: talk to a tuned model, alone or beside another."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.app import app, example
from tunesmith.cli.options import Pool

if TYPE_CHECKING:
    from tunesmith.cli.speakers import Speaker


@app.command(
    epilog=example(
        "tunesmith chat",
        "tunesmith chat cron --against base",
        'tunesmith chat cron --once "every weekday at 7:30 in the morning"',
        "tunesmith chat --model smollm2-135m",
    )
)
def chat(
    reference: Annotated[
        str | None,
        typer.Argument(metavar="REF", help="An alias or digest of the pool; by default the alias moved last."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="M",
            help="Talk to this model instead; with REF, where its base model lies now.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="base|REF", help="Answer beside it: its base, or another pool entry."),
    ] = None,
    pool: Pool = Path("pool"),
    system: Annotated[
        str | None,
        typer.Option("--system", metavar="TEXT", help="The system message; by default the one it was trained with."),
    ] = None,
    temperature: Annotated[
        float,
        typer.Option("--temperature", metavar="T", min=0, help="0 takes the most probable words; higher varies."),
    ] = 0.0,
    max_tokens: Annotated[int, typer.Option("--max-tokens", metavar="N", min=1, help="The longest answer.")] = 256,
    once: Annotated[
        str | None,
        typer.Option("--once", metavar="TEXT", help="Print one answer to this and exit; - reads the standard input."),
    ] = None,
) -> None:
    """Talk to a tuned model, with --against beside its base.

    Commands while talking: /new forgets the conversation, /system TEXT sets another system message, /quit leaves.
    """
    from tunesmith.cli.dialogue import Dialogue
    from tunesmith.generate import Sampling

    speakers = _speakers(reference, model, against, pool)
    question = sys.stdin.read().strip() if once == "-" else once
    chosen = _system_message(speakers[0], system)
    dialogue = Dialogue(speakers, chosen, Sampling(max_tokens, temperature))
    if question is None:
        dialogue.talk()
    else:
        dialogue.answer_once(question)


def _speakers(reference: str | None, model: str | None, against: str | None, pool: Path) -> "list[Speaker]":
    from tunesmith.cli.speakers import POOL_PREFIX, Speaker, default_reference, from_pool, named
    from tunesmith.errors import ConfigError

    if model is not None and reference is None:
        first = named(model, pool)
    else:
        wanted = (reference or default_reference(pool)).removeprefix(POOL_PREFIX)
        first = from_pool(pool, wanted, model)
    if against is None:
        return [first]
    if against != "base":
        return [first, from_pool(pool, against.removeprefix(POOL_PREFIX))]
    if first.base is None:
        raise ConfigError(f"--against base: {first.label} is no entry of the pool, so no base is known for it")
    return [first, Speaker("base", first.base)]


def _system_message(speaker: "Speaker", asked: str | None) -> str | None:
    """What was asked for, or the message that all training conversations shared; this is said once."""
    if asked is not None or speaker.system is None:
        return asked or None
    from tunesmith.cli.console import error_console, one_line

    note = f"System message, as in training: {one_line(speaker.system, 200)}"
    error_console().print(note, style="dim", soft_wrap=True)
    return speaker.system
