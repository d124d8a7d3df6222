"""What the rows hold, counted on the rows themselves: supervised, non-pad and padded tokens, in all and by source."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.types import Batch, Row

if TYPE_CHECKING:
    from tunesmith.pack import PackConfig


@dataclass(frozen=True, slots=True)
class Tokens:
    """`num_tokens` are the non-pad ones, `num_supervised` those among them that are trained; `num_padded` come on
    top."""

    num_tokens: int = 0
    num_supervised: int = 0
    num_padded: int = 0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(
            self.num_tokens + other.num_tokens,
            self.num_supervised + other.num_supervised,
            self.num_padded + other.num_padded,
        )


@dataclass(frozen=True, slots=True)
class Account:
    """Some steps, counted. A micro-batch is a row, but in the layout `padding` a stack of them: see `padding_of`."""

    num_steps: int
    num_micro_batches: int
    row_tokens: int
    total: Tokens
    by_source: dict[str, Tokens]

    @property
    def fill(self) -> float:
        """Non-pad tokens as a share of what the micro-batches may hold."""
        return self.total.num_tokens / max(self.num_micro_batches * self.row_tokens, 1)

    @property
    def padding(self) -> float:
        """Padded tokens as a share of all that pass through the model."""
        return self.total.num_padded / max(self.total.num_padded + self.total.num_tokens, 1)


def account(config: "PackConfig", batches: Iterable[Batch], source_of: Callable[[str], str] | None = None) -> Account:
    """Count `batches`, all or some; `source_of` gives the source of a conversation by its id, for `by_source`.

    Iterating a stream uses it up; `Batches.account` counts without that.
    """
    num_steps, num_micro_batches, total = 0, 0, Tokens()
    by_source: dict[str, Tokens] = {}
    for batch in batches:
        num_steps += 1
        num_micro_batches += len(_stacked(config, batch.rows))
        for row, tokens in zip(batch.rows, count_rows(config, batch), strict=True):
            total += tokens
            if source_of is not None:
                for identifier, share in _segments(row, tokens):
                    source = source_of(identifier)
                    by_source[source] = by_source.get(source, Tokens()) + share
    return Account(num_steps, num_micro_batches, config.row_tokens, total, by_source)


def count_rows(config: "PackConfig", batch: Batch) -> list[Tokens]:
    """The tokens of each row of a batch."""
    return [
        Tokens(row.num_tokens, int(np.count_nonzero(row.loss_weights)), padded)
        for row, padded in zip(batch.rows, padding_of(config, batch.rows), strict=True)
    ]


def padding_of(config: "PackConfig", rows: Sequence[Row]) -> list[int]:
    """Padded tokens of each row of a step: 0, but in the layout `padding`.

    There a row is one sequence. Rows are stacked in their order as long as lines x longest stays within `row_tokens`,
    and each is padded to the longest of its stack.
    """
    return [max(stack) - length for stack in _stacked(config, rows) for length in stack]


def _stacked(config: "PackConfig", rows: Sequence[Row]) -> list[list[int]]:
    """The lengths of the rows of each micro-batch."""
    stacks: list[list[int]] = []
    longest = 0
    for row in rows:
        wider = max(longest, row.num_tokens)
        if stacks and config.layout == "padding" and (len(stacks[-1]) + 1) * wider <= config.row_tokens:
            stacks[-1].append(row.num_tokens)
            longest = wider
        else:
            stacks.append([row.num_tokens])
            longest = row.num_tokens
    return stacks


def _segments(row: Row, tokens: Tokens) -> Iterable[tuple[str, Tokens]]:
    """The share of each of a row's conversations. Only a row of one conversation is ever padded."""
    num_segments = len(row.conversation_ids)
    lengths = np.bincount(row.segments, minlength=num_segments).tolist()
    supervised = np.bincount(row.segments[row.loss_weights != 0], minlength=num_segments).tolist()
    shares = (Tokens(length, trained, tokens.num_padded) for length, trained in zip(lengths, supervised, strict=True))
    return zip(row.conversation_ids, shares, strict=True)
