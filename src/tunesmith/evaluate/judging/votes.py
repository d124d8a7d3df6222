"""What judges said: votes.jsonl, one vote a line, of people and models alike."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from tunesmith.errors import EvaluateError
from tunesmith.evaluate.judging.duels import Duel
from tunesmith.files import atomic_write

Winner = Literal["a", "b", "tie", "none"]
Order = Literal["ab", "ba"]
Kind = Literal["human", "model"]


@dataclass(frozen=True, slots=True)
class Vote:
    """One judge's word on the answers of the models `a` and `b` to one item.

    `order` says whose answer was shown first. `winner` is "none" where a person skipped, or where a model's verdict
    could not be read. `answers` names prompt and answers; lengths are in characters. Of a model, `judge_digest` names
    weights, engine and prompt, `prompt_digest` the prompt alone, and `wording` which of its wordings was used; the
    `reason` is all that it wrote. `is_same`: the two answers are equal, and nobody was asked. Where `a` is `b`, the
    judge was given one answer twice, to see whether it finds a difference.
    """

    item: str
    a: str
    b: str
    order: Order
    winner: Winner
    judge: str
    kind: Kind
    answers: str
    length_a: int
    length_b: int
    judge_digest: str = ""
    prompt_digest: str = ""
    wording: int = 0
    reason: str = ""
    is_same: bool = False

    @property
    def key(self) -> tuple[str, str, str, str, str, str, int]:
        """Who was asked what: the same is not asked twice."""
        shown = (self.a, self.b) if self.order == "ab" else (self.b, self.a)
        return (self.item, self.answers, *shown, self.judge, self.judge_digest, self.wording)

    def seen_from(self, a: str) -> "Vote":
        """The same vote with the model `a` as the first of the pair."""
        if self.a == a:
            return self
        other: dict[Winner, Winner] = {"a": "b", "b": "a"}
        return replace(
            self,
            a=self.b,
            b=self.a,
            order="ba" if self.order == "ab" else "ab",
            winner=other.get(self.winner, self.winner),
            length_a=self.length_b,
            length_b=self.length_a,
        )


def vote_on(duel: Duel, order: Order, winner: Winner, judge: str, kind: Kind) -> Vote:
    """A vote on a duel."""
    return Vote(
        item=duel.item,
        a=duel.a,
        b=duel.b,
        order=order,
        winner=winner,
        judge=judge,
        kind=kind,
        answers=duel.answers,
        length_a=len(duel.answer_a),
        length_b=len(duel.answer_b),
        is_same=duel.a != duel.b and duel.answer_a == duel.answer_b,
    )


class VoteFile:
    """A votes.jsonl that grows: each vote is on disk before the next is asked for; a torn last line is cut off."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.votes = _mended(path)
        self._keys = {vote.key for vote in self.votes}

    def __contains__(self, vote: Vote) -> bool:
        return vote.key in self._keys

    def append(self, vote: Vote) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(vote), ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.votes.append(vote)
        self._keys.add(vote.key)


def read_votes(paths: Iterable[Path]) -> list[Vote]:
    """All votes of several files; what stands in more than one counts once. Raises EvaluateError at file:line."""
    found: dict[tuple[object, ...], Vote] = {}
    for path in paths:
        if not path.is_file():
            raise EvaluateError(f"{path}: no such file; give a votes.jsonl of `tunesmith chat --blind` or `judge`")
        for vote in _parsed(path, _whole_lines(path)):
            found.setdefault(vote.key, vote)
    return list(found.values())


def _mended(path: Path) -> list[Vote]:
    """The votes of a file, from which a line is cut that a death tore."""
    if not path.exists():
        return []
    lines = _whole_lines(path)
    votes = _parsed(path, lines)
    mended = b"".join(line + b"\n" for line in lines)
    if mended != path.read_bytes():
        with atomic_write(path, "wb") as file:
            file.write(mended)
    return votes


def _whole_lines(path: Path) -> list[bytes]:
    """The lines of a file; a last one without its end counts only where it is whole JSON."""
    *lines, last = path.read_bytes().split(b"\n")
    try:
        json.loads(last)
    except ValueError:
        return lines
    return [*lines, last]


def _parsed(path: Path, lines: Sequence[bytes]) -> list[Vote]:
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            vote = Vote(**json.loads(line))
        except (ValueError, TypeError):
            raise EvaluateError(f"{path}:{number}: not a vote; mend or delete the line") from None
        accepted = vote.winner in get_args(Winner) and vote.order in get_args(Order) and vote.kind in get_args(Kind)
        if not accepted:
            raise EvaluateError(
                f"{path}:{number}: winner {vote.winner!r}, order {vote.order!r}, kind {vote.kind!r}; accepted are "
                "winner a, b, tie or none, order ab or ba, kind human or model"
            )
        found.append(vote)
    return found
