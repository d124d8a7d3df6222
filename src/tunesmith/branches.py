"""Who continues whom in a conversation that is a tree, or in a row that holds several.

`branches` is int32 [B, 2] of (start, parent), as in `Rendered` and `Row`: in order of start, each running to the next
start, each continuing a token that stands before it, or nothing (-1). A token sees its own branch so far, then the
branch that this one continues, up to the parent, and so on to the root.

Shapes: T tokens, B branches.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tunesmith.types import LINEAR, BranchArray, Rendered, WeightArray

PlaceArray = NDArray[np.int64]


def starts_and_ends(branches: BranchArray, num_tokens: int) -> tuple[PlaceArray, PlaceArray]:
    """Where each branch begins, and the place after its last token: int64 [B] each."""
    starts_B = branches[:, 0].astype(np.int64)
    return starts_B, np.append(starts_B[1:], num_tokens)


def predictors(branches: BranchArray, num_tokens: int) -> PlaceArray:
    """The place whose output predicts each token, int64 [T]: the one before it, a branch's first token from its parent.

    -1 where nothing stands before a token. Where branches fork, one place predicts several tokens.
    """
    places_T = np.arange(-1, num_tokens - 1, dtype=np.int64)
    places_T[branches[:, 0]] = branches[:, 1]
    return places_T


def paths(branches: BranchArray, num_tokens: int) -> list[PlaceArray]:
    """For each branch the places that all its tokens see before their own branch, root first; none for a root."""
    starts_B, _ = starts_and_ends(branches, num_tokens)
    found: list[PlaceArray] = []
    for parent in branches[:, 1].tolist():
        if parent < 0:
            found.append(np.empty(0, np.int64))
            continue
        continued = int(np.searchsorted(starts_B, parent, side="right")) - 1
        found.append(np.concatenate([found[continued], np.arange(starts_B[continued], parent + 1)]))
    return found


def sequences(branches: BranchArray, num_tokens: int) -> list[PlaceArray]:
    """The places of each sequence from a root to a leaf; together they hold every token, shared ones several times."""
    starts_B, ends_B = starts_and_ends(branches, num_tokens)
    continued = set(branches[:, 1].tolist())
    return [
        np.concatenate([path, np.arange(start, end)])
        for path, start, end in zip(paths(branches, num_tokens), starts_B, ends_B, strict=True)
        if int(end) - 1 not in continued
    ]


def split(rendered: Rendered) -> list[Rendered]:
    """A tree taken apart into plain sequences, from each root to each leaf, that teach the same.

    A token's loss weight stays with the first sequence that holds it and is 0.0 in the others, where it is context.
    """
    if rendered.is_linear:
        return [rendered]
    longest = longest_of(rendered)
    is_taken_T = np.zeros(rendered.num_tokens, bool)
    apart = []
    for places in sequences(rendered.branches, rendered.num_tokens):
        weights = np.where(is_taken_T[places], np.float32(0), rendered.loss_weights[places])
        is_taken_T[places] = True
        apart.append(replace(taken(rendered, places, weights), longest=longest))
    return apart


def longest_of(rendered: Rendered) -> int:
    """The tokens of the longest sequence of the conversation, of which this may be a piece."""
    return rendered.longest or max(each.size for each in sequences(rendered.branches, rendered.num_tokens))


def taken(rendered: Rendered, places: PlaceArray, weights: WeightArray) -> Rendered:
    """The tokens at `places` as one plain sequence, with these loss weights."""
    return replace(
        rendered,
        tokens=rendered.tokens[places],
        loss_weights=weights,
        branches=LINEAR,
        parts=None if rendered.parts is None else rendered.parts[places],
        messages=None if rendered.messages is None else rendered.messages[places],
    )


def joined_branches(members: Sequence[Rendered]) -> BranchArray:
    """The branches of conversations laid end to end, moved to their new places."""
    moved, offset = [], 0
    for each in members:
        moved.append(np.where(each.branches < 0, -1, each.branches + offset))
        offset += each.num_tokens
    return np.concatenate(moved).astype(np.int32)
