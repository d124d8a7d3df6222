"""Draft conversations: the user's turns, the expected answer, and the kind."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from operator import ne
from random import Random

import corrections
import intervals
import refusals
import slots
from nearmiss import NEAR_MISSES
from schedules import KINDS, Schedule, sample

# Expressions that everybody asks for first; they stay in training whatever the held-out rule says.
COMMON = frozenset(f"{minute} * * * *" for minute in ("*", "*/5", "*/10", "*/15", "*/30", "0")) | {"0 0 * * *"}

Turns = list[str]
Draft = tuple[Turns, dict, str]


def held_out(cron: str) -> bool:
    """Whether an expression is kept for the golden set: about one in six, by a fixed hash."""
    return cron not in COMMON and zlib.crc32(cron.encode()) % 6 == 0


def cron_answer(cron: str) -> dict:
    """The answer object of an ordinary schedule."""
    return {"type": "cron", "value": cron}


def refusal_answer(reasons: list[str]) -> dict:
    """The answer object of a request that cron cannot express."""
    return {"type": "refusal", "value": reasons[0], "aliases": reasons[1:]}


def draw(kind: str, rng: Random, accept: Callable[[Schedule], bool]) -> Schedule:
    """A schedule of one kind that meets a condition."""
    return next(schedule for schedule in iter(lambda: sample(kind, rng), None) if accept(schedule))


def first_kind(change: str, rng: Random) -> str:
    """A kind of schedule that the change applies to."""
    return rng.choice(corrections.APPLIES[change])


def revised(
    change: str, start: Schedule, rng: Random, accept: Callable[[Schedule], bool]
) -> tuple[Schedule, dict[str, str]] | None:
    """A revision of a schedule that meets a condition, if a few attempts find one."""
    for _ in range(30):
        result = corrections.revise(change, start, rng)
        if result and accept(result[0]):
            return result
    return None


def familiar_schedule(rng: Random, kind: str, keep: bool) -> Draft:
    """A request in training phrasing; `keep` asks for a held-out expression."""
    schedule = draw(kind, rng, lambda drawn: held_out(drawn.cron) == keep)
    return [intervals.phrase(schedule, rng)], cron_answer(schedule.cron), kind


def familiar_correction(rng: Random, change: str, keep: bool) -> Draft:
    """A request, its answer, and one or two corrections in training phrasing."""
    while True:
        schedule = sample(first_kind(change, rng), rng)
        if not keep and held_out(schedule.cron):
            continue
        result = revised(change, schedule, rng, lambda drawn: held_out(drawn.cron) == keep)
        if result is None:
            continue
        turns = [intervals.phrase(schedule, rng), schedule.cron, corrections.framed(change, result[1], rng)]
        if not keep and rng.random() < 0.25:
            second = rng.choice([name for name in corrections.APPLIES if name != change])
            more = revised(second, result[0], rng, lambda drawn: not held_out(drawn.cron))
            if more:
                turns += [result[0].cron, corrections.framed(second, more[1], rng)]
                result = more
        return turns, cron_answer(result[0].cron), change


def familiar_refusal(rng: Random, reason: str, keep: bool) -> Draft:
    """A request beyond cron in training phrasing."""
    text, reasons = refusals.framed(reason, rng)
    return [text], refusal_answer(reasons), reason


def near_miss(rng: Random, kind: str, keep: bool) -> Draft:
    """An ordinary schedule in words that recall what cron cannot express."""
    template = rng.choice(NEAR_MISSES[kind])
    schedule = draw(kind, rng, lambda s: slots.fits(template, s) and held_out(s.cron) == keep)
    return [intervals.finish(slots.fill(template, schedule, rng), rng)], cron_answer(schedule.cron), kind


def unfamiliar_schedule(rng: Random, kind: str, template: str) -> Draft:
    """A request from one unfamiliar family."""
    schedule = draw(kind, rng, lambda drawn: slots.fits(template, drawn))
    return [slots.fill(template, schedule, rng)], cron_answer(schedule.cron), kind


def unfamiliar_correction(rng: Random, change: str, template: str, families: dict) -> Draft:
    """A request and a correction, both from unfamiliar families."""
    result = None
    while result is None:
        kind = first_kind(change, rng)
        first = rng.choice(families[kind])
        schedule = draw(kind, rng, partial(slots.fits, first))
        text = slots.fill(first, schedule, rng)
        result = revised(change, schedule, rng, partial(ne, schedule))
    return [text, schedule.cron, template.format(**result[1])], cron_answer(result[0].cron), change


def unfamiliar_refusal(rng: Random, reason: str, template: str) -> Draft:
    """A request beyond cron from one unfamiliar family."""
    text, reasons = refusals.request(reason, template, rng)
    return [text], refusal_answer(reasons), reason


FAMILIAR: dict[str, tuple[Callable[[Random, str, bool], Draft], tuple[str, ...]]] = {
    "schedule": (familiar_schedule, KINDS),
    "near miss": (near_miss, tuple(NEAR_MISSES)),
    "correction": (familiar_correction, tuple(corrections.APPLIES)),
    "refusal": (familiar_refusal, tuple(refusals.FAMILIES)),
}
