"""Continuous batching: as many prompts are answered at once as there are slots; one that is done leaves room at once.

Prompts pass through the model in packed rows, without padding between them and without their last token; that token
is the first of an answer's single steps, in which all slots move on together. What a prompt is answered does not
depend on the order in which slots are filled.

Shapes: S slots in use.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tunesmith.errors import GenerateError
from tunesmith.generate import Sampling
from tunesmith.generate.blocks import TOKENS, Pool
from tunesmith.generate.choose import choose
from tunesmith.generate.paged import Piece
from tunesmith.generate.passes import ROW_TOKENS, Passes, paged_attention_of
from tunesmith.generate.prefixes import Prefixes
from tunesmith.types import TokenArray

SLOT_TOKENS = 1024
"""How many tokens a slot may have in the pool, on average; fewer slots are in use where prompts are longer."""
_REFILL_SHARE = 16


class Request(NamedTuple):
    """A prompt, what ends its answer, and what its draws hang on (`choose.draw_key`)."""

    tokens: TokenArray
    stops: tuple[int, ...]
    key: bytes


@dataclass(frozen=True, slots=True)
class Written:
    """An answer as tokens, with the stop token, and the smallest gap between its two largest logits."""

    tokens: list[int]
    gap: float


@dataclass(slots=True)
class _Slot:
    """An answer under way: `length` tokens have passed, `token` is the next to pass."""

    request: int
    table: list[int]
    num_reserved: int
    length: int
    token: int
    tokens: list[int] = field(default_factory=list)
    gap: float = float("inf")


OnWritten = Callable[[int, Written], None]
OnTokens = Callable[[int, list[int]], None]


def write(
    model: Any,
    requests: Sequence[Request],
    sampling: Sampling,
    *,
    num_slots: int = 64,
    row_sizes: Sequence[int] = (),
    step_sizes: Sequence[int] = (),
    shares: bool = True,
    on_written: OnWritten | None = None,
    on_tokens: OnTokens | None = None,
) -> list[Written]:
    """What `model` writes behind each prompt, up to and with one of its stops.

    `row_sizes` and `step_sizes` are those of `Passes`; `shares` lets what prompts begin with alike pass once.
    `on_written` hears of each answer, by its request's index, as soon as it ends, `on_tokens` of each after each of its
    tokens. Raises GenerateError for an empty prompt.
    """
    if any(request.tokens.size == 0 for request in requests):
        raise GenerateError("a prompt has no tokens; give at least one character, or a message")
    if not requests or sampling.max_tokens < 1:
        return [Written([], float("inf")) for _ in requests]
    pool = Pool(_capacity([request.tokens for request in requests], sampling.max_tokens, num_slots))
    passes = Passes(model, pool, row_sizes, step_sizes)
    with paged_attention_of(model):
        return _Writing(passes, requests, sampling, num_slots, shares).run(on_written, on_tokens)


def _needed(prompt: TokenArray, max_tokens: int) -> int:
    """Blocks for a prompt and its answer, whose last token does not pass."""
    return -(-(prompt.size + max_tokens - 1) // TOKENS)


def _capacity(prompts: Sequence[TokenArray], max_tokens: int, num_slots: int) -> int:
    needs = sorted((_needed(prompt, max_tokens) for prompt in prompts), reverse=True)[:num_slots]
    return max(needs[0], min(sum(needs), num_slots * SLOT_TOKENS // TOKENS)) + needs[0]


class _Writing:
    """One call of `write`."""

    def __init__(
        self, passes: Passes, requests: Sequence[Request], sampling: Sampling, num_slots: int, shares: bool
    ) -> None:
        self.passes, self.requests, self.sampling, self.num_slots = passes, requests, sampling, num_slots
        prompts = [request.tokens for request in requests]
        # Prompts that begin alike come one after the other, so that what they share need not stay for long.
        self.to_come = sorted(range(len(prompts)), key=lambda index: prompts[index].astype(">i4").tobytes())[::-1]
        self.prefixes = Prefixes(prompts, passes.pool, shares)
        self.slots: list[_Slot] = []
        self.found: dict[int, Written] = {}

    def run(self, on_written: OnWritten | None, on_tokens: OnTokens | None) -> list[Written]:
        while self.to_come or self.slots:
            self._refill()
            self._step()
            if on_tokens:
                for slot in self.slots:
                    on_tokens(slot.request, slot.tokens)
            for slot in [slot for slot in self.slots if self._is_done(slot)]:
                self.slots.remove(slot)
                self.passes.pool.give_back(slot.table)
                self.found[slot.request] = Written(slot.tokens, slot.gap)
                if on_written:
                    on_written(slot.request, self.found[slot.request])
        return [self.found[index] for index in range(len(self.requests))]

    def _is_done(self, slot: _Slot) -> bool:
        return slot.tokens[-1] in self.requests[slot.request].stops or len(slot.tokens) == self.sampling.max_tokens

    def _refill(self) -> None:
        """Fill free slots, unless so few are free that a row of prompts would be mostly empty."""
        free = self.num_slots - len(self.slots)
        waiting = sum(self.requests[index].tokens.size for index in self.to_come[-free:]) if free else 0
        if self.slots and free * _REFILL_SHARE < self.num_slots and waiting < ROW_TOKENS:
            return
        entered: list[tuple[_Slot, list[int]]] = []
        pieces: list[Piece] = []
        while self.to_come and len(self.slots) < self.num_slots and self._has_room(self.to_come[-1]):
            entered.append(self._enter(self.to_come.pop(), pieces))
        self.passes.prefill(pieces)
        sources = [block for _, shared in entered for block in shared]
        targets = [block for slot, shared in entered for block in slot.table[: len(shared)]]
        if sources:
            self.passes.pool.copy(sources, targets)
        self.prefixes.clear()

    def _has_room(self, index: int) -> bool:
        need = _needed(self.requests[index].tokens, self.sampling.max_tokens)
        if self._room() < need and not self.slots:
            self.prefixes.clear(everything=True)
        return self._room() >= need

    def _room(self) -> int:
        """Blocks that are neither in use nor promised to an answer under way."""
        return self.passes.pool.num_free - sum(slot.num_reserved - len(slot.table) for slot in self.slots)

    def _enter(self, index: int, pieces: list[Piece]) -> tuple[_Slot, list[int]]:
        """Give a prompt a slot and its blocks; what of it must pass is added to `pieces`."""
        prompt, pool = self.requests[index].tokens, self.passes.pool
        need, last = _needed(prompt, self.sampling.max_tokens), prompt.size - 1
        shared, num_passed = self.prefixes.leading(index, room=self._room() - need)
        self.prefixes.forget(index)
        table = [pool.take() for _ in range(-(-last // TOKENS))]
        begin, end = num_passed * TOKENS, len(shared) * TOKENS
        for start, stop, blocks in ((begin, end, shared), (end, last, [*shared, *table[len(shared) :]])):
            if stop > start:
                pieces.append(Piece(prompt[start:stop].astype(np.int32), start, blocks))
        self.slots.append(_Slot(index, table, need, last, int(prompt[-1])))
        return self.slots[-1], shared

    def _step(self) -> None:
        """Pass one token of each slot, and choose the next."""
        for slot in self.slots:
            if slot.length // TOKENS == len(slot.table):
                slot.table.append(self.passes.pool.take())
        logits_SV = self.passes.steps(
            np.array([slot.token for slot in self.slots]),
            np.array([slot.length for slot in self.slots]),
            [slot.table for slot in self.slots],
        )
        keys = [self.requests[slot.request].key for slot in self.slots]
        tokens, gaps = choose(logits_SV, self.sampling, keys, [len(slot.tokens) for slot in self.slots])
        for slot, token, gap in zip(self.slots, tokens.tolist(), gaps.tolist(), strict=True):
            slot.length += 1
            slot.token = token
            slot.tokens.append(token)
            slot.gap = min(slot.gap, gap)
