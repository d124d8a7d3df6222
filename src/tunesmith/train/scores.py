"""What a model family does to attention scores beside masking: scale, soft cap, sinks; the plain and exact form.

Shapes: N lines, Q queries, K keys, D head width, H query heads.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Scores(NamedTuple):
    """How products of queries and keys become weights."""

    scale: float
    softcap: float | None = None
    """Scores are bent below this size: c tanh(score / c) (Gemma 2, 2024)."""

    sinks_H: Tensor | None = None
    """A learned score for each head that takes part in the softmax and gives nothing (gpt-oss, 2025)."""

    @property
    def is_plain(self) -> bool:
        """Whether PyTorch's own fused attention computes them."""
        return self.softcap is None and self.sinks_H is None

    def capped(self, scores: Tensor) -> Tensor:
        """The scores, bent where the family bends them."""
        return scores if self.softcap is None else self.softcap * torch.tanh(scores / self.softcap)


def attend_plainly(
    query_NQD: Tensor,
    key_NKD: Tensor,
    value_NKD: Tensor,
    bias_NQK: Tensor,
    scores: Scores,
    sinks_NQ: Tensor | None,
    dropout: float,
) -> Tensor:
    """Products, softmax, products: [N, Q, D]. `bias_NQK` is 0 where a query sees a key, and else minus infinity."""
    if scores.softcap is None:
        scores_NQK = torch.baddbmm(bias_NQK, query_NQD, key_NKD.transpose(1, 2), alpha=scores.scale)
    else:
        scores_NQK = scores.capped(query_NQD @ key_NKD.transpose(1, 2) * scores.scale) + bias_NQK
    if sinks_NQ is None:
        weights_NQK = scores_NQK.softmax(-1)
    else:
        weights_NQK = torch.cat([scores_NQK, sinks_NQ[..., None]], dim=-1).softmax(-1)[..., :-1]
    return F.dropout(weights_NQK, dropout) @ value_NKD
