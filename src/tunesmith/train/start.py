"""Going on from an earlier phase: its weights in float32, and its optimizer's moments where these are kept."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from tunesmith.errors import TrainError
from tunesmith.train import Start
from tunesmith.train.checkpoint import load_newest, random_states, restore_random_states
from tunesmith.train.optim import Optimizer


def lay_weights(start: Start, model: Any) -> None:
    """Give the model the weights of the phase before, as far as this one trains them, in the model's format.

    Raises TrainError where the phase before trained others.
    """
    if start.weights is None:
        return
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    for name, weight in trained_weights(start.weights, list(parameters)).items():
        parameters[name].data.copy_(weight)


def begin(start: Start, optimizer: Optimizer, base: Path) -> None:
    """Put what `start` names into the optimizer and the model, or the exact weights of the model's folder `base`.

    Raises TrainError where it does not fit.
    """
    if start.state is not None:
        drawn = random_states()
        saved = load_newest(start.state)
        restore_random_states(drawn)  # a phase draws by its own seed
        if saved is None or saved.damaged:
            raise TrainError(
                f"{start.state}: the optimizer state that the phase before left is missing or damaged; set the phase's "
                "optimizer = reset, or remove the folder of the phase before to train it again"
            )
        _check_names(start.state, optimizer.names, {name.removeprefix("weight/") for name in saved.tensors})
        optimizer.restore(saved.tensors)
    elif start.weights is not None:
        optimizer.load_weights(trained_weights(start.weights, optimizer.names))
    elif any(parameter.dtype != torch.float32 for parameter in optimizer.parameters):
        optimizer.load_weights(_exact_weights(base, optimizer))


def _exact_weights(base: Path, optimizer: Optimizer) -> dict[str, Tensor]:
    """The float32 weights of the model's files, which the model was rounded from when it was loaded.

    Those that the files hold under another name or in another shape, as transformers' fused experts, are left out.
    """
    shapes = {name: parameter.shape for name, parameter in zip(optimizer.names, optimizer.parameters, strict=True)}
    found: dict[str, Tensor] = {}
    for path in sorted(base.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in shapes.keys() & set(file.keys()):
                part = file.get_slice(name)
                if part.get_dtype() == "F32" and tuple(part.get_shape()) == tuple(shapes[name]):
                    found[name] = file.get_tensor(name)
    return found


def trained_weights(folder: Path, names: Sequence[str]) -> dict[str, Tensor]:
    """The weights `names` of a finished training, in float32, from its adapter or its whole model."""
    found: dict[str, Tensor] = {}
    # Adapter files leave out the adapter's name, which peft gives every weight of it.
    wanted = {name.replace(".default.", "."): name for name in names}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for key in wanted.keys() & set(file.keys()):
                found[wanted[key]] = file.get_tensor(key).float()
    _check_names(folder, names, found.keys())
    return found


def _check_names(folder: Path, names: Sequence[str], found: Collection[str]) -> None:
    missing = [name for name in names if name not in found]
    if missing:
        raise TrainError(
            f"{folder}: does not hold {len(missing)} of the weights that this phase trains, such as {missing[0]}; "
            "let both phases train the same weights"
        )
