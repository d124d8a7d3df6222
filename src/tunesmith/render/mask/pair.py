"""A chosen and a rejected conversation become one tree: the prompt, passed through the model once, and two answers.

Both were rendered and proven like any conversation. What is trained is what stands behind the messages that both
share; the loss weights of the rejected answer are negative, so that whoever learns from the pair knows which is which.
"""

from collections.abc import Sequence

import numpy as np

from tunesmith.errors import MaskError
from tunesmith.render.mask.tree import Strand, joined, side_by_side
from tunesmith.types import Conversation, Rendered


def check_pair(train_on: str) -> None:
    """Raise MaskError where `train_on` does not train the answers of a pair behind their prompt, and nothing else."""
    if train_on in ("all", "response_only"):
        raise MaskError(
            "pair",
            f"a chosen and a rejected answer are compared behind the same prompt, but render.train_on = {train_on!r} "
            "trains more, or leaves the prompt out; take assistant, last_turn or per_message",
        )


def paired(
    conversation: Conversation, chosen: Sequence[Strand], rejected: Sequence[Strand], *, is_tree: bool
) -> Rendered:
    """The strands of both sides as one conversation; raises MaskError where a side has no trained token."""
    num_shared = conversation.num_shared
    better = _answers(chosen, num_shared, "chosen")
    first, num_tail = len(conversation.messages), len(conversation.rejected) - num_shared
    numbers = [*range(num_shared), *range(first, first + num_tail)]
    worse = [
        each.with_origins(numbers)._replace(weights=-each.weights)
        for each in _answers(rejected, num_shared, "rejected")
    ]
    if not is_tree:
        return side_by_side(conversation.id, [*better, *worse])
    # Answers may begin alike, but each keeps all of its own tokens: their lengths and log-probabilities are compared.
    limits = [*(each.tokens.size for each in better), *(int(np.flatnonzero(each.weights)[0]) for each in worse)]
    return joined(conversation.id, [*better, *worse], limits)


def _answers(strands: Sequence[Strand], num_shared: int, side: str) -> list[Strand]:
    """The strands that train something behind the shared messages, and nothing before it."""
    found = [
        strand._replace(weights=np.where(strand.messages >= num_shared, strand.weights, np.float32(0)))
        for strand in strands
    ]
    found = [strand for strand in found if strand.weights.any()]
    if not found:
        raise MaskError("nothing_trained", f"no token of the {side} answer would be trained")
    return found
