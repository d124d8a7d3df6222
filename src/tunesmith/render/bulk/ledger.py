"""The books of what a policy did: an account for each conversation, added up by the file that it came from."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_SOURCES = 1000
OTHERS = "(other files)"


class Account(NamedTuple):
    """What became of one conversation. `num_pieces` counts the Rendered that it became, `num_without_context` those
    of them that lost the messages before them; repeated tokens stand in several sequences."""

    num_in: int = 1
    num_out: int = 0
    num_affected: int = 0
    num_pieces: int = 0
    num_without_context: int = 0
    num_tokens_in: int = 0
    num_tokens_repeated: int = 0
    num_tokens_out: int = 0
    num_tokens_cut: int = 0
    num_supervised_in: int = 0
    num_supervised_repeated: int = 0
    num_supervised_out: int = 0
    num_supervised_cut: int = 0
    num_stop_tokens_cut: int = 0


def source_file(source: str) -> str:
    """The file of a conversation's source: `train.jsonl` of `train.jsonl:12` and of `train.jsonl:12, item 3`."""
    name, _, place = source.rpartition(":")
    return name if name and place[:1].isdigit() else source


class Ledger:
    """The accounts of all conversations, added up by the file that they came from."""

    def __init__(self, policy: str, max_tokens: int) -> None:
        self.policy = policy
        self.max_tokens = max_tokens
        self._numbers: dict[str, int] = {}
        self._sums = np.zeros((0, len(Account._fields)), np.int64)

    def add(self, sources: Sequence[str], accounts: NDArray[np.int64]) -> None:
        """Add the accounts ([N, fields of Account]) of the conversations with these sources."""
        numbers = [self._number(source_file(source)) for source in sources]
        new = len(self._numbers) - len(self._sums)
        self._sums = np.concatenate([self._sums, np.zeros((new, self._sums.shape[1]), np.int64)])
        np.add.at(self._sums, numbers, accounts)

    def _number(self, name: str) -> int:
        """The file's line in the ledger; a million files share the last one, so that the ledger stays readable."""
        if name not in self._numbers and len(self._numbers) >= MAX_SOURCES:
            name = OTHERS
        return self._numbers.setdefault(name, len(self._numbers))

    def total(self) -> Account:
        return Account(*(int(each) for each in self._sums.sum(axis=0)))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: the policy, the total, and each source file's account."""
        return {
            "policy": self.policy,
            "max_tokens": self.max_tokens,
            "total": self.total()._asdict(),
            "sources": {
                name: dict(zip(Account._fields, self._sums[number].tolist(), strict=True))
                for name, number in self._numbers.items()
            },
        }
