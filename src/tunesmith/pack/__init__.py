"""pack: rendered conversations become the batches of optimizer steps, in rows without padding and without leaks.

An optimizer step learns from a fixed number of conversations, and the number of steps is therefore known exactly
beforehand. How these conversations are laid out in rows is a matter of memory alone: rows hold conversations end
to end, each a segment of its own, and never change the gradient. Only the layout `full_rows` gives a step other
conversations, so that no row stands half empty; it keeps the number of steps, and of supervised tokens on average.

    fit.py         lengths -> bins: best fit decreasing, next fit        rows.py       conversations -> rows
    pieces.py      conversations that fit a row, or pieces that do       account.py    what the rows hold
    steps.py       steps of so many conversations                        full_rows.py  steps of so many full rows
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from tunesmith.config import Config
from tunesmith.errors import ConfigError
from tunesmith.files import fingerprint
from tunesmith.pack.account import Account, Tokens, account, count_rows
from tunesmith.pack.fit import best_fit_decreasing, next_fit
from tunesmith.pack.full_rows import FullRowSteps
from tunesmith.pack.pieces import check_sizes, lengths_of, trees_of
from tunesmith.pack.rows import pack_rows, positions_of
from tunesmith.pack.steps import ConversationSteps, visits_of
from tunesmith.types import Batch, Rendered

__all__ = [
    "Account",
    "Batches",
    "Layout",
    "PackConfig",
    "Tokens",
    "account",
    "best_fit_decreasing",
    "count_rows",
    "next_fit",
    "pack",
    "pack_rows",
    "positions_of",
    "trees_of",
]

Layout = Literal["best_fit", "full_rows", "varlen", "padding"]


class PackConfig(Config):
    """How many conversations make a step, and how they stand in rows."""

    batch_conversations: int = Field(default=16, ge=1)
    """Conversations that one optimizer step learns from (the global batch); in full_rows on average."""

    row_tokens: int = Field(default=2048, ge=1)
    """Tokens that pass through the model at once (a micro-batch); lower it when memory is short."""

    layout: Layout = "best_fit"
    """How conversations stand in rows. best_fit: those of a step, longest first, each into the fullest row with room.
    full_rows: rows are filled across steps, so that none stands half empty. varlen: those of a step, in their order.
    padding: each sequence is a row of its own, counted as padded to the longest of its micro-batch."""

    buffer_conversations: int = Field(default=65536, ge=1)
    """Conversations among which full_rows looks for those that fill a row; none moves further than two buffers."""

    split_long: Literal["error", "wrap"] = "error"
    """What a sequence longer than a row does: stop, or, for plain documents, be cut into consecutive rows."""

    seed: int = Field(default=0, ge=0)
    """Seed of the order of conversations, new in each epoch; a mix has an order of its own."""


class Batches:
    """The stream of batches over some epochs; resumable at any batch.

    Epoch e visits the conversations in the order `default_rng([seed, e]).permutation(N)`; a mix, which holds all its
    epochs, is visited in its own order. Every batch is a function of the config, the data and its number, so the
    position is all that there is to remember.
    """

    def __init__(self, config: PackConfig, rendered: Sequence[Rendered], epochs: float, source: str = "") -> None:
        """`source` is the fingerprint of what was rendered.

        Where `rendered` has the attributes `lengths` and `supervised` (int64 [N], the tokens and supervised tokens of
        each conversation), these are taken, and conversations are read only when their batch is. Raises ConfigError
        where there is nothing to pack or a conversation cannot stand in rows.
        """
        if not len(rendered):
            raise ConfigError("there is no conversation to pack; dropped.jsonl of the stages before says why")
        self.config = config
        self.rendered = rendered
        visits = visits_of(config, rendered, epochs)
        self.num_conversations = int(visits.pass_ends[-1])
        self.fingerprint = fingerprint([config, source, self.num_conversations])
        lengths = lengths_of(rendered)
        check_sizes(config, rendered, lengths)
        self._steps: ConversationSteps | FullRowSteps = (
            FullRowSteps(config, rendered, visits, lengths)
            if config.layout == "full_rows"
            else ConversationSteps(config, rendered, visits)
        )
        self._position = 0

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[Batch]:
        while self._position < len(self):
            self._position += 1
            yield self[self._position - 1]

    def __getitem__(self, index: int) -> Batch:
        """Batch number `index`, whatever was iterated before."""
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}; they are numbered from 0")
        return self._steps.batch(index)

    def account(self, source_of: Callable[[str], str] | None = None) -> Account:
        """Count all batches, wherever the iteration stands; see `tunesmith.pack.account`."""
        return account(self.config, (self[index] for index in range(len(self))), source_of)

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


def pack(config: PackConfig, rendered: Sequence[Rendered], epochs: float = 1.0, source: str = "") -> Batches:
    """The batches of `epochs` passes over `rendered`; raises ConfigError when a conversation exceeds a row."""
    return Batches(config, rendered, epochs, source)
