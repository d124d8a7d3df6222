"""The proof at the start of every training: the real model, on a few tokens, keeps apart what must stay apart.

A plain conversation and a tree share a row: a trunk, a branch on its end, and one on its middle. First the plain
conversation is changed, then the first branch; nothing else may change. Then each sequence passes through the model
alone, with transformers' own eager attention, and must come out the same. Sequences are 8 tokens long, and longer
than a sliding window where it is at most `_WIDEST` tokens.

Shapes: T tokens of the row, N tokens of a sequence, K places looked at, V vocabulary.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tunesmith.branches import PlaceArray, sequences
from tunesmith.errors import TrainError
from tunesmith.train.forward import forward, row_tensors
from tunesmith.types import Row, TokenArray

_WIDEST = 256
_KNOWN_LAYERS = {"full_attention", "sliding_attention"}
_EXPERT_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts")


class _Trial(NamedTuple):
    """The row, and where it is looked at: eight places of each sequence."""

    row: Row
    places_K: PlaceArray
    step: int
    plain: tuple[int, int]
    branch: tuple[int, int]


@torch.no_grad()
def prove_attention(model: Any) -> None:
    """Refuse an architecture in which one packed conversation, or one branch of a tree, can see another, or whose
    attention comes out otherwise than transformers' own.

    Raises TrainError that names the model's class and what was seen.
    """
    name, config = type(model).__name__, model.config.get_text_config()
    unknown = sorted(set(getattr(config, "layer_types", None) or ()) - _KNOWN_LAYERS)
    if unknown:
        raise TrainError(
            f"{name} has layers of the kind {', '.join(unknown)}, in which packed conversations would see each other; "
            f"trained are models whose layers are all of the kinds {', '.join(sorted(_KNOWN_LAYERS))}"
        )
    trial = _trial(getattr(config, "sliding_window", None))
    try:
        before_KV = _logits(model, trial, trial.row.tokens)
        for span, what in ((trial.plain, "packed conversations"), (trial.branch, "the branches of a conversation")):
            _prove_apart(model, trial, before_KV, span, what)
    except (AttributeError, TypeError, ValueError) as error:
        raise TrainError(
            f"{name} cannot be called with the positions of packed conversations "
            f"({type(error).__name__}: {str(error)[:200]}); it is not supported yet"
        ) from error
    _prove_equal(model, trial, before_KV)


def _trial(window: int | None) -> _Trial:
    step = 1 if window is None or window > _WIDEST else window // 8 + 1
    length = 8 * step
    ends = np.cumsum([length, length // 2, length // 2, length - length // 4])
    branches = np.array(
        [[0, -1], [ends[0], -1], [ends[1], ends[1] - 1], [ends[2], ends[0] + length // 4 - 1]], np.int32
    )
    spans = [(0, length), (0, length), (length // 4, length)]
    positions = np.concatenate([np.arange(*span, dtype=np.int32) for span in spans])
    segments = np.repeat(np.arange(2, dtype=np.int32), [ends[0], ends[3] - ends[0]])
    tokens = np.arange(ends[3], dtype=np.int32)
    row = Row(tokens, np.zeros(ends[3], np.float32), positions, segments, branches, ("plain", "tree"))
    places_K = np.concatenate([places[step - 1 :: step] for places in sequences(branches, int(ends[3]))])
    return _Trial(row, places_K, step, (0, length), (int(ends[1]), int(ends[2])))


def _logits(model: Any, trial: _Trial, tokens: TokenArray) -> Tensor:
    """Of the row with these tokens, at the places looked at: [K, V]."""
    row = trial.row
    tokens = tokens % model.config.get_text_config().vocab_size
    changed = Row(tokens, row.loss_weights, row.positions, row.segments, row.branches, row.conversation_ids)
    tensors = row_tensors(changed, model)
    return forward(model, tensors, torch.from_numpy(trial.places_K).to(tensors.tokens_1T.device))


def _prove_apart(model: Any, trial: _Trial, before_KV: Tensor, span: tuple[int, int], what: str) -> None:
    first, last = span
    tokens = trial.row.tokens.copy()
    tokens[first:last] += 7
    after_KV = _logits(model, trial, tokens)
    outside_K = torch.from_numpy((trial.places_K < first) | (trial.places_K >= last)).to(before_KV.device)
    before, after = before_KV[outside_K], after_KV[outside_K]
    is_equal = _distance(before, after) <= _rounding(before) if _rounds_together(model) else torch.equal(before, after)
    if not is_equal:
        raise TrainError(
            f"{type(model).__name__}: {what} see each other in this architecture, so training it "
            "would be wrong; it is not supported yet"
        )


def _prove_equal(model: Any, trial: _Trial, ours_KV: Tensor) -> None:
    row = trial.row
    tokens = row.tokens % model.config.get_text_config().vocab_size
    tokens_3N = np.stack([tokens[places] for places in sequences(row.branches, row.num_tokens)])
    kept = torch.arange(trial.step - 1, tokens_3N.shape[1], trial.step, device=ours_KV.device)
    attention = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        alone = model(
            input_ids=torch.from_numpy(tokens_3N).long().to(ours_KV.device), logits_to_keep=kept, use_cache=False
        )
    finally:
        model.set_attn_implementation(attention)
    distance = _distance(ours_KV, alone.logits.flatten(0, 1))
    # Two ways to round differ by a few digits, a missing bias, window or cap by much more.
    if not distance <= (1e-3 if ours_KV.dtype == torch.float32 else 0.1):
        raise TrainError(
            f"{type(model).__name__}: the logits of packed conversations differ by {distance:.1%} from those of "
            "transformers' own attention, so training it would be wrong; it is not supported yet"
        )


def _distance(one_KV: Tensor, other_KV: Tensor) -> float:
    """How far the logits of the middle one of the places are apart, as a share of their size; a single token that
    an expert router sends elsewhere by a rounding error does not count."""
    one_KV, other_KV = one_KV.float(), other_KV.float()
    return float(((one_KV - other_KV).norm(dim=-1) / one_KV.norm(dim=-1)).median())


def _rounding(logits_KV: Tensor) -> float:
    return 8 * torch.finfo(logits_KV.dtype).eps


def _rounds_together(model: Any) -> bool:
    """Whether a token's rounding depends on other tokens: an expert's products are rounded by how many tokens come to
    it, and 8-bit products set aside the same large features for all tokens of a row."""
    is_quantized = getattr(model.config, "quantization_config", None) is not None
    return is_quantized or any(getattr(model.config.get_text_config(), name, None) for name in _EXPERT_COUNTS)
