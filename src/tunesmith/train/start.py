"""Going on from an earlier phase: its weights in float32, and its optimizer's moments where these are kept."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from tunesmith.errors import TrainError
from tunesmith.train import Start
from tunesmith.train.checkpoint import load_newest, random_states, restore_random_states
from tunesmith.train.optim import Optimizer
from tunesmith.train.parallel.shard import is_sharded


def lay_weights(start: Start, model: Any) -> None:
    """Give the model the weights of the phase before, as far as this one trains them, in the model's format.

    Raises TrainError where the phase before trained others.
    """
    found = _trained_before(start, model)
    for name, parameter in model.named_parameters():
        if name in found:
            parameter.data.copy_(found[name])


def begin(start: Start, optimizer: Optimizer, model: Any) -> None:
    """Let the optimizer begin with the state that `start` names, else with the weights of the phase before, else with
    the exact weights of the model's folder.

    Raises TrainError where a state is not there, or belongs to other weights.
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
        optimizer.load_weights(_trained_before(start, model))
    elif any(parameter.dtype != torch.float32 or is_sharded(parameter) for parameter in optimizer.parameters):
        optimizer.load_weights(_exact_weights(Path(model.config._name_or_path), optimizer))


def _trained_before(start: Start, model: Any) -> dict[str, Tensor]:
    """The weights of the phase before that this one trains too, in float32, by name; none where there was none."""
    if start.weights is None:
        return {}
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    is_adapter = (start.weights / "adapter_config.json").is_file()
    found = _of_adapter(start.weights, model, names) if is_adapter else _of_model(start.weights, model)
    _check_names(start.weights, names, found)
    return {name: found[name] for name in names}


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


def _of_adapter(folder: Path, model: Any, names: Sequence[str]) -> dict[str, Tensor]:
    """The weights of a peft adapter, by their names in the model. peft itself says how it writes each name."""
    from peft import get_peft_model_state_dict

    numbers = {name: torch.tensor(number) for number, name in enumerate(names)}
    written = get_peft_model_state_dict(model, state_dict=numbers, save_embedding_layers=False)
    tensors = load_file(folder / "adapter_model.safetensors")
    return {names[int(number)]: tensors[key].float() for key, number in written.items() if key in tensors}


def _of_model(folder: Path, model: Any) -> dict[str, Tensor]:
    """The weights of a whole model. Its own class reads them, as files may spell and join weights in other ways."""
    whole = type(model).from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    return {name: parameter.detach() for name, parameter in whole.named_parameters()}


def _check_names(folder: Path, names: Sequence[str], found: Collection[str]) -> None:
    missing = [name for name in names if name not in found]
    if missing:
        raise TrainError(
            f"{folder}: does not hold {len(missing)} of the weights that this phase trains, such as {missing[0]}; "
            "let both phases train the same weights"
        )
