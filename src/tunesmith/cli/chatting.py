"""`tunesmith chat`: talk to a tuned model, alone or beside another."""

import sys
from collections.abc import Mapping
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
        "tunesmith chat --blind work/tuned work/base",
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
    blind: Annotated[
        tuple[str, str] | None,
        typer.Option("--blind", metavar="A B", help="Vote on answers of A and B (samples or models) without names."),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", metavar="FILE", help="With --blind: golden items that the models A and B answer."),
    ] = None,
    votes: Annotated[
        Path, typer.Option("--votes", metavar="FILE", help="With --blind: where the votes are kept.")
    ] = Path("votes.jsonl"),
    voter: Annotated[
        str, typer.Option("--voter", metavar="NAME", help="With --blind: who votes; each has votes of their own.")
    ] = "human",
) -> None:
    """Talk to a tuned model, with --against beside its base.

    With --blind two answers stand side by side without names, and you say which is better; votes are kept, and going
    on later is possible. The names and the win rate come last.

    Commands while talking: /new forgets the conversation, /system TEXT sets another system message, /quit leaves.
    """
    if blind is not None:
        _refuse("--blind", {"REF": reference, "--model": model, "--against": against, "--once": once})
        _vote(blind, prompts, votes, voter, pool, max_tokens)
        return
    _refuse("a chat without --blind", {"--prompts": prompts})
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


def _refuse(what: str, others: Mapping[str, object]) -> None:
    from tunesmith.errors import ConfigError

    given = [name for name, value in others.items() if value is not None]
    if given:
        raise ConfigError(f"{given[0]} does not go with {what}; leave one of them out")


def _vote(
    contestants: tuple[str, str], prompts: Path | None, votes: Path, voter: str, pool: Path, max_tokens: int
) -> None:
    from tunesmith.cli.blind import Booth, typed_duels
    from tunesmith.cli.contestants import duels_between, has_samples, split_name
    from tunesmith.evaluate.judging.votes import VoteFile

    booth = Booth(VoteFile(votes), voter, [split_name(each)[0] for each in contestants])
    if prompts is None and not any(has_samples(split_name(each)[1]) for each in contestants):
        booth.vote(typed_duels(contestants, pool, max_tokens))
    else:
        booth.vote(duels_between(contestants, prompts, pool, max_tokens, seed=0))


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
