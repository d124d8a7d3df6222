"""How many weights a training has of each sort, before anything is loaded."""

from pathlib import Path
from typing import NamedTuple

import torch

from tunesmith.train import TrainConfig
from tunesmith.train.adapter import prepare
from tunesmith.train.optim.places import trained_weights
from tunesmith.train.targets import adapter_targets


class Sizes(NamedTuple):
    """Numbers of weights."""

    trained: int
    hidden: int
    """Of the trained ones, those in matrices inside the layers."""

    linear: int
    """Of the base model, those in linear layers but the head: what quantization makes small."""


def sizes(config: TrainConfig, folder: Path, trust_remote_code: bool = False) -> Sizes:
    """Counted on the model of a folder, prepared as for training, without memory for its weights.

    Raises ModelError where transformers does not know the model, TrainError where the config does not fit it.
    """
    from tunesmith.model.load import empty_model

    model = empty_model(folder, trust_remote_code)
    layers = set(adapter_targets(model, "all-linear", ()).layers)
    linear = sum(module.weight.numel() for name, module in model.named_modules() if name in layers)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        weights = trained_weights(prepare(model, config), config.optimizer)
    hidden = sum(each.parameter.numel() for each in weights if each.is_hidden_matrix)
    return Sizes(sum(each.parameter.numel() for each in weights), hidden, linear)
