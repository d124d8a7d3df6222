"""What becomes of a conversation that is longer than `render.max_tokens`, and the books that are kept of it.

Pure functions of one conversation. The length of a conversation is that of its longest sequence from root to leaf.
Whatever a policy does, the account balances: in + repeated = out + cut, for tokens and for supervised tokens.

Shapes: T tokens of a conversation, K of them kept in one sequence.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tunesmith.branches import PlaceArray, joined_branches, sequences, starts_and_ends, taken
from tunesmith.errors import MaskError, RenderError
from tunesmith.render.bulk.ledger import Account
from tunesmith.types import BranchArray, Conversation, Message, Rendered, TokenArray, WeightArray

if TYPE_CHECKING:
    from tunesmith.render import RenderConfig, Renderer

REFUSED, TOO_LONG, NOTHING_TRAINED = "refused", "too_long", "nothing_trained"


class Drop(NamedTuple):
    """Why a conversation, or a part of one, was left out. `length` is its longest sequence, 0 where it has none."""

    reason: str
    detail: str
    length: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What training gets of one conversation, the books, and what was left out. Nothing kept: all of it was."""

    kept: tuple[Rendered, ...]
    account: Account
    drops: tuple[Drop, ...] = ()


def apply_policy(
    config: "RenderConfig", renderer: "Renderer", conversation: Conversation, rendered: Rendered | RenderError
) -> Outcome:
    """What `config.too_long` makes of one rendered conversation.

    Never raises for a conversation's sake: "error" leaves out what "drop" would, and the caller stops there.
    """
    if isinstance(rendered, RenderError):
        return Outcome((), Account(), (Drop(_reason(rendered), without_place(str(rendered), conversation)),))
    if not rendered.loss_weights.any():
        return _outcome(rendered, (), (Drop(NOTHING_TRAINED, "no token of it is trained"),), ())
    length = longest_sequence(rendered.branches, rendered.num_tokens)
    if length <= config.max_tokens:
        return _outcome(rendered, (rendered,), (), ())
    stops = _stop_tokens(renderer, conversation, rendered)
    if rendered.is_pair:
        whole = f"{too_long(length, config.max_tokens)}; a pair of answers is never cut"
        return _outcome(rendered, (), (Drop(TOO_LONG, whole, length),), stops)
    if config.too_long == "split_turns" and conversation.text is not None:
        return _windows(config, rendered, stops)
    if config.too_long == "split_turns":
        return _split(config, renderer, conversation, rendered, stops)
    if config.too_long in ("truncate_prompt_head", "truncate_response"):
        return _truncated(config, getattr(renderer, "bos_token", None), rendered, stops)
    return _outcome(rendered, (), (Drop(TOO_LONG, too_long(length, config.max_tokens), length),), stops)


def too_long(length: int, max_tokens: int) -> str:
    """The sentence for a length in tokens."""
    return f"{length} tokens, more than render.max_tokens = {max_tokens}"


def longest_sequence(branches: BranchArray, num_tokens: int) -> int:
    """The tokens of the longest sequence from a root to a leaf."""
    if len(branches) == 1:
        return num_tokens
    starts, ends = starts_and_ends(branches, num_tokens)
    before: list[int] = []
    for parent in branches[:, 1].tolist():
        continued = int(np.searchsorted(starts, parent, "right")) - 1
        before.append(before[continued] + parent + 1 - int(starts[continued]) if parent >= 0 else 0)
    return int((ends - starts + np.array(before)).max())


def _reason(error: RenderError) -> str:
    is_untrained = isinstance(error, MaskError) and error.name == NOTHING_TRAINED
    return NOTHING_TRAINED if is_untrained else REFUSED


def without_place(text: str, conversation: Conversation) -> str:
    """A renderer's complaint without the place that it begins with, which is the run's matter."""
    name = conversation.source or "conversation"
    for place in (f"{name} ({conversation.id}): ", f"{name}: ", f"{conversation.id}: "):
        text = text.removeprefix(place)
    return text


# The books


def _outcome(
    rendered: Rendered,
    kept: Sequence[Rendered],
    drops: Sequence[Drop],
    stops: tuple[int, ...],
    *,
    num_cut: int | None = None,
    num_without_context: int = 0,
) -> Outcome:
    """The outcome with its account. `num_cut` tokens of `rendered` stand in none of `kept`; by default as many as
    there are fewer. `stops` is empty where the policy had no hand in it."""
    drops = drops or () if kept else (_whole(drops),)
    tokens_in, tokens_out = rendered.num_tokens, sum(each.num_tokens for each in kept)
    # A template may write less in a piece than it did in the whole, so that more is gone than was cut on purpose.
    repeated = max(0, tokens_out + (num_cut or 0) - tokens_in)
    supervised_in, supervised_out = rendered.num_supervised, sum(each.num_supervised for each in kept)
    stops_cut = _num_stops(stops, (rendered,)) - _num_stops(stops, kept) if stops else 0
    account = Account(
        num_out=int(bool(kept)),
        num_affected=int(bool(stops)),
        num_pieces=len(kept),
        num_without_context=num_without_context,
        num_tokens_in=tokens_in,
        num_tokens_repeated=repeated,
        num_tokens_out=tokens_out,
        num_tokens_cut=tokens_in + repeated - tokens_out,
        num_supervised_in=supervised_in,
        num_supervised_repeated=max(0, supervised_out - supervised_in),
        num_supervised_out=supervised_out,
        num_supervised_cut=max(0, supervised_in - supervised_out),
        num_stop_tokens_cut=max(0, stops_cut),
    )
    return Outcome(tuple(kept), account, tuple(drops))


def _whole(drops: Sequence[Drop]) -> Drop:
    """One reason for a conversation of which nothing is left."""
    if not drops:
        return Drop(NOTHING_TRAINED, "no piece of it that fits has a trained token")
    return Drop(drops[0].reason, "; ".join(drop.detail for drop in drops), max(drop.length for drop in drops))


def _stop_tokens(renderer: "Renderer", conversation: Conversation, rendered: Rendered) -> tuple[int, ...]:
    """The tokens that say that a turn, or a document, is over; never empty."""
    end = () if conversation.text is None else (int(rendered.tokens[-1]),)
    return (*renderer.stop_tokens, *end) or (-1,)


def _num_stops(stops: Sequence[int], found: Sequence[Rendered]) -> int:
    return sum(int(np.isin(each.tokens[each.loss_weights != 0], stops).sum()) for each in found)


# Split


def _windows(config: "RenderConfig", rendered: Rendered, stops: tuple[int, ...]) -> Outcome:
    """A document's consecutive stretches; before the first token of a later one nothing stands to predict it from."""
    kept = []
    for start in range(0, rendered.num_tokens, config.max_tokens):
        places = np.arange(start, min(start + config.max_tokens, rendered.num_tokens))
        weights = rendered.loss_weights[places]
        weights[0] = weights[0] if start == 0 else 0.0
        if weights.any():
            kept.append(taken(rendered, places, weights))
    return _outcome(rendered, kept, (), stops, num_without_context=max(0, len(kept) - 1))


def _split(
    config: "RenderConfig",
    renderer: "Renderer",
    conversation: Conversation,
    rendered: Rendered,
    stops: tuple[int, ...],
) -> Outcome:
    """Several conversations of whole turns, each behind the leading messages, greedily as long as fits."""
    num_leading = _num_leading(conversation.messages)
    last_answer = max((n for n, each in enumerate(conversation.messages) if each.role == "assistant"), default=-1)
    kept: list[Rendered] = []
    drops: list[Drop] = []
    gone: set[int] = set()
    num_without_context = 0
    for first, last, piece in _pieces(config, renderer, conversation, num_leading):
        is_later = first > num_leading
        if isinstance(piece, Drop):
            drops += [piece] if piece.reason != NOTHING_TRAINED else []
        elif config.train_on != "last_turn" or first <= last_answer < last:
            piece = _without_leading_weights(piece, num_leading) if is_later else piece
            if piece.loss_weights.any():
                kept.append(piece)
                num_without_context += is_later
                continue
        gone.update(range(first, last))
    num_cut = _num_of_messages(rendered, gone) if kept else None
    return _outcome(rendered, kept, drops, stops, num_cut=num_cut, num_without_context=num_without_context)


def _num_leading(messages: Sequence[Message]) -> int:
    return next((place for place, each in enumerate(messages) if each.role not in ("system", "developer")), 0)


def _turns(messages: Sequence[Message], start: int) -> list[tuple[int, int]]:
    """(first, last) of each stretch that begins with a user message, from message `start` on; what comes before the
    first user message belongs to the first stretch."""
    begins = [
        place
        for place in range(start + 1, len(messages))
        if messages[place].role == "user" and messages[place - 1].role != "user"
    ]
    return list(zip([start, *begins], [*begins, len(messages)], strict=True))


def _pieces(
    config: "RenderConfig", renderer: "Renderer", conversation: Conversation, num_leading: int
) -> Iterator[tuple[int, int, Rendered | Drop]]:
    """(first message, last, what they become) for each piece, and for each turn that does not fit by itself."""
    begin, fitting = num_leading, None
    for first, last in _turns(conversation.messages, num_leading):
        tried = _piece(config, renderer, conversation, num_leading, begin, last)
        if isinstance(tried, Drop) and fitting is not None:
            yield begin, first, fitting
            begin, tried = first, _piece(config, renderer, conversation, num_leading, first, last)
        if isinstance(tried, Drop):
            yield begin, last, tried
            begin, fitting = last, None
        else:
            fitting = tried
    if fitting is not None:
        yield begin, len(conversation.messages), fitting


def _piece(
    config: "RenderConfig", renderer: "Renderer", conversation: Conversation, num_leading: int, first: int, last: int
) -> Rendered | Drop:
    """The leading messages and messages `first` to `last` as a conversation, where that fits."""
    messages = conversation.messages[:num_leading] + conversation.messages[first:last]
    where = f"messages {first + 1} to {last}"
    try:
        rendered = renderer.render(replace(conversation, messages=messages))
    except RenderError as error:
        return Drop(_reason(error), f"{where}: {without_place(str(error), conversation)}")
    length = longest_sequence(rendered.branches, rendered.num_tokens)
    if length <= config.max_tokens:
        return rendered
    return Drop(TOO_LONG, f"{where}: {too_long(length, config.max_tokens)}", length)


def _without_leading_weights(piece: Rendered, num_leading: int) -> Rendered:
    """The leading messages are trained in the first piece and are context in the later ones."""
    if piece.messages is None or num_leading == 0:
        return piece
    own = np.flatnonzero(piece.messages >= num_leading)
    weights = piece.loss_weights.copy()
    weights[: own[0] if own.size else 0] = 0.0
    return replace(piece, loss_weights=weights)


def _num_of_messages(rendered: Rendered, indices: set[int]) -> int:
    """Tokens that belong to these messages; 0 where the renderer does not tell."""
    return 0 if rendered.messages is None else int(np.isin(rendered.messages, list(indices)).sum())


# Truncate


def _truncated(config: "RenderConfig", bos: int | None, rendered: Rendered, stops: tuple[int, ...]) -> Outcome:
    """Sequences that fit stay as they are, in one tree; each that is too long is cut and stands apart.

    A shared token is trained in the first sequence that holds it, and is context in the others.
    """
    paths = sequences(rendered.branches, rendered.num_tokens)
    is_kept_T = np.zeros(rendered.num_tokens, bool)
    for path in paths:
        is_kept_T[path] |= path.size <= config.max_tokens
    is_taken_T = is_kept_T.copy()
    found, drops = [_pruned(rendered, is_kept_T)] if is_kept_T.any() else [], []
    for path in paths:
        weights = np.where(is_taken_T[path], np.float32(0), rendered.loss_weights[path])
        if path.size <= config.max_tokens or not weights.any():
            continue
        cut = _cut(config, bos, rendered.tokens[path], weights)
        if isinstance(cut, Drop):
            drops.append(cut)
            continue
        places_K, weights_K = cut
        is_kept_T[path[places_K]] = True
        is_taken_T[path[places_K[weights_K != 0]]] = True
        found.append(taken(rendered, path[places_K], weights_K))
    kept = (_side_by_side(found),) if any(each.loss_weights.any() for each in found) else ()
    num_cut = rendered.num_tokens - int(is_kept_T.sum()) if kept else None
    return _outcome(rendered, kept, drops, stops, num_cut=num_cut)


def _cut(
    config: "RenderConfig", bos: int | None, tokens_T: TokenArray, weights_T: WeightArray
) -> tuple[PlaceArray, WeightArray] | Drop:
    """The places to keep of a sequence that is too long, and their weights."""
    if config.too_long == "truncate_response":
        return _without_end(weights_T, config.max_tokens)
    return _without_head(weights_T, config.max_tokens, bos is not None and int(tokens_T[0]) == bos)


def _without_head(weights_T: WeightArray, max_tokens: int, keeps_first: bool) -> tuple[PlaceArray, WeightArray] | Drop:
    """The end of a sequence, and its first token where that is the beginning-of-sequence token."""
    trained = np.flatnonzero(weights_T)
    gaps = np.flatnonzero(np.diff(trained) > 1)
    response = int(trained[gaps[-1] + 1 if gaps.size else 0])
    first = weights_T.size - max_tokens + keeps_first
    # The first token after the cut is predicted from what is gone, so it is context: a response must begin later.
    if response <= first:
        detail = f"the last trained stretch has {weights_T.size - response} tokens"
        return Drop(
            TOO_LONG, f"{detail}, which leaves no prompt within render.max_tokens = {max_tokens}", weights_T.size
        )
    places_K = np.concatenate([np.arange(int(keeps_first)), np.arange(first, weights_T.size)])
    weights_K = weights_T[places_K]
    weights_K[: 1 + keeps_first] = 0.0
    return places_K, weights_K


def _without_end(weights_T: WeightArray, max_tokens: int) -> tuple[PlaceArray, WeightArray] | Drop:
    """The beginning of a sequence, to its last trained token: what comes after that teaches nothing."""
    trained = np.flatnonzero(weights_T[:max_tokens])
    if not trained.size:
        detail = f"its first {max_tokens} tokens (render.max_tokens) hold no trained one"
        return Drop(NOTHING_TRAINED, detail, weights_T.size)
    places_K = np.arange(int(trained[-1]) + 1)
    return places_K, weights_T[places_K]


def _pruned(rendered: Rendered, is_kept_T: NDArray[np.bool_]) -> Rendered:
    """The tree of the tokens to keep; whoever keeps a token keeps all that it sees."""
    moved_T = np.cumsum(is_kept_T) - 1
    starts, parents = rendered.branches[:, 0], rendered.branches[:, 1]
    branches = np.stack([moved_T[starts], np.where(parents < 0, -1, moved_T[parents])], axis=1)
    places_K = np.flatnonzero(is_kept_T)
    sequence = taken(rendered, places_K, rendered.loss_weights[places_K])
    return replace(sequence, branches=branches[is_kept_T[starts]].astype(np.int32))


def _side_by_side(found: Sequence[Rendered]) -> Rendered:
    """Several trees of one conversation as one, with several roots."""
    if len(found) == 1:
        return found[0]
    parts = [each.parts for each in found if each.parts is not None]
    messages = [each.messages for each in found if each.messages is not None]
    return Rendered(
        found[0].conversation_id,
        np.concatenate([each.tokens for each in found]),
        np.concatenate([each.loss_weights for each in found]),
        joined_branches(found),
        np.concatenate(parts) if parts else None,
        np.concatenate(messages) if messages else None,
    )
