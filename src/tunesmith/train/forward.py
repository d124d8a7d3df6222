"""A row through the model: what is handed to it, and the logits that come out.

Shapes: T tokens of a row, S supervised tokens of it, V vocabulary.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from tunesmith.branches import PlaceArray
from tunesmith.train.attention import Sight, sight_of
from tunesmith.train.loss import supervised_places
from tunesmith.types import Row


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
