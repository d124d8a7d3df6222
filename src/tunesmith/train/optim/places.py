"""Where a weight stands in the model, read off the model's structure: embeddings, layer 0 to N - 1, head."""

import re
from typing import Any, NamedTuple

import torch

from tunesmith.errors import TrainError
from tunesmith.train.config import OptimizerConfig

_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")


class Trained(NamedTuple):
    """A weight that is trained, and how."""

    name: str
    parameter: torch.nn.Parameter
    scale: float
    """Its learning rate, as a share of the schedule's."""

    weight_decay: float
    is_hidden_matrix: bool
    """Whether it is a matrix inside a layer, neither embedding nor head."""


def trained_weights(model: Any, config: OptimizerConfig) -> list[Trained]:
    """The weights of `model` that require gradients, in its own order.

    Raises TrainError where the config asks for something that depends on layers and the model has none.
    """
    names = [name for name, _ in model.named_parameters()]
    num_layers = 1 + max((layer_of(name) for name in names), default=-1)
    needing = [what for what, asked in _layer_needs(config).items() if asked]
    if needing and num_layers == 0:
        raise TrainError(
            f"{' and '.join(needing)} must know the layers of the model, and no weight of {type(model).__name__} "
            f'has ".layers.N.", ".h.N." or ".blocks.N." in its name (the first is {names[0] if names else "missing"}); '
            'set optimizer.layer_decay = 1 and another optimizer.kind than "muon"'
        )
    embeddings = _embedding_names(model)
    return [
        _placed(name, parameter, config, num_layers, name in embeddings)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    ]


def _layer_needs(config: OptimizerConfig) -> dict[str, bool]:
    return {"optimizer.layer_decay": config.layer_decay != 1, 'optimizer.kind = "muon"': config.kind == "muon"}


def _placed(
    name: str, parameter: torch.nn.Parameter, config: OptimizerConfig, num_layers: int, is_embedding: bool
) -> Trained:
    layer = layer_of(name)
    above = num_layers + 1 if is_embedding else num_layers - layer if layer >= 0 else 0
    # Norms and biases are scales and offsets, not weights to be kept small.
    decay = config.weight_decay if parameter.ndim > 1 else 0.0
    is_hidden_matrix = layer >= 0 and parameter.ndim == 2 and not is_embedding
    return Trained(name, parameter, config.layer_decay**above, decay, is_hidden_matrix)


def layer_of(name: str) -> int:
    """The number of the layer that a weight belongs to, from 0 at the bottom; -1 outside the layers."""
    found = _LAYER.search(name)
    return int(found[1]) if found else -1


def _embedding_names(model: Any) -> set[str]:
    """The weights of embeddings, adapters on them included; a head that is tied to one counts as the embedding."""
    tables = [
        name.removesuffix(".base_layer") + "."
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Embedding)
    ]
    return {name for name, _ in model.named_parameters() if any(name.startswith(table) for table in tables)}
