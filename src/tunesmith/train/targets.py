"""Which weights are trained: what patterns name, what stays frozen, where an adapter goes.

A pattern names a weight, or a part of the model with all its weights: `model.layers.0`, `q_proj`, `embed_tokens`,
`layers.*.mlp`. Wildcards are those of the shell (`*`, `?`, `[...]`), and the front of a name may be left out.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import accumulate
from typing import Any, NamedTuple

import torch

from tunesmith.errors import TrainError


class Targets(NamedTuple):
    """Where an adapter goes, by name."""

    layers: tuple[str, ...]
    """Linear layers."""

    experts: tuple[str, ...]
    """The matrices of a mixture's experts, which transformers keep stacked in one parameter."""


def is_named(name: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern names this weight, or a part of the model that holds it."""
    holders = list(accumulate(name.split("."), "{}.{}".format))
    return any(
        fnmatchcase(holder, front + pattern) for holder in holders for pattern in patterns for front in ("", "*.")
    )


def named_by(patterns: Sequence[str], names: Iterable[str], field: str) -> set[str]:
    """The names that the patterns name. Raises TrainError for a pattern that names none, with the nearest names."""
    every = list(dict.fromkeys(names))
    for pattern in patterns:
        if not any(is_named(name, [pattern]) for name in every):
            parts = {part for name in every for part in (name, *name.split(".")) if not part.isdigit()}
            nearest = get_close_matches(pattern, sorted(parts), n=3, cutoff=0.3) or every[:3]
            raise TrainError(f"{field}: {pattern!r} names no weight of this model; near it are {', '.join(nearest)}")
    return {name for name in every if is_named(name, patterns)}


def freeze(model: Any, patterns: Sequence[str]) -> None:
    """Let the weights that the patterns name stay as they are, under whichever of their names."""
    parameters = list(model.named_parameters(remove_duplicate=False))
    frozen = named_by(patterns, (name for name, _ in parameters), "train.freeze")
    for name, parameter in parameters:
        if name in frozen:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for _, parameter in parameters):
        raise TrainError(f"train.freeze: {', '.join(map(repr, patterns))} leave no weight to train")


def adapter_targets(model: Any, targets: str | Sequence[str], frozen: Sequence[str]) -> Targets:
    """The layers that an adapter changes: all linear ones but the head, or those that the patterns name.

    Experts that are stacked in one parameter take part only where a pattern names them.
    """
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    layers = {
        f"{name}.weight": name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
    }
    experts = {
        f"{name}.{own}": f"{name}.{own}"
        for name, module in model.named_modules()
        for own, parameter in module.named_parameters(recurse=False)
        if parameter.ndim == 3 and not isinstance(module, torch.nn.Conv1d)
    }
    chosen = (
        set(layers) if isinstance(targets, str) else named_by(targets, [*layers, *experts], "train.adapter.targets")
    )
    if frozen:
        chosen -= named_by(frozen, (name for name, _ in model.named_parameters()), "train.freeze")
    if not chosen:
        raise TrainError(f"train.freeze: {', '.join(map(repr, frozen))} leave no layer to the adapter")
    return Targets(
        tuple(layers[name] for name in layers if name in chosen),
        tuple(experts[name] for name in experts if name in chosen),
    )
