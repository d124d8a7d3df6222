"""Checks of data before training: what would be trained, and what about it is probably a mistake.

Every conversation is rendered by the trainer's own code and shown to each check once. A check keeps counts, digests
and at most a few examples, so that memory stays small at a million conversations. The table of checks stands in
`checks`.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from tunesmith.messages import shown
from tunesmith.model.tokenizer import Tokenizer
from tunesmith.render import RenderConfig, Renderer
from tunesmith.render.lint.results import Example, Level, Result, Results, worst
from tunesmith.render.show.tokens import Reader
from tunesmith.render.show.views import View, views
from tunesmith.types import Conversation, Dropped

MAX_EXAMPLES = 3
MAX_DETAIL = 400

Again = Callable[[], Iterable[Conversation]]
"""Reads the same conversations from the beginning once more."""


class Kind(NamedTuple):
    """One thing that a check can find: how bad it is, how it reads behind a number, and how to mend it."""

    level: Level
    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Setting:
    """What the checks may ask. `skips_records` says that training would go on without records it cannot read."""

    config: RenderConfig
    renderer: Renderer
    tokenizer: Tokenizer
    reader: Reader
    skips_records: bool = False

    @property
    def level_of_drop(self) -> Level:
        """How bad a record is that cannot be read: it stops the run, or is left out."""
        return "warning" if self.skips_records else "error"

    @property
    def level_of_refusal(self) -> Level:
        return "warning" if self.config.refused == "drop" else "error"


class Check:
    """The base of all checks: counts by kind, and the first examples of each."""

    name: ClassVar[str]
    noun: ClassVar[str] = "conversations"
    """What `total` counts."""
    fine: ClassVar[str] = "nothing found"
    kinds: ClassVar[Mapping[str, Kind]] = {}

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.total = 0
        self.counts: Counter[str] = Counter()
        self._examples: dict[str, list[Example]] = {}

    def see(self, view: View) -> None:
        """Look at one conversation."""

    def see_dropped(self, dropped: Dropped) -> None:
        """Look at one record that could not become a conversation."""

    def look_again(self, again: Again) -> None:
        """After everything was seen: read conversations once more, where digests alone do not say enough."""

    def known(self) -> Mapping[str, Kind]:
        """The kinds of finding, as bad as the configuration makes them."""
        return self.kinds

    def summary(self, told: str) -> str:
        """One line; `told` lists what was found, and is empty where nothing was."""
        return f"{told} (of {self.total:,} {self.noun})" if told else f"{self.fine} ({self.total:,} {self.noun})"

    def details(self) -> dict[str, Any]:
        """More for programs, as plain JSON."""
        return {"kinds": {key: self.counts[key] for key in self.known() if self.counts[key]}}

    def lines(self) -> tuple[str, ...]:
        """More for people."""
        return ()

    def result(self) -> Result:
        bad = {key: kind for key, kind in self.known().items() if self.counts[key] and kind.level != "ok"}
        return Result(
            name=self.name,
            level=worst(kind.level for kind in bad.values()),
            summary=self.summary(", ".join(f"{self.counts[key]:,} {kind.what}" for key, kind in bad.items())),
            count=sum(self.counts[key] for key in bad),
            total=self.total,
            remedies=_remedies(bad.values()),
            examples=self._chosen(bad),
            lines=self.lines(),
            details=self.details(),
        )

    def found(self, kind: str, source: str, identifier: str, detail: str) -> None:
        """Count one finding, and keep it where it is among the first of its kind."""
        self.counts[kind] += 1
        self.remember(kind, source, identifier, detail)

    def found_in(self, kind: str, view: View, detail: str) -> None:
        """The same for a conversation."""
        self.found(kind, view.conversation.source, view.conversation.id, detail)

    def remember(self, kind: str, source: str, identifier: str, detail: str) -> None:
        """Keep an example of something that is counted already."""
        kept = self._examples.setdefault(kind, [])
        if len(kept) < MAX_EXAMPLES:
            kept.append(Example(source, identifier, detail[:MAX_DETAIL]))

    def _chosen(self, kinds: Iterable[str]) -> tuple[Example, ...]:
        """Up to three examples, of as many kinds as there are."""
        kept = [self._examples.get(kind, []) for kind in kinds]
        rounds = [each[number] for number in range(MAX_EXAMPLES) for each in kept if number < len(each)]
        return tuple(rounds[:MAX_EXAMPLES])


def lint(
    setting: Setting,
    checks: Sequence[type[Check]],
    conversations: Iterable[Conversation],
    dropped: list[Dropped],
    again: Again,
) -> Results:
    """Show every conversation to every check. `dropped` is filled while `conversations` is read, and emptied here."""
    running = [check(setting) for check in checks]
    total = 0
    for view in views(setting.config, setting.renderer, conversations):
        total += 1
        _drain(running, dropped)
        for check in running:
            check.see(view)
    _drain(running, dropped)
    for check in running:
        check.look_again(again)
    return Results(tuple(check.result() for check in running), total)


def _drain(checks: Sequence[Check], dropped: list[Dropped]) -> None:
    for each in dropped:
        for check in checks:
            check.see_dropped(each)
    dropped.clear()


def _remedies(kinds: Collection[Kind]) -> tuple[str, ...]:
    """How to mend each kind; with the kind's name where there are several ways."""
    ways = dict.fromkeys(kind.remedy for kind in kinds)
    if len(ways) < 2:
        return tuple(ways)
    return tuple(f"{kind.what}: {kind.remedy}" for kind in kinds)


def reason_of(dropped: Dropped) -> str:
    """What is wrong with a record, without the place that its complaint begins with."""
    return dropped.detail.partition(dropped.source)[2].lstrip(":, ") or dropped.detail


def excerpt(text: str) -> str:
    """The beginning of a text as an example shows it."""
    return shown(text)
