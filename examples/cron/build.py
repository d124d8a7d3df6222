"""Write train.jsonl and golden.jsonl next to this file. The same seed gives the same bytes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import count, cycle
from pathlib import Path
from random import Random

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

import drafts  # noqa: E402
import refusals  # noqa: E402
import unfamiliar  # noqa: E402
from drafts import FAMILIAR, Draft, Turns  # noqa: E402
from everyday import EVERYDAY  # noqa: E402
from skeletons import NearDuplicates, mask_slots  # noqa: E402

SYSTEM = "Answer in cron."
SEED = 20240229
TRAIN = {"schedule": 1500, "near miss": 40, "correction": 150, "refusal": 230}
GOLDEN = {
    "gate": {"schedule": 166, "correction": 20, "refusal": 14},
    "dev": {"schedule": 68, "correction": 8, "refusal": 7},
}


def pairs(families: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    """Every (kind, template) in turn, forever, kind by kind so that a short run still covers all kinds."""
    longest = max(map(len, families.values()))
    order = [(kind, group[i]) for i in range(longest) for kind, group in families.items() if i < len(group)]
    return cycle(order)


class Builder:
    """Collects conversations and keeps prompts distinct and the golden set apart from training."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.prompts: set[str] = set()
        self.golden: list[dict] = []
        self.train: list[dict] = []
        self.blocked: set[str] = set()
        self.near_golden = NearDuplicates()
        self.near_train = NearDuplicates()

    def collect(self, make: Callable[[], Draft], accept: Callable[[Turns], bool]) -> Draft:
        """The next draft whose prompt is new and acceptable."""
        for _ in range(2000):
            draft = make()
            if key(draft[0]) not in self.prompts and accept(draft[0]):
                self.prompts.add(key(draft[0]))
                return draft
        raise RuntimeError("no new prompt in 2000 attempts")

    def add_golden(self, split: str, cluster: str, tag: str, draft: Draft) -> None:
        """File a draft as an evaluation item."""
        turns, answer, kind = draft
        number = 1 + sum(item["split"] == split and item["cluster"] == cluster for item in self.golden)
        item = {
            "id": f"{split}-{cluster}-{number:04d}",
            "split": split,
            "cluster": cluster,
            "tags": [tag, kind],
        }
        self.golden.append(item | {"messages": messages(turns), "answer": answer})

    def add_unfamiliar(self, split: str) -> None:
        """The unfamiliar items of a split."""
        gate = split == "gate"
        schedules = unfamiliar.GATE_FAMILIES if gate else unfamiliar.DEV_FAMILIES
        changes = unfamiliar.GATE_CORRECTIONS if gate else unfamiliar.DEV_CORRECTIONS
        beyond = unfamiliar.GATE_REFUSALS if gate else unfamiliar.DEV_REFUSALS
        makers = {
            "schedule": (pairs(schedules), drafts.unfamiliar_schedule),
            "correction": (pairs(changes), lambda *a: drafts.unfamiliar_correction(*a, schedules)),
            "refusal": (pairs(beyond), drafts.unfamiliar_refusal),
        }
        for tag, total in GOLDEN[split].items():
            source, maker = makers[tag]
            for _ in range(total):
                kind, template = next(source)
                draft = self.collect(lambda m=maker, k=kind, t=template: m(self.rng, k, t), lambda turns: True)
                self.add_golden(split, "unfamiliar", tag, draft)
                self.near_golden.add(key(draft[0]))
                self.blocked.update(mask_slots(turn) for turn in draft[0][::2])

    def add_familiar(self, split: str) -> None:
        """The familiar items of a split: training phrasing, held-out expressions."""
        for tag, total in GOLDEN[split].items():
            maker, kinds = FAMILIAR[tag]
            for kind, _ in zip(cycle(kinds), range(total), strict=False):
                draft = self.collect(lambda m=maker, k=kind: m(self.rng, k, True), self.fresh)
                self.add_golden(split, "familiar", tag, draft)

    def fresh(self, turns: Turns) -> bool:
        """Whether a familiar item keeps clear of training prompts and of the unfamiliar skeletons."""
        return not self.near_train.close(key(turns)) and not self.shared(turns)

    def shared(self, turns: Turns) -> bool:
        """Whether a user turn has the skeleton of an unfamiliar item."""
        return any(mask_slots(turn) in self.blocked for turn in turns[::2])

    def add_train(self) -> None:
        """The training conversations, in shuffled order."""
        conversations = []
        for tag, total in TRAIN.items():
            maker, kinds = FAMILIAR[tag]
            for kind, _ in zip(cycle(kinds), range(total), strict=False):
                draft = self.collect(
                    lambda m=maker, k=kind: m(self.rng, k, False),
                    lambda turns: not self.shared(turns) and not self.near_golden.close(key(turns)),
                )
                self.near_train.add(key(draft[0]))
                answer = draft[1]["value"]
                conversations.append(messages([*draft[0], refusals.PREFIX * (tag == "refusal") + answer]))
        numbers = count(1)
        conversations += [messages(list(pair), system=False) for pair in EVERYDAY]
        self.rng.shuffle(conversations)
        for conversation in conversations:
            kind = "train" if conversation[0]["role"] == "system" else "train-general"
            self.train.append({"id": f"{kind}-{next(numbers):05d}", "messages": conversation})


def key(turns: Turns) -> str:
    """The last user message with its preceding context, as one text."""
    return "\n".join(turns)


def messages(turns: Turns, system: bool = True) -> list[dict[str, str]]:
    """Alternate user and assistant turns, after the system message."""
    head = [{"role": "system", "content": SYSTEM}] if system else []
    return head + [{"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate(turns)]


def build(seed: int = SEED) -> tuple[list[dict], list[dict]]:
    """The training conversations and the golden items."""
    builder = Builder(seed)
    for split in GOLDEN:
        builder.add_unfamiliar(split)
    builder.add_train()
    for split in GOLDEN:
        builder.add_familiar(split)
    return builder.train, sorted(builder.golden, key=lambda item: item["id"])


def lines(rows: list[dict]) -> str:
    """One JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def main() -> None:
    """Write both files."""
    train, golden = build()
    (HERE / "train.jsonl").write_text(lines(train), encoding="utf-8", newline="\n")
    (HERE / "golden.jsonl").write_text(lines(golden), encoding="utf-8", newline="\n")
    print(f"{len(train)} training conversations, {len(golden)} golden items")


if __name__ == "__main__":
    main()
