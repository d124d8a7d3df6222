"""The update rules, each from a library, over float32 weights."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tunesmith.errors import MissingExtra, TrainError
from tunesmith.train.config import OptimizerConfig
from tunesmith.train.optim.places import Trained

Weights = Sequence[tuple[Tensor, Trained]]


def make_rules(config: OptimizerConfig, weights: Weights) -> list[torch.optim.Optimizer]:
    """The libraries' optimizers that together move `weights`, each weight by one of them.

    A group's `scale` is what `set_rate` multiplies the learning rate by. Raises MissingExtra or TrainError where the
    kind is not to be had here.
    """
    return _KINDS[config.kind](config, weights) if weights else []


def set_rate(rule: torch.optim.Optimizer, learning_rate: float) -> None:
    """Give each group its share of the learning rate."""
    for group in rule.param_groups:
        group["lr"] = learning_rate * group["scale"]


def _groups(weights: Weights) -> list[dict[str, Any]]:
    """Weights of equal decay and scale together."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for weight, trained in weights:
        groups.setdefault((trained.weight_decay, trained.scale), []).append(weight)
    return [{"params": group, "weight_decay": decay, "scale": scale} for (decay, scale), group in groups.items()]


def _adamw(config: OptimizerConfig, weights: Weights) -> list[torch.optim.Optimizer]:
    betas = (config.beta1, config.beta2)
    return [torch.optim.AdamW(_groups(weights), lr=0.0, betas=betas, eps=config.epsilon, fused=True)]


def _adamw_8bit(config: OptimizerConfig, weights: Weights) -> list[torch.optim.Optimizer]:
    """AdamW with moments quantized to 8 bits in blocks (Dettmers et al. 2021), by bitsandbytes."""
    device = weights[0][0].device
    if device.type != "cuda":
        raise TrainError(
            f'optimizer.kind = "adamw_8bit" runs on CUDA only, through the extra tunesmith[adamw-8bit], and this '
            f'training runs on {device.type}; set optimizer.kind = "adamw"'
        )
    try:
        import bitsandbytes
    except ImportError as error:
        raise MissingExtra("bitsandbytes", "adamw-8bit", 'optimizer.kind = "adamw_8bit"') from error
    betas = (config.beta1, config.beta2)
    return [bitsandbytes.optim.AdamW8bit(_groups(weights), lr=0.0, betas=betas, eps=config.epsilon)]


def _muon(config: OptimizerConfig, weights: Weights) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the matrices of the layers, by torch: the running mean of the gradient, made
    orthogonal by five Newton-Schulz steps.

    Embeddings, head, one-dimensional weights, and the stacked experts of a mixture take AdamW. Muon's rate is scaled
    by 0.2 sqrt(max(rows, columns)), so that its updates have the size of AdamW's and one learning rate serves both
    (Liu et al. 2025, "Muon is scalable for LLM training").
    """
    matrices = [(weight, trained) for weight, trained in weights if trained.is_hidden_matrix]
    others = [(weight, trained) for weight, trained in weights if not trained.is_hidden_matrix]
    rules: list[torch.optim.Optimizer] = []
    if matrices:
        groups = _groups(matrices)
        rules.append(torch.optim.Muon(groups, lr=0.0, momentum=config.momentum, adjust_lr_fn="match_rms_adamw"))
    return rules + (_adamw(config, others) if others else [])


def _schedule_free(config: OptimizerConfig, weights: Weights) -> list[torch.optim.Optimizer]:
    """Schedule-free AdamW (Defazio et al. 2024), by schedulefree. The weights that learn are an interpolation, beta1
    of it the average that is to be judged and kept; see `averaged`."""
    try:
        import schedulefree
    except ImportError as error:
        raise MissingExtra("schedulefree", "schedule-free", 'optimizer.kind = "schedule_free"') from error
    betas = (config.beta1, config.beta2)
    rule = schedulefree.AdamWScheduleFree(_groups(weights), lr=0.0, betas=betas, eps=config.epsilon)
    rule.train()
    return [rule]


def averaged(weight: Tensor, state: dict[str, Any], config: OptimizerConfig) -> Tensor:
    """What is to be judged and kept of a weight: schedule_free's average, otherwise the weight itself.

    The same formula as `AdamWScheduleFree.eval()`, which would move the weight and, on the way back, not find it
    again to the last bit.
    """
    if config.kind != "schedule_free" or "z" not in state:
        return weight
    return torch.lerp(weight, state["z"], 1 - 1 / config.beta1)


_KINDS: dict[str, Callable[[OptimizerConfig, Weights], list[torch.optim.Optimizer]]] = {
    "adamw": _adamw,
    "adamw_8bit": _adamw_8bit,
    "muon": _muon,
    "schedule_free": _schedule_free,
}
