"""Conversations as training sees them: rendered whole, and what the policy for too long ones leaves of them.

`show` and `lint` look at nothing else, so what they report is what the trainer gets. Memory holds a few
conversations at a time.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tunesmith.branches import sequences, starts_and_ends
from tunesmith.errors import RenderError
from tunesmith.render import RenderConfig, Renderer
from tunesmith.render.bulk.ledger import Account
from tunesmith.render.bulk.policy import TOO_LONG, Drop, Outcome, apply_policy, longest_sequence
from tunesmith.types import Conversation, Rendered

AT_ONCE = 64
Fate = Literal["trained", "cut", "split", "dropped", "stops", "refused"]
"""Trained whole, in part, or in several pieces; left out; too long, so that the run would stop; not renderable."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One rendering to look at, and which of its tokens (bool, one each) training does not see."""

    rendered: Rendered
    cut: NDArray[np.bool_]

    @property
    def spans(self) -> list[tuple[int, int, int]]:
        """(start, end, parent) of each branch, in order; parent is the token that it continues, or -1."""
        starts, ends = starts_and_ends(self.rendered.branches, self.rendered.num_tokens)
        return list(zip(starts.tolist(), ends.tolist(), self.rendered.branches[:, 1].tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class View:
    """One conversation and what training does and does not see of it.

    `sheets` is empty where it was refused; `problem` says what was taken away and why, and is empty where nothing
    was. `length` is the longest sequence before any cut.
    """

    conversation: Conversation
    fate: Fate
    outcome: Outcome
    length: int = 0
    sheets: tuple[Sheet, ...] = ()
    problem: str = ""
    error: RenderError | None = None

    @property
    def account(self) -> Account:
        """The books: tokens in, out and cut."""
        return self.outcome.account

    @property
    def kept(self) -> tuple[Rendered, ...]:
        """What training gets."""
        return self.outcome.kept


def views(config: RenderConfig, renderer: Renderer, conversations: Iterable[Conversation]) -> Iterator[View]:
    """Each conversation as training sees it, in order; one that cannot be rendered is a view with an error."""
    source = iter(conversations)
    while batch := list(islice(source, AT_ONCE)):
        for conversation, rendered in zip(batch, renderer.render_many(batch), strict=True):
            yield view_of(config, renderer, conversation, rendered)


def view_of(
    config: RenderConfig, renderer: Renderer, conversation: Conversation, rendered: Rendered | RenderError
) -> View:
    """The view of one conversation, rendered or refused."""
    outcome = apply_policy(config, renderer, conversation, rendered)
    if isinstance(rendered, RenderError):
        return View(conversation, "refused", outcome, problem=_reasons(outcome.drops), error=rendered)
    length = longest_sequence(rendered.branches, rendered.num_tokens)
    if not outcome.kept:
        is_too_long = any(drop.reason == TOO_LONG for drop in outcome.drops)
        fate: Fate = "stops" if is_too_long and config.too_long == "error" else "dropped"
        nothing = Sheet(rendered, np.ones(rendered.num_tokens, np.bool_))
        return View(conversation, fate, outcome, length, (nothing,), _reasons(outcome.drops))
    fate, problem = _what_happened(config, outcome)
    sheets = _sheets(conversation, rendered, outcome) if problem else (_whole(rendered),)
    return View(conversation, fate, outcome, length, sheets, problem)


def _what_happened(config: RenderConfig, outcome: Outcome) -> tuple[Fate, str]:
    account = outcome.account
    if not account.num_affected:
        return "trained", ""
    pieces = f"in {account.num_pieces} pieces by " if account.num_pieces > 1 else ""
    cut = f"{account.num_tokens_cut:,} of {account.num_tokens_in:,} tokens cut away"
    reasons = f" ({_reasons(outcome.drops)})" if outcome.drops else ""
    problem = f"{pieces}render.too_long = {config.too_long}, {cut}{reasons}"
    # Between pieces a template's line break may go; that is no loss.
    is_split = config.too_long == "split_turns" and not outcome.drops and not account.num_supervised_cut
    return "split" if is_split else "cut", problem


def _reasons(drops: Sequence[Drop]) -> str:
    return "; ".join(drop.detail for drop in drops)


def _whole(rendered: Rendered) -> Sheet:
    return Sheet(rendered, np.zeros(rendered.num_tokens, np.bool_))


def _sheets(conversation: Conversation, rendered: Rendered, outcome: Outcome) -> tuple[Sheet, ...]:
    """The whole with the cut tokens marked where what is kept are stretches of it; else each kept piece."""
    marked = _marked(rendered, outcome) if len(outcome.kept) == 1 else None
    if marked is not None:
        return (marked,)
    return tuple(_whole(piece) for piece in _renumbered(conversation, rendered, outcome.kept))


def _marked(rendered: Rendered, outcome: Outcome) -> Sheet | None:
    """The whole, with the weights that are kept; None where something kept does not stand in it."""
    (kept,) = outcome.kept
    is_cut, weights = np.ones(rendered.num_tokens, np.bool_), np.zeros_like(rendered.loss_weights)
    paths = sequences(rendered.branches, rendered.num_tokens)
    for own in sequences(kept.branches, kept.num_tokens):
        places = next((found for path in paths if (found := _found(rendered, path, kept, own)) is not None), None)
        if places is None:
            return None
        is_cut[places] = False
        weights[places] = np.maximum(weights[places], kept.loss_weights[own])
    if int(is_cut.sum()) != outcome.account.num_tokens_cut:
        return None
    return Sheet(replace(rendered, loss_weights=weights), is_cut)


def _found(
    rendered: Rendered, path: NDArray[np.int64], kept: Rendered, own: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Where a kept sequence stands in one of the whole: its beginning, its end, or its first token and its end."""
    size = own.size
    for places in (path[:size], path[-size:], np.append(path[:1], path[path.size - size + 1 :])):
        if places.size == size and np.array_equal(rendered.tokens[places], kept.tokens[own]):
            return places
    return None


def _renumbered(conversation: Conversation, rendered: Rendered, kept: Sequence[Rendered]) -> Iterator[Rendered]:
    """Pieces of several messages each, their messages numbered as in the conversation, or not at all."""
    roles = [message.role for message in conversation.messages]
    leading = next((place for place, role in enumerate(roles) if role not in ("system", "developer")), 0)
    begin = leading
    for piece in kept:
        if piece.messages is None or rendered.messages is None:
            yield replace(piece, messages=None)
            continue
        first = _tokens_of(piece, leading)
        same = (n for n in range(begin, len(roles)) if np.array_equal(_tokens_of(rendered, n), first))
        begin = next(same, len(roles))
        if begin == len(roles):
            yield replace(piece, messages=None)
            continue
        moved = np.where(piece.messages >= leading, piece.messages + begin - leading, piece.messages)
        yield replace(piece, messages=moved.astype(np.int16))
        begin += 1


def _tokens_of(rendered: Rendered, number: int) -> NDArray[np.int32]:
    return rendered.tokens[rendered.messages == number] if rendered.messages is not None else rendered.tokens[:0]
