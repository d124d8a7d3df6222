"""Whose answers are compared: samples on disk, or models that answer golden items now."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import ConfigError

if TYPE_CHECKING:
    from tunesmith.evaluate.judging.duels import Answered, Duel
    from tunesmith.generate import Generator


def split_name(contestant: str) -> tuple[str, str]:
    """`new=work/tuned` as name and place; without a name, the last part of the place is its name."""
    from tunesmith.cli.speakers import POOL_PREFIX
    from tunesmith.generate.endpoint import endpoint_from, is_remote

    name, equals, place = contestant.partition("=")
    if equals and name and place and "/" not in name and ":" not in name:
        return name, place
    if is_remote(contestant):
        return endpoint_from(contestant).model, contestant
    return Path(contestant).name.removeprefix(POOL_PREFIX).removesuffix(".jsonl"), contestant


def has_samples(place: str) -> bool:
    """Whether a place holds answers: a .jsonl file, or a folder that `tunesmith evaluate` wrote."""
    path = Path(place)
    return (path.is_file() and path.suffix == ".jsonl") or (path / "samples.jsonl").is_file()


def duels_between(
    contestants: Sequence[str], prompts: Path | None, pool: Path, max_tokens: int, seed: int
) -> "list[Duel]":
    """The duels of two contestants, in the order in which they are judged."""
    from tunesmith.evaluate.judging.duels import duels

    (a, first), (b, second) = (split_name(each) for each in contestants)
    if prompts is None:
        answers = [_samples(place) for place in (first, second)]
    else:
        answers = [_answers(place, prompts, pool, max_tokens) for place in (first, second)]
    return duels(a, answers[0], b, answers[1], seed)


def _samples(place: str) -> "dict[str, Answered]":
    from tunesmith.evaluate.judging.duels import answers_in

    if not has_samples(place):
        raise ConfigError(
            f"{place}: no samples here; give the folder that `tunesmith evaluate` wrote, or name golden items with "
            "--prompts FILE, which the model then answers"
        )
    return answers_in(Path(place))


def _answers(place: str, prompts: Path, pool: Path, max_tokens: int) -> "dict[str, Answered]":
    from tunesmith.evaluate.judging.duels import answers_of, open_items
    from tunesmith.generate import Sampling
    from tunesmith.verify import read_items

    if has_samples(place):
        raise ConfigError(f"{place}: these are samples; with --prompts, name two models that answer the prompts")
    items = open_items(read_items(prompts))
    if not items:
        raise ConfigError(f"{prompts}: all items are of the vault, which no judge sees")
    return answers_of(items, generator_of(place, pool), Sampling(max_tokens))


def generator_of(name: str, pool: Path) -> "Generator":
    """The model of a name, behind the ledger: a folder, pool:REF, an embedded model, or a remote one."""
    from tunesmith.cli.speakers import asked
    from tunesmith.evaluate import EvaluateConfig

    return asked(name, pool, None, {}).asked_once(EvaluateConfig())
