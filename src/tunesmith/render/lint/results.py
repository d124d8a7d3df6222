"""What the checks say, for people and as plain JSON."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Level = Literal["ok", "note", "warning", "error"]
LEVELS: tuple[Level, ...] = ("ok", "note", "warning", "error")


class Example(NamedTuple):
    """One place where something was found. `source` is file:line."""

    source: str
    id: str
    detail: str


@dataclass(frozen=True, slots=True)
class Result:
    """What a check says: `count` findings among `total` things looked at. `lines` are more to print."""

    name: str
    level: Level
    summary: str
    count: int
    total: int
    remedies: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    lines: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; the lines are for people and left out."""
        return {
            "name": self.name,
            "level": self.level,
            "summary": self.summary,
            "count": self.count,
            "total": self.total,
            "remedies": list(self.remedies),
            "examples": [example._asdict() for example in self.examples],
            "details": dict(self.details),
        }


@dataclass(frozen=True, slots=True)
class Results:
    """All results, in the order of the table."""

    results: tuple[Result, ...]
    num_conversations: int

    @property
    def level(self) -> Level:
        return worst(result.level for result in self.results)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON with stable keys."""
        return {
            "level": self.level,
            "num_conversations": self.num_conversations,
            "checks": [result.to_dict() for result in self.results],
        }


def worst(levels: Iterable[Level]) -> Level:
    """The worst of some levels; `ok` for none."""
    return max(levels, key=LEVELS.index, default="ok")
