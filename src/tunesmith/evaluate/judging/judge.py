"""A model as a judge: every duel in both orders, and the same questions put to the judge itself."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tunesmith.evaluate.judging.asking import CRITERIA, pick, prompt_digest, question, winner_of
from tunesmith.evaluate.judging.duels import Duel
from tunesmith.evaluate.judging.votes import Order, Vote, VoteFile, vote_on
from tunesmith.files import fingerprint
from tunesmith.generate import Completion, Generator, Sampling
from tunesmith.progress import Progress

ORDERS: tuple[Order, Order] = ("ab", "ba")
SAME = "the answers are the same"


@dataclass(frozen=True, slots=True)
class Judge:
    """A model that judges, greedily; `criteria` are what it judges by where an item has no rubric of its own."""

    name: str
    generator: Generator
    criteria: str = CRITERIA
    max_tokens: int = 512

    @property
    def digest(self) -> str:
        """Names all that decides its verdicts: weights, engine, prompt and limit."""
        return fingerprint(
            [self.generator.digest, self.generator.engine, prompt_digest(self.criteria), self.max_tokens]
        )


class Request(NamedTuple):
    """One question to the judge: its duel, order and wording."""

    duel: Duel
    order: Order
    wording: int


def ask_judge(judge: Judge, duels: Sequence[Duel], votes: VoteFile, num_checks: int = 20) -> None:
    """Have all duels judged in both orders, and write each vote as soon as it is there; what `votes` holds already is
    not asked again.

    Of the first `num_checks` duels the judge is also asked in other words, in both orders, and given the answer of
    `b` twice: a sound judge changes no verdict, and calls the latter a tie.
    """
    asked = [each for each in requests(duels, num_checks) if _vote(judge, each) not in votes]
    free = [each for each in asked if _vote(judge, each).is_same]
    for each in free:
        votes.append(replace(_vote(judge, each), winner="tie", reason=SAME))
    paid = [each for each in asked if not _vote(judge, each).is_same]
    if not paid:
        return
    prompts = [question(each.duel, each.order, judge.criteria, each.wording) for each in paid]
    with Progress(f"judge {judge.name}", len(paid)) as progress:

        def judged(index: int, completion: Completion) -> None:
            told = winner_of(pick(completion), paid[index].order)
            votes.append(replace(_vote(judge, paid[index]), winner=told, reason=completion.text))
            progress.advance(1)

        judge.generator.generate(prompts, Sampling(judge.max_tokens), judged)


def requests(duels: Sequence[Duel], num_checks: int) -> list[Request]:
    """All that a judge is asked: the duels, then the checks of the judge."""
    found = [Request(duel, order, 0) for duel in duels for order in ORDERS]
    for duel in duels[:num_checks]:
        found += [Request(duel, order, 1) for order in ORDERS]
        found.append(Request(replace(duel, a=duel.b, answer_a=duel.answer_b), "ab", 0))
    return found


def _vote(judge: Judge, request: Request) -> Vote:
    """The vote that the answer to a request makes, without a winner yet."""
    told = vote_on(request.duel, request.order, "none", judge.name, "model")
    prompt = prompt_digest(judge.criteria)
    return replace(told, judge_digest=judge.digest, prompt_digest=prompt, wording=request.wording)
