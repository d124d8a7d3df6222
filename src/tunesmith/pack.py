"""pack: rendered conversations become the batches of optimizer steps, in rows without padding and without leaks.

An optimizer step learns from a fixed number of conversations, and the number of steps is therefore known exactly
beforehand. How these conversations are laid out in rows is a matter of memory alone: rows hold conversations end
to end, each a segment of its own, and never change the gradient.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from tunesmith.config import Config
from tunesmith.errors import ConfigError
from tunesmith.files import fingerprint
from tunesmith.types import Batch, Rendered, Row


class PackConfig(Config):
    """How many conversations make a step, and how much a row may hold."""

    batch_conversations: int = Field(default=16, ge=1)
    """Conversations that one optimizer step learns from (the global batch)."""

    row_tokens: int = Field(default=2048, ge=1)
    """Tokens that pass through the model at once (a micro-batch); lower it when memory is short."""

    seed: int = Field(default=0, ge=0)
    """Seed of the order of conversations, new in each epoch."""


class Batches:
    """The stream of batches over some epochs; resumable at any batch.

    Epoch e visits the conversations in the order `default_rng([seed, e]).permutation(N)`. Batches run over epoch
    borders, so that all but the last hold exactly `batch_conversations`.
    """

    def __init__(self, config: PackConfig, rendered: Sequence[Rendered], epochs: float, source: str = "") -> None:
        """`source` is the fingerprint of what was rendered."""
        self.config = config
        self.rendered = rendered
        self.num_conversations = max(1, round(len(rendered) * epochs))
        self.fingerprint = fingerprint([config, source, self.num_conversations])
        self._position = 0
        self._order: tuple[int, Any] = (-1, None)

    def __len__(self) -> int:
        return -(-self.num_conversations // self.config.batch_conversations)

    def __iter__(self) -> Iterator[Batch]:
        while self._position < len(self):
            self._position += 1
            yield self[self._position - 1]

    def __getitem__(self, index: int) -> Batch:
        """Batch number `index`, whatever was iterated before."""
        size = self.config.batch_conversations
        first, last = index * size, min((index + 1) * size, self.num_conversations)
        chosen = [self.rendered[self._conversation_at(place)] for place in range(first, last)]
        return Batch(tuple(pack_rows(chosen, self.config.row_tokens)), epoch=first // len(self.rendered))

    def state(self) -> dict[str, Any]:
        return {"position": self._position, "fingerprint": self.fingerprint}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken; raises ConfigError when the data or the packing have changed since."""
        if state["fingerprint"] != self.fingerprint:
            raise ConfigError(
                "the checkpoint was made from other data or another pack config, so resuming would not continue it; "
                "start afresh in another run folder"
            )
        self._position = int(state["position"])

    def _conversation_at(self, place: int) -> int:
        epoch, offset = divmod(place, len(self.rendered))
        if self._order[0] != epoch:
            generator = np.random.default_rng([self.config.seed, epoch])
            self._order = epoch, generator.permutation(len(self.rendered))
        return int(self._order[1][offset])


def pack(config: PackConfig, rendered: Sequence[Rendered], epochs: float = 1.0, source: str = "") -> Batches:
    """The batches of `epochs` passes over `rendered`; raises ConfigError when a conversation exceeds a row."""
    for each in rendered:
        if each.num_tokens > config.row_tokens:
            raise ConfigError(
                f"conversation {each.conversation_id} has {each.num_tokens} tokens, more than pack.row_tokens = "
                f"{config.row_tokens}; raise it, or lower render.max_tokens to drop such conversations"
            )
    return Batches(config, rendered, epochs, source)


def pack_rows(chosen: Sequence[Rendered], row_tokens: int) -> list[Row]:
    """Lay conversations out in rows of at most `row_tokens`: longest first, each into the fullest row that has room.

    Best-fit decreasing. The order is a function of the conversations alone, so that a resumed run packs alike.
    """
    order = sorted(range(len(chosen)), key=lambda index: (-chosen[index].num_tokens, index))
    bins: list[list[int]] = []
    room: list[int] = []
    for index in order:
        size = chosen[index].num_tokens
        fitting = [number for number, left in enumerate(room) if left >= size]
        if fitting:
            best = min(fitting, key=lambda number: room[number])
            bins[best].append(index)
            room[best] -= size
        else:
            bins.append([index])
            room.append(row_tokens - size)
    return [_row([chosen[index] for index in members]) for members in bins]


def _row(members: Sequence[Rendered]) -> Row:
    return Row(
        tokens=np.concatenate([each.tokens for each in members]).astype(np.int32),
        loss_weights=np.concatenate([each.loss_weights for each in members]).astype(np.float32),
        positions=np.concatenate([np.arange(each.num_tokens, dtype=np.int32) for each in members]),
        segments=np.repeat(np.arange(len(members), dtype=np.int32), [each.num_tokens for each in members]),
        conversation_ids=tuple(each.conversation_id for each in members),
    )
