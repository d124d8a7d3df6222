"""`tunesmith chat --blind`: two answers without names, and a person who says which is better."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tunesmith.cli.console import console, error_console
from tunesmith.cli.contestants import generator_of, split_name
from tunesmith.cli.voted import print_votes
from tunesmith.errors import EvaluateError
from tunesmith.evaluate.judging.duels import Duel
from tunesmith.evaluate.judging.votes import Order, Vote, VoteFile, Winner, vote_on
from tunesmith.generate import Prompt, Sampling
from tunesmith.types import Message

WIDE = 100
KEYS = "a or b: that answer is better · t: neither · s: skip · q: leave"


class Booth:
    """Where one person votes; `names` are the two models, said only at the end."""

    def __init__(self, votes: VoteFile, voter: str, names: Sequence[str]) -> None:
        self.votes = votes
        self.voter = voter
        self.names = names
        self.console = console()

    def vote(self, duels: Iterable[Duel]) -> None:
        """Show each duel that this person has not seen, until they leave; then the names and the win rate."""
        known = {(vote.item, vote.answers) for vote in self._mine()}
        for duel in duels:
            if (duel.item, duel.answers) in known:
                continue
            if duel.answer_a == duel.answer_b:
                self.votes.append(vote_on(duel, "ab", "tie", self.voter, "human"))
                continue
            picked = self._ask(duel)
            if picked is None:
                break
            self.votes.append(vote_on(duel, order_of(duel, self.voter), picked, self.voter, "human"))
        self._reveal()

    def _ask(self, duel: Duel) -> Winner | None:
        """What the person says; None when they leave."""
        order = order_of(duel, self.voter)
        _show(self.console, duel, order)
        while True:
            try:
                key = input(f"{KEYS}> ").strip().lower()
            except (EOFError, KeyboardInterrupt):
                return None
            if key == "q":
                return None
            if key in ("t", "s"):
                return "tie" if key == "t" else "none"
            if key in ("a", "b"):
                return "a" if (key == "a") == (order == "ab") else "b"
            error_console().print(f"{key!r} is no key here. {KEYS}", style="dim")

    def _mine(self) -> list[Vote]:
        return [vote for vote in self.votes.votes if (vote.judge, vote.kind) == (self.voter, "human")]

    def _reveal(self) -> None:
        self.console.print(f"\nYou compared {' with '.join(self.names)}. Votes: {self.votes.path}", soft_wrap=True)
        print_votes(self._mine(), self.names)


def order_of(duel: Duel, voter: str) -> Order:
    """Which answer this person sees first: a fair coin that always falls alike, so that coming back changes nothing."""
    coin = hashlib.sha256(f"{voter}\n{duel.item}\n{duel.answers}".encode()).digest()[0] % 2
    named = (duel.a, duel.answer_a) < (duel.b, duel.answer_b)  # the same whichever model is named first
    return "ab" if bool(coin) == named else "ba"


def typed_duels(contestants: Sequence[str], pool: Path, max_tokens: int) -> Iterator[Duel]:
    """Duels on what the person types, until an empty line or the end."""
    (a, first), (b, second) = (split_name(each) for each in contestants)
    if a == b:
        raise EvaluateError(f"both models are called {a!r}; name them apart, such as old={first} new={second}")
    sides = [generator_of(place, pool) for place in (first, second)]
    while text := _typed():
        asked, sampling = Prompt((Message("user", text),)), Sampling(max_tokens)
        one, other = (side.generate([asked], sampling)[0].text for side in sides)
        yield Duel(f"typed-{hashlib.sha256(text.encode()).hexdigest()[:12]}", text, a, b, one, other)


def _typed() -> str:
    try:
        return input("you> ").strip()
    except (EOFError, KeyboardInterrupt):
        return ""


def _show(to: Console, duel: Duel, order: Order) -> None:
    shown = (duel.answer_a, duel.answer_b) if order == "ab" else (duel.answer_b, duel.answer_a)
    to.print()
    to.print(Text(duel.prompt, style="bold"), soft_wrap=True)
    if duel.rubric:
        to.print(Text(f"What counts: {duel.rubric}", style="dim"), soft_wrap=True)
    to.print()
    if to.width < WIDE:
        for letter, answer in zip("ab", shown, strict=True):
            to.print(Text.assemble((f"{letter}> ", "bold cyan"), answer), soft_wrap=True)
        to.print()
        return
    table = Table(box=None, pad_edge=False, expand=True, padding=(0, 2, 1, 0))
    for letter in "ab":
        table.add_column(letter, header_style="bold cyan", ratio=1, overflow="fold")
    table.add_row(*(Text(answer) for answer in shown))
    to.print(table)
