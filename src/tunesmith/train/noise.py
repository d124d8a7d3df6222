"""Noise while training: NEFTune and its kin, the same for a token however conversations are laid out.

A token's noise is a pure function of (seed, conversation, epoch, layer, position): a counter-based generator (Philox,
Salmon et al. 2011), keyed by the first four, is read from its beginning in order of position. So rows, micro-batches,
shared prefixes and resumption change nothing, and recomputed activations see what they saw before.

Shapes: T tokens of a row, D width.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tunesmith.errors import TrainError
from tunesmith.train.config import NoiseConfig
from tunesmith.types import Row

FloatArray = NDArray[np.float32]


@contextmanager
def noisy(model: Any, row: Row, config: NoiseConfig, seed: int, done: float) -> Iterator[None]:
    """While this lasts, the row's passes through the model that keep a graph are noisy, their recomputation included;
    passes under `torch.no_grad` are not.

    `done` is the share of the training's steps that lie behind, from 0 up to 1.
    """
    with ExitStack() as hooks:
        if config.kind != "none":
            hold = share_of_steps(config, done)
            if config.where == "embeddings":
                hooks.callback(_disturb_embeddings(model, row, config, seed, hold).remove)
            else:
                layers = _layers(model)
                for number, layer in enumerate(layers):
                    share = hold * share_of_layer(config, number, len(layers))
                    hooks.callback(_disturb_layer(layer, number, row, config, seed, share).remove)
        yield


def share_of_steps(config: NoiseConfig, done: float) -> float:
    """What is left of the noise after this share of the steps."""
    return {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[config.over_steps]


def share_of_layer(config: NoiseConfig, number: int, num_layers: int) -> float:
    """The noise of layer `number` (from 0) as a share: falling from 1 at the first, or rising to 1 at the last."""
    shares = {"constant": 1.0, "falling": 1 - number / num_layers, "rising": (number + 1) / num_layers}
    return shares[config.over_layers]


def row_noise(row: Row, width: int, config: NoiseConfig, seed: int, layer: int | None) -> FloatArray:
    """The noise of a row's tokens at full strength, float32 [T, D]; `layer` None stands for the embeddings.

    Uniform in [-1, 1], or Gaussian of the same variance, times alpha / sqrt(length x D), where length is that of the
    longest sequence of the token's own conversation (Jain et al. 2023).
    """
    noise_TD = np.empty((row.num_tokens, width), np.float32)
    edges = np.searchsorted(row.segments, np.arange(len(row.conversation_ids) + 1))
    facts = zip(row.conversation_ids, row.epochs, row.longest, edges[:-1], edges[1:], strict=True)
    for identifier, epoch, longest, start, end in facts:
        positions = row.positions[start:end]
        drawn = _draw(config.kind, _key(seed, identifier, epoch, layer), (int(positions.max()) + 1) * width)
        drawn *= np.float32(config.alpha / math.sqrt(longest * width))
        np.take(drawn.reshape(-1, width), positions, axis=0, out=noise_TD[start:end])
    return noise_TD


def _key(seed: int, conversation: str, epoch: int, layer: int | None) -> int:
    named = json.dumps([seed, conversation, epoch, layer]).encode()
    return int.from_bytes(hashlib.blake2b(named, digest_size=16).digest(), "little")


def _draw(kind: str, key: int, count: int) -> FloatArray:
    """The first `count` numbers of the generator with this key; of variance 1/3, whatever the kind.

    Made from raw bits, of which Philox is defined, so that no release of a library can change them.
    """
    words = np.random.Philox(key=key).random_raw(-(-count // 2)).astype("<u8", copy=False).view("<u4")
    unit = (words >> 8).astype(np.float32)
    unit *= np.float32(2.0**-24)  # in [0, 1)
    if kind == "uniform":
        unit *= 2
        unit -= 1
        return unit[:count]
    # Box and Muller 1958: two uniform numbers become two Gaussian ones.
    lengths = np.sqrt(np.log1p(-unit[::2]) * np.float32(-2 / 3))
    angles = unit[1::2] * np.float32(2 * math.pi)
    return np.stack([lengths * np.cos(angles), lengths * np.sin(angles)], axis=1).reshape(-1)[:count]


def _disturbed(states_1TD: Tensor, row: Row, config: NoiseConfig, seed: int, layer: int | None, share: float) -> Tensor:
    if not torch.is_grad_enabled():
        return states_1TD
    if states_1TD.shape[:2] != (1, row.num_tokens):
        raise TrainError(
            f"noise is made for a row of {row.num_tokens} tokens, but states of the shape {tuple(states_1TD.shape)} "
            "pass through the model; set train.noise.kind = none"
        )
    noise_TD = torch.from_numpy(row_noise(row, states_1TD.shape[-1], config, seed, layer))
    return states_1TD + (share * noise_TD).to(states_1TD)


def _disturb_embeddings(model: Any, row: Row, config: NoiseConfig, seed: int, share: float) -> Any:
    def add(module: torch.nn.Module, arguments: Any, embedded_1TD: Tensor) -> Tensor:
        return _disturbed(embedded_1TD, row, config, seed, None, share)

    return model.get_input_embeddings().register_forward_hook(add)


def _disturb_layer(layer: Any, number: int, row: Row, config: NoiseConfig, seed: int, share: float) -> Any:
    def add(module: torch.nn.Module, arguments: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if arguments:
            return (_disturbed(arguments[0], row, config, seed, number, share), *arguments[1:]), options
        states_1TD = _disturbed(options["hidden_states"], row, config, seed, number, share)
        return arguments, {**options, "hidden_states": states_1TD}

    return layer.register_forward_pre_hook(add, with_kwargs=True)


def _layers(model: Any) -> torch.nn.ModuleList:
    """The model's decoder layers, in order."""
    expected = model.config.get_text_config().num_hidden_layers
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == expected:
            return module
    raise TrainError(
        f"{type(model).__name__}: its {expected} layers were not found as one list, so there is no place for noise at "
        "them; set train.noise.where = embeddings"
    )
