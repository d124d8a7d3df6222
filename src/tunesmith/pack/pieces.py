"""What stands in a row: a conversation whole, or a piece of one that does not fit, and how long each piece is.

Shapes: N conversations, P pieces of all of them in order, T tokens of a conversation, B branches.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.branches import longest_of, split, starts_and_ends
from tunesmith.errors import ConfigError
from tunesmith.pack.fit import IntArray
from tunesmith.types import LINEAR, BranchArray, Rendered

if TYPE_CHECKING:
    from tunesmith.pack import PackConfig


def pieces_of(rendered: Rendered, config: "PackConfig") -> list[Rendered]:
    """The conversation itself where it fits into a row; else its trees, which may stand in different rows.

    The layout `padding` takes every conversation apart into plain sequences, from a root to a leaf. A pair of answers
    stays in one row, whatever the layout: the two are learned from together. Raises ConfigError
    for a piece that is larger than a row, unless `split_long` says that it may be cut and it is a plain sequence.
    """
    if rendered.is_pair:
        apart = [rendered]
    elif config.layout == "padding":
        apart = split(rendered)
    else:
        apart = [rendered] if rendered.num_tokens <= config.row_tokens else trees_of(rendered)
    pieces: list[Rendered] = []
    for each in apart:
        if each.num_tokens <= config.row_tokens:
            pieces.append(each)
        elif config.split_long == "wrap" and each.is_linear:
            pieces += wrapped(each, config.row_tokens)
        else:
            raise ConfigError(_too_long(rendered, each, config.row_tokens))
    return pieces


def _too_long(whole: Rendered, piece: Rendered, row_tokens: int) -> str:
    if whole.is_pair:
        return (
            f"conversation {whole.conversation_id} is a pair of answers with {whole.num_tokens} tokens, more than "
            f"pack.row_tokens = {row_tokens}; a pair stands in one row, so raise it to {whole.num_tokens}, or lower "
            "render.max_tokens and set render.too_long = drop to leave such pairs out"
        )
    part = "" if piece.num_tokens == whole.num_tokens else f", of which {piece.num_tokens} hang together"
    seen = f"conversation {whole.conversation_id} has {whole.num_tokens} tokens{part}, more than pack.row_tokens = "
    if piece.is_linear:
        return (
            f"{seen}{row_tokens}; raise it to {piece.num_tokens}, lower render.max_tokens to drop such conversations, "
            "or, for plain documents, set pack.split_long = wrap to cut them"
        )
    return (
        f"{seen}{row_tokens}: it is a tree of {len(piece.branches)} branches, which is never cut; raise "
        f"pack.row_tokens to {piece.num_tokens}, or set render.layout = split to make its turns sequences apart"
    )


def trees_of(rendered: Rendered) -> list[Rendered]:
    """The separate trees of a conversation, one for each root, in order of root."""
    parents_B = rendered.branches[:, 1]
    starts_B, ends_B = starts_and_ends(rendered.branches, rendered.num_tokens)
    trees_B = np.cumsum(parents_B < 0) - 1
    for branch in np.flatnonzero(parents_B >= 0):
        trees_B[branch] = trees_B[np.searchsorted(starts_B, parents_B[branch], side="right") - 1]
    num_trees = int(trees_B.max()) + 1
    if num_trees == 1:
        return [rendered]
    trees_T, longest = np.repeat(trees_B, ends_B - starts_B), longest_of(rendered)
    return [
        replace(_tree(rendered, np.flatnonzero(trees_T == tree), rendered.branches[trees_B == tree]), longest=longest)
        for tree in range(num_trees)
    ]


def _tree(rendered: Rendered, places: IntArray, branches: BranchArray) -> Rendered:
    """One tree, by the places of its tokens and by its branches, which name the places in the whole conversation."""
    moved = np.where(branches < 0, -1, np.searchsorted(places, branches)).astype(np.int32)
    return _taken(rendered, places, moved)


def wrapped(rendered: Rendered, row_tokens: int) -> list[Rendered]:
    """A plain sequence cut into consecutive pieces of `row_tokens`, the last one shorter; every token stays.

    The first token of a later piece has nothing before it to be predicted from, so its loss weight becomes 0.0. To
    training each piece is a conversation of its own, and as long as it is.
    """
    pieces = []
    for start in range(0, rendered.num_tokens, row_tokens):
        piece = _taken(rendered, slice(start, start + row_tokens), LINEAR)
        weights = piece.loss_weights.copy()
        weights[: start > 0] = 0.0
        pieces.append(replace(piece, loss_weights=weights, longest=0))
    return pieces


def _taken(rendered: Rendered, places: IntArray | slice, branches: BranchArray) -> Rendered:
    """The tokens at `places` as a conversation of their own."""
    return replace(
        rendered,
        tokens=rendered.tokens[places],
        loss_weights=rendered.loss_weights[places],
        branches=branches,
        parts=None if rendered.parts is None else rendered.parts[places],
        messages=None if rendered.messages is None else rendered.messages[places],
    )


def lengths_of(rendered: Sequence[Rendered]) -> IntArray:
    """Tokens of each conversation, int64 [N]: the sequence's own `lengths` where it has them, else counted."""
    known: IntArray | None = getattr(rendered, "lengths", None)
    return np.array([each.num_tokens for each in rendered], np.int64) if known is None else known


def supervised_of(rendered: Sequence[Rendered]) -> IntArray:
    """Supervised tokens of each conversation, int64 [N]: the sequence's own `supervised`, else counted."""
    known: IntArray | None = getattr(rendered, "supervised", None)
    return np.array([each.num_supervised for each in rendered], np.int64) if known is None else known


def check_sizes(config: "PackConfig", rendered: Sequence[Rendered], lengths: IntArray) -> None:
    """Raise ConfigError where a conversation cannot stand in rows; the longest is named, as mending it mends all."""
    too_long = np.flatnonzero(lengths > config.row_tokens)
    for index in too_long[np.argsort(-lengths[too_long], kind="stable")].tolist():
        pieces_of(rendered[index], config)


@dataclass(frozen=True, slots=True)
class PieceTable:
    """The sizes of all pieces, in order of conversation, without their tokens.

    `lengths` and `supervised` are int64 [P]; conversation c has the pieces from `first[c]` up to `first[c + 1]`.
    """

    lengths: IntArray
    supervised: IntArray
    first: IntArray

    def pieces_of(self, conversations: IntArray) -> IntArray:
        """The numbers of all pieces of `conversations`, in their order."""
        counts = self.first[conversations + 1] - self.first[conversations]
        skipped = np.cumsum(counts) - counts
        return np.repeat(self.first[conversations] - skipped, counts) + np.arange(counts.sum())

    def place_of(self, piece: int) -> tuple[int, int]:
        """Which conversation a piece is of, and which of its pieces it is, both from 0."""
        conversation = int(np.searchsorted(self.first, piece, side="right")) - 1
        return conversation, piece - int(self.first[conversation])


def piece_table(config: "PackConfig", rendered: Sequence[Rendered], lengths: IntArray) -> PieceTable:
    """Measure all pieces; only conversations longer than a row are read where the sequence knows its own sizes."""
    supervised = supervised_of(rendered)
    counts = np.ones(lengths.size, np.int64)
    sizes: dict[int, list[tuple[int, int]]] = {}
    for index in np.flatnonzero(lengths > config.row_tokens).tolist():
        sizes[index] = [(each.num_tokens, each.num_supervised) for each in pieces_of(rendered[index], config)]
        counts[index] = len(sizes[index])
    first = np.append(0, np.cumsum(counts))
    table = PieceTable(np.repeat(lengths, counts), np.repeat(supervised, counts), first)
    for index, measured in sizes.items():
        where = slice(first[index], first[index + 1])
        table.lengths[where], table.supervised[where] = zip(*measured, strict=True)
    return table
