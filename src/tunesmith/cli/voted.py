"""Votes as tables and sentences."""

from collections.abc import Iterable, Sequence

from rich.console import Console

from tunesmith.cli.console import console, plain_table, print_paragraph, print_table
from tunesmith.evaluate.judging.figures import (
    ENOUGH_LABELS,
    FEWEST_LABELS,
    PairFigures,
    Share,
    pair_figures,
    strengths,
)
from tunesmith.evaluate.judging.votes import Vote

LONG_EFFECT = 0.10  # from here on, length is said to have decided


def print_votes(votes: Sequence[Vote], models: Iterable[str] = ()) -> None:
    """All that votes say; of `models` only, where they are named."""
    to, wanted = console(), set(models)
    told = [vote for vote in votes if not wanted or {vote.a, vote.b} <= wanted]
    figures = pair_figures(told)
    for line in _silent(told, {each.judge for each in figures if not each.is_human}):
        print_paragraph(to, line)
    if not figures:
        to.print("There is no win rate.")
    for each in figures:
        _print_pair(to, each)
    if len({name for vote in told if vote.winner != "none" for name in (vote.a, vote.b)}) > 2:
        _print_strengths(to, told)


def _silent(votes: Sequence[Vote], heard: set[str]) -> Iterable[str]:
    """Who was asked, and said nothing that could be read."""
    if not any(vote.kind == "model" for vote in votes) and not any(vote.winner != "none" for vote in votes):
        yield "No vote yet."
    for name in sorted({vote.judge for vote in votes if vote.kind == "model"} - heard):
        own = [vote for vote in votes if vote.judge == name and vote.kind == "model" and vote.a != vote.b]
        unread = sum(vote.winner == "none" for vote in own)
        yield (
            f"judge {name}: {unread} of {len(own)} verdicts could not be read, and no item in both orders. Read its "
            "`reason` in the votes: a small model may not keep to the form, and --judge-tokens may be too few."
        )


def _print_pair(to: Console, found: PairFigures) -> None:
    who = "people" if found.is_human else "judge"
    to.print(f"{found.a} against {found.b}, {who}: {found.judge}", style="bold", soft_wrap=True)
    tied = found.num_items - found.won - found.lost
    to.print(f"  {found.num_items} items: {found.won} won, {found.lost} lost, {tied} tied", soft_wrap=True)
    table = plain_table("  win rate", "", "95 % interval", right=("",))
    low, high = found.interval
    table.add_row("  raw", _percent(found.win_rate), _interval(low, high))
    level = found.length_controlled
    table.add_row("  at equal lengths", _percent(level.value), _interval(level.low, level.high))
    if found.corrected:
        people = found.corrected
        table.add_row("  as people would say", _percent(people.mean), _interval(people.low, people.high))
    print_table(to, table)
    for remark in _remarks(found):
        print_paragraph(to, remark, "  ", "  ")
    to.print()


def _remarks(found: PairFigures) -> Iterable[str]:
    faults = found.faults
    gap = found.win_rate - found.length_controlled.value
    if abs(gap) > LONG_EFFECT:
        yield f"Length moved the win rate by {100 * gap:+.0f} points: trust the one at equal lengths."
    if found.is_human:
        yield from _told(
            ("Skipped", faults.unread),
            ("Decided votes for the answer shown first", faults.first),
            ("Decided items that went to the longer answer", faults.longer),
        )
        return
    yield from _told(
        ("Verdicts that could not be read", faults.unread),
        ("Items where the order of the answers changed the verdict", faults.by_place),
        ("Items that the place alone decided, for the first place", faults.first),
        ("Decided items that went to the longer answer", faults.longer),
        ("Items whose verdict changed when asked in other words", faults.reworded),
        ("Equal answers between which it found a difference", faults.same_decided),
    )
    yield from _about_people(found)


def _told(*shares: tuple[str, Share]) -> Iterable[str]:
    for words, share in shares:
        if share.of:
            low, high = share.interval
            yield f"{words}: {share.hits} of {share.of} ({100 * low:.0f} to {100 * high:.0f} %)."


def _about_people(found: PairFigures) -> Iterable[str]:
    if found.human is None:
        yield "No person judged any of these answers, so nothing says how far this judge is right: chat --blind."
        return
    same = found.human
    yield f"Agrees with people on {100 * same.share:.0f} % of {same.num_items} items (Cohen's kappa {same.kappa:.2f})."
    if same.num_items < FEWEST_LABELS:
        yield f"Fewer than {FEWEST_LABELS} items judged by people do not correct a judge."
    elif same.num_items < ENOUGH_LABELS:
        yield f"Judge {ENOUGH_LABELS} items by people for a correction to rely on."


def _print_strengths(to: Console, votes: Sequence[Vote]) -> None:
    table = plain_table("model", "strength", "95 % interval", "items", right=("strength", "items"))
    for each in strengths(votes):
        interval = f"{each.low:+.2f} to {each.high:+.2f}"
        table.add_row(each.model, f"{each.value:+.2f}", interval, str(each.num_items))
    print_table(to, table)
    told = "Bradley-Terry strengths with ties, in log-odds around the mean, from all judges; intervals draw items anew."
    print_paragraph(to, told, style="dim")


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _interval(low: float, high: float) -> str:
    return f"{100 * max(low, 0.0):.1f} to {100 * min(high, 1.0):.1f}"
