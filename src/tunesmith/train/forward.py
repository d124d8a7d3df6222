"""A row through the model: what is handed to it, the logits that come out, and the proof that nothing leaks.

Shapes: T tokens of a row, S supervised tokens of it, V vocabulary.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tunesmith.branches import PlaceArray
from tunesmith.errors import TrainError
from tunesmith.train.attention import Sight, sight_of
from tunesmith.train.loss import supervised_places
from tunesmith.types import Row, TokenArray


class RowTensors(NamedTuple):
    """A row on the model's device. `places_S` are the positions whose output predicts the tokens `targets_S`, which
    stand at `where_S` in the row."""

    tokens_1T: Tensor
    positions_1T: Tensor
    sight: Sight
    places_S: Tensor
    targets_S: Tensor
    weights_S: Tensor
    where_S: PlaceArray


def row_tensors(row: Row, model: Any) -> RowTensors:
    """Move a row to the model's device and work out who sees whom, in the form of the model's attention, and what is
    trained."""
    device = next(model.parameters()).device
    places_S, targets_S = supervised_places(row)
    return RowTensors(
        torch.from_numpy(row.tokens).long().to(device)[None],
        torch.from_numpy(row.positions).long().to(device)[None],
        sight_of(row, model.config._attn_implementation, device),
        torch.from_numpy(places_S).to(device),
        torch.from_numpy(row.tokens[targets_S]).long().to(device),
        torch.from_numpy(row.loss_weights[targets_S]).to(device),
        targets_S,
    )


def forward(model: Any, tensors: RowTensors, places_S: Tensor) -> Tensor:
    """Logits at `places_S` of a row, in which a place may stand several times: [S, V]."""
    output = model(
        input_ids=tensors.tokens_1T,
        position_ids=tensors.positions_1T,
        sight=tensors.sight,
        logits_to_keep=places_S,
        use_cache=False,
    )
    logits_SV: Tensor = output.logits[0]
    return logits_SV


@torch.no_grad()
def check_no_leak(model: Any) -> None:
    """Refuse an architecture in which one packed conversation, or one branch of a tree, can see another.

    A plain conversation (tokens 0 to 7) and a tree share a row: a trunk (8 to 11), one branch on its end (12 to 15)
    and one on its middle (16 to 19). First the plain conversation is changed, then the first branch; the logits of
    all others must not change by a single bit.
    """
    branches = np.array([[0, -1], [8, -1], [12, 11], [16, 9]], np.int32)
    positions = np.concatenate([np.arange(8), np.arange(8), np.arange(2, 6)]).astype(np.int32)
    segments = np.repeat(np.arange(2, dtype=np.int32), [8, 12])
    device = next(model.parameters()).device
    everywhere_T = torch.arange(20, device=device)

    def logits(tokens: TokenArray) -> Tensor:
        row = Row(tokens, np.zeros(20, np.float32), positions, segments, branches, ("plain", "tree"))
        return forward(model, row_tensors(row, model), everywhere_T)

    tokens = np.arange(20, dtype=np.int32) % model.config.vocab_size
    plain_TV = logits(tokens)
    for first, last, what in ((0, 8, "packed conversations"), (12, 16, "the branches of a conversation")):
        changed = tokens.copy()
        changed[first:last] = (changed[first:last] + 7) % model.config.vocab_size
        outside_T = (everywhere_T < first) | (everywhere_T >= last)
        if not torch.equal(logits(changed)[outside_T], plain_TV[outside_T]):
            raise TrainError(
                f"{type(model).__name__}: {what} see each other in this architecture, so training it "
                "would be wrong; it is not supported yet"
            )
