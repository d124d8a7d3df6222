"""Which conversations to hold out: whole clusters, so that near-duplicates never stand on both sides."""

import random
from collections import Counter
from collections.abc import Sequence

from tunesmith.errors import DataError
from tunesmith.types import Conversation


def question_text(conversation: Conversation) -> str:
    """What is asked: all user messages, or the document; near-duplicates are found by it.

    All of them, because a last message such as "yes, please" is shared by conversations with nothing else in
    common. System messages are left out, because many conversations share them.
    """
    if conversation.text is not None:
        return conversation.text
    asked = [message.content for message in conversation.messages if message.role == "user"]
    return "\n".join(asked or [message.content for message in conversation.messages])


def heldout_indices(clusters: Sequence[int], holdout: float, seed: int) -> set[int]:
    """The indices to hold out of conversations with these cluster labels.

    Random whole clusters whose sizes add up as nearly as they can to the asked fraction or count. Raises
    DataError when no conversation would stay on one of the sides.
    """
    total = len(clusters)
    target = max(1, round(holdout * total)) if holdout < 1 else int(holdout)
    if target >= total:
        raise DataError(
            f"holdout asks for {target} of {total} conversations, which leaves none to train on; "
            "ask for less with --set data.holdout=0.1"
        )
    sizes = list(Counter(clusters).items())
    random.Random(seed).shuffle(sizes)
    # Sums farther from the target than 0 are worth their time only where there is no nearer one.
    chosen = _nearest_sum(sizes, target, min(total, 2 * target + 1)) or _nearest_sum(sizes, target, total)
    if not chosen:
        raise DataError(
            f"nothing can be held out: all {total} conversations are near-duplicates of each other; "
            "turn it off with --set data.holdout=0"
        )
    return {index for index, cluster in enumerate(clusters) if cluster in chosen}


def _nearest_sum(sizes: Sequence[tuple[int, int]], target: int, limit: int) -> set[int]:
    """The labels, earliest first, whose sizes add up nearest to `target`, above 0 and below `limit`.

    Bit k of `reachable` says whether some of the clusters so far add up to k; `reached_by[k]` is the cluster
    that first made it so. Going back along it gives the clusters.
    """
    reachable = 1
    reached_by: dict[int, int] = {}
    mask = (1 << limit) - 1
    for position, (_, size) in enumerate(sizes):
        new = (reachable << size) & ~reachable & mask
        reachable |= new
        reached_by.update(dict.fromkeys(_bits(new), position))
        if target in reached_by:
            break
    nearest = min(reached_by, key=lambda reached: (abs(reached - target), reached), default=0)
    chosen = set()
    while nearest:
        label, size = sizes[reached_by[nearest]]
        chosen.add(label)
        nearest -= size
    return chosen


def _bits(number: int) -> list[int]:
    """The positions of the bits that are set."""
    positions = []
    while number:
        lowest = number & -number
        positions.append(lowest.bit_length() - 1)
        number ^= lowest
    return positions
