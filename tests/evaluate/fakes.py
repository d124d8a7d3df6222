"""A model made of functions, and tasks to ask it."""

from collections.abc import Callable, Sequence
from typing import Any

from tunesmith.evaluate import Task
from tunesmith.evaluate.prices import PRICES
from tunesmith.generate import Completion, Likelihood, Prompt
from tunesmith.verify import item_from_record
from tunesmith.verify.scorers import BUILT_IN


class Fake:
    """Answers by `say(prompt)`, prices by `cost(prompt, continuation)`; notes what it was asked."""

    def __init__(self, say: Callable[[Prompt], str] = lambda prompt: "4", cost: Any = None, digest: str = "d") -> None:
        self.say, self.cost, self.digest, self.engine = say, cost, digest, "fake"
        self.asked: list[Prompt] = []

    def generate(self, prompts: Sequence[Prompt], sampling: Any, on_done: Any = None) -> list[Completion]:
        found = []
        for index, prompt in enumerate(prompts):
            self.asked.append(prompt)
            found.append(Completion(self.say(prompt), (1, 2), True, gap=0.5))
            if on_done:
                on_done(index, found[-1])
        return found

    def log_likelihood(self, prompts: Any, continuations: Any, window: Any = None, on_done: Any = None) -> Any:
        found = []
        for index, (prompt, offered) in enumerate(zip(prompts, continuations, strict=True)):
            self.asked.append(prompt)
            texts = [each if isinstance(each, str) else each.content for each in offered]
            found.append(tuple(Likelihood(self.cost(prompt, text), len(text.split()), len(text)) for text in texts))
            if on_done:
                on_done(index, found[-1])
        return found


def items(*values: str, **more: Any) -> tuple[Any, ...]:
    return tuple(
        item_from_record(
            {
                "id": f"i{number}",
                "cluster": f"c{number % 2}",
                "messages": [{"role": "user", "content": f"question {number}"}],
                "answer": {"type": "text", "value": value},
                **more,
            },
            "here",
        )
        for number, value in enumerate(values)
    )


def task(judge: Any = "exact", asked: Any = None, name: str = "sums", **options: Any) -> Task:
    """A task by the name of its scorer or price, or with a function of its own."""
    found = BUILT_IN[judge][0] if judge in BUILT_IN else PRICES.get(judge, judge) if isinstance(judge, str) else judge
    mark = f"{judge}@1" if isinstance(judge, str) else "own"
    return Task(name, items("4", "5", "4") if asked is None else asked, found, mark, **options)
