"""Two answers to one prompt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tunesmith.errors import EvaluateError
from tunesmith.evaluate.run import SAMPLES, prompt_of, prompt_text
from tunesmith.evaluate.vault import VAULT
from tunesmith.files import fingerprint, read_jsonl
from tunesmith.generate import Generator, Sampling
from tunesmith.stats import hash_order
from tunesmith.types import Sample
from tunesmith.verify import Item

SEALED = "vault"


class Answered(NamedTuple):
    """What was asked, for people to read, what one model answered, and the item's rubric, if it has one."""

    prompt: str
    answer: str
    rubric: str = ""


@dataclass(frozen=True, slots=True)
class Duel:
    """The answers of the models named `a` and `b` to one prompt."""

    item: str
    prompt: str
    a: str
    b: str
    answer_a: str
    answer_b: str
    rubric: str = ""

    @property
    def answers(self) -> str:
        """Names prompt, rubric and answers, whichever model is called `a`: equal ones are the same duel."""
        return fingerprint([self.prompt, self.rubric, sorted([self.answer_a, self.answer_b])])


def answers_in(path: Path) -> dict[str, Answered]:
    """The first answers in a samples.jsonl, or in the folder that `tunesmith evaluate` wrote, by task and item.

    Raises EvaluateError where it is another file, or one of the vault.
    """
    file = path / SAMPLES if path.is_dir() else path
    if file.resolve().parent.name == VAULT:
        raise EvaluateError(f"{file}: answers of the vault are shown to no judge; give those of the other splits")
    found: dict[str, Answered] = {}
    for line, raw in read_jsonl(file):
        try:
            sample = Sample(**raw)
        except TypeError:
            raise EvaluateError(
                f"{file}:{line}: not a sample; give a samples.jsonl that `tunesmith evaluate` wrote, or its folder"
            ) from None
        if sample.number == 0:
            found[f"{sample.task}/{sample.item_id}"] = Answered(sample.prompt, sample.completion)
    return found


def open_items(items: Sequence[Item]) -> list[Item]:
    """The items that a judge may see: those of the vault are left out."""
    return [item for item in items if item.split != SEALED]


def answers_of(items: Sequence[Item], generator: Generator, sampling: Sampling) -> dict[str, Answered]:
    """What a model answers to golden items."""
    completions = generator.generate([prompt_of(item) for item in items], sampling)
    return {
        item.id: Answered(prompt_text(item), completion.text, item.rubric)
        for item, completion in zip(items, completions, strict=True)
    }


def duels(
    a: str, answers_a: Mapping[str, Answered], b: str, answers_b: Mapping[str, Answered], seed: int = 0
) -> list[Duel]:
    """The items that both answered, in an order that `seed` shuffles: whoever stops early has judged a random part.

    Raises EvaluateError where both have one name, nothing in common, or other prompts under the same id.
    """
    if a == b:
        raise EvaluateError(f"both models are called {a!r}; name them apart, such as old={a} new={b}")
    shared = [item for item in answers_a if item in answers_b]
    if not shared:
        raise EvaluateError(f"{a} and {b} answered no item in common; ask both the same items")
    other = [item for item in shared if answers_a[item].prompt != answers_b[item].prompt]
    if other:
        raise EvaluateError(f"{a} and {b} were asked other prompts under the id {other[0]!r}; ask both the same items")
    made = [
        Duel(item, answers_a[item].prompt, a, b, answers_a[item].answer, answers_b[item].answer, answers_a[item].rubric)
        for item in shared
    ]
    return [made[index] for index in hash_order(shared, str(seed))]
