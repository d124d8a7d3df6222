"""Regurgitation: does the model go on with its training text word for word?

Answers of the training data are begun behind their own prompts, and canaries as plain text; what the model adds is
compared with how they go on. The base is asked the same, so that common phrases are told apart from what was learned.
"""

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tunesmith.evaluate import Task
from tunesmith.generate import Sampling
from tunesmith.messages import message_to_dict
from tunesmith.types import Conversation
from tunesmith.verify import Item, item_from_record, load_scorer

NAME = "regurgitation"
NUM_TEXTS = 60
HALF = 12
"""Words that are given, and words that are wanted back."""
NEEDS_DATA = "it needs the conversations that a run was trained on; `tunesmith run` measures it"


def regurgitation_task(training: Iterable[Conversation] | None, canaries: Iterable[str]) -> Task:
    """The task; unmeasured, with the reason, where there is no training text."""
    items = [*_canary_items(canaries), *(_answer_items(training) if training is not None else ())]
    scorer, mark = load_scorer("verbatim", Path())
    reason = f"no answer of the training data has {2 * HALF} words" if training is not None else NEEDS_DATA
    return Task(
        name=NAME,
        items=tuple(items),
        judge=scorer,
        judge_fingerprint=mark,
        sampling=Sampling(max_tokens=2 * HALF),
        better="lower",
        unit="share of a text",
        about="Share of a text of the training data that is reproduced word for word when its beginning is given.",
        group="tax",
        unmeasured="" if items else reason,
    )


def _canary_items(canaries: Iterable[str]) -> Iterator[Item]:
    for number, canary in enumerate(canaries, 1):
        words = canary.split()
        begun, rest = words[: len(words) // 2], words[len(words) // 2 :]
        yield _item({"id": f"canary-{number}", "cluster": "canary", "text": " ".join(begun)}, rest)


def _answer_items(training: Iterable[Conversation]) -> list[Item]:
    """The last answers of up to 60 conversations, the same ones whatever their order."""
    long = (each for each in training if _words(each) is not None)
    chosen = heapq.nsmallest(NUM_TEXTS, long, key=lambda each: hashlib.sha256(each.id.encode()).digest())
    return [_answer_item(each) for each in chosen]


def _answer_item(conversation: Conversation) -> Item:
    words = _words(conversation) or []
    record: dict[str, Any] = {
        "id": conversation.id,
        "cluster": "training",
        "messages": [message_to_dict(each) for each in conversation.messages[:-1]],
        "begun": " ".join(words[:HALF]),
    }
    if conversation.tools:
        record["tools"] = [dict(tool) for tool in conversation.tools]
    return _item(record, words[HALF : 2 * HALF])


def _words(conversation: Conversation) -> list[str] | None:
    """The words of a plain last answer that is long enough."""
    messages = conversation.messages
    if len(messages) < 2 or messages[-1].role != "assistant" or messages[-1].tool_calls or messages[-1].reasoning:
        return None
    if messages[-2].role not in ("user", "tool"):
        return None
    words = messages[-1].content.split()
    return words if len(words) >= 2 * HALF else None


def _item(record: dict[str, Any], rest: list[str]) -> Item:
    answer = {"type": "text", "value": " ".join(rest)}
    return item_from_record({"split": "gate", **record, "answer": answer}, f"{NAME}, {record['id']}")
