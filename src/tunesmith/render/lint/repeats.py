"""Checks across conversations: what stands in the data twice, and what contradicts itself.

Of each conversation two digests of eight bytes are kept; texts are read again only for the examples.
"""

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tunesmith.messages import message_to_dict
from tunesmith.render.lint import MAX_EXAMPLES, Again, Check, Kind, Setting, excerpt
from tunesmith.render.show.views import View
from tunesmith.text.minhash import near_duplicate_clusters
from tunesmith.types import Conversation, Message

NUM_COMPARED = 10_000
"""Near-duplicates are looked for among so many conversations, the first ones: their signatures cost time and memory."""
THRESHOLD = 0.8


class Repeats(Check):
    """The base of checks that compare conversations by digests."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._keys = array("Q")
        self._values = array("Q")

    def _note(self, key: Any, value: Any) -> None:
        self.total += 1
        self._keys.append(_digest(key))
        self._values.append(_digest(value))

    def _show(self, kind: str, conversation: Conversation, detail: str) -> None:
        self.remember(kind, conversation.source, conversation.id, detail)

    def _groups(self) -> Iterator[NDArray[np.intp]]:
        """The places of conversations with equal keys, two or more, in the order of their first."""
        keys = np.array(self._keys)
        order = np.argsort(keys, kind="stable")
        borders = np.flatnonzero(np.diff(keys[order])) + 1
        groups = [order[begin:end] for begin, end in pairwise([0, *borders.tolist(), keys.size]) if end - begin > 1]
        return iter(sorted(groups, key=lambda group: int(group[0])))


class Duplicates(Repeats):
    """Conversations that stand in the data more than once, to the letter or nearly."""

    name = "duplicates"
    fine = "no copies"
    kinds: ClassVar[Mapping[str, Kind]] = {
        "exact": Kind(
            "warning",
            "that stood there before, to the letter",
            "Remove the copies, unless they are meant as weight.",
        ),
        "near": Kind(
            "note",
            f"nearly like an earlier one ({THRESHOLD:.0%} of their word trigrams)",
            "Look whether they add anything; hold-outs keep such conversations together in any case.",
        ),
    }

    def see(self, view: View) -> None:
        self._note(_spelled(view.conversation), None)

    def look_again(self, again: Again) -> None:
        wanted: dict[int, int] = {}
        for group in self._groups():
            self.counts["exact"] += group.size - 1
            if len(wanted) < MAX_EXAMPLES:
                wanted[int(group[1])] = int(group[0])
        found = _at(again(), {*wanted, *wanted.values()})
        for later, earlier in wanted.items():
            self._show("exact", found[later], f"the same as {found[earlier].source}")
        if self.total > 1:
            self._look_for_near(again)

    def _look_for_near(self, again: Again) -> None:
        keys = self._keys[:NUM_COMPARED].tolist()
        labels = near_duplicate_clusters(map(_words, islice(again(), NUM_COMPARED)), THRESHOLD)
        firsts: dict[int, int] = {}
        seen: set[int] = set()
        wanted: dict[int, int] = {}
        for place, (key, label) in enumerate(zip(keys, labels, strict=True)):
            earlier = firsts.setdefault(label, place)
            if earlier != place and key not in seen:
                self.counts["near"] += 1
                if len(wanted) < MAX_EXAMPLES:
                    wanted[place] = earlier
            seen.add(key)
        found = _at(again(), {*wanted, *wanted.values()})
        for later, earlier in wanted.items():
            self._show("near", found[later], f"nearly like {found[earlier].source}")

    def summary(self, told: str) -> str:
        bound = f"; near ones among the first {NUM_COMPARED:,}" if self.total > NUM_COMPARED else ""
        return f"{super().summary(told)}{bound}"


class SamePrompt(Repeats):
    """Prompts with several answers: right where several are good, and a contradiction where one is."""

    name = "same_prompt"
    fine = "no prompt has two answers"
    kinds: ClassVar[Mapping[str, Kind]] = {
        "differ": Kind(
            "note",
            "whose prompt stands there again with another answer",
            "Where one answer is right, find the wrong ones; several good answers may stay.",
        )
    }

    def see(self, view: View) -> None:
        messages = view.conversation.messages
        last = max((place for place, each in enumerate(messages) if each.role == "assistant"), default=None)
        # Without an answer it is its own key, so that places stay those of the stream.
        prompt = (
            [_plain(messages[:last]), list(view.conversation.tools)] if last is not None else [view.conversation.id]
        )
        self._note(prompt, _plain(messages[last : last + 1]) if last is not None else None)

    def look_again(self, again: Again) -> None:
        values = np.array(self._values)
        wanted: dict[int, int] = {}
        for group in self._groups():
            others = group[values[group] != values[group[0]]]
            if not others.size:
                continue
            self.counts["differ"] += group.size
            if len(wanted) < MAX_EXAMPLES:
                wanted[int(others[0])] = int(group[0])
        found = _at(again(), {*wanted, *wanted.values()})
        for later, earlier in wanted.items():
            first, other = found[earlier], found[later]
            here, there = _apart(_answer(other), _answer(first))
            self._show("differ", other, f"{excerpt(here)}; in {first.source}: {excerpt(there)}")


def _digest(value: Any) -> int:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _plain(messages: Sequence[Message]) -> list[Any]:
    return [message_to_dict(message) for message in messages]


def _spelled(conversation: Conversation) -> list[Any]:
    return [conversation.text, _plain(conversation.messages), list(conversation.tools)]


def _words(conversation: Conversation) -> str:
    return conversation.text or "\n".join(message.content for message in conversation.messages)


def _answer(conversation: Conversation) -> str:
    return next((each.content for each in reversed(conversation.messages) if each.role == "assistant"), "")


def _apart(one: str, other: str) -> list[str]:
    """Both texts from shortly before the place where they begin to differ."""
    pairs = enumerate(zip(one, other, strict=False))
    same = next((place for place, (mine, yours) in pairs if mine != yours), min(len(one), len(other)))
    return [f"...{text[same - 20 :]}" if same > 40 else text for text in (one, other)]


def _at(conversations: Iterable[Conversation], places: set[int]) -> dict[int, Conversation]:
    """The conversations at some places, read no further than to the last of them."""
    last = max(places, default=-1)
    return {place: each for place, each in enumerate(islice(conversations, last + 1)) if place in places}
