"""How many floating-point operations a training step is worth: the count behind `matmul_share`.

The convention of PaLM (Chowdhery et al. 2022, appendix B), which others count by as well: two operations for each
weight of a matrix and each token forward, twice as many backward. Counted is what the mathematics asks for: tokens
without padding, the output matrix on supervised tokens alone, attention on what a token really sees. Work done beyond
that (recomputed activations, padded blocks, logits that nobody needs) earns nothing. Norms, activations, softmax, the
optimizer, and the scan of linear attention are left out; they are small or are no matrix products.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

FORWARD, TO_INPUTS, TO_WEIGHTS = 2, 2, 2
"""Operations for each weight and token: the output, the gradient to the inputs, the gradient to the weights."""


class TrainingFlops(NamedTuple):
    """Operations of one forward and backward pass, each for its own unit."""

    a_token: float
    """For each token that passes through the model: the matrices of its blocks."""

    a_supervised: float
    """For each supervised token: the output matrix."""

    a_seen: float
    """For each pair of a token and one that it sees, itself included: attention in all layers."""

    def of(self, num_tokens: int, num_supervised: int, num_seen: int) -> float:
        """The operations of a step."""
        return self.a_token * num_tokens + self.a_supervised * num_supervised + self.a_seen * num_seen


def training_flops(model: Any) -> TrainingFlops:
    """Count a model as it stands: a trained matrix costs 6 operations a weight, a frozen one 4.

    A frozen matrix saves the gradient to its weights and still passes on the one to its inputs (LoRA); below the
    lowest trained weight not even that, which this count does not take off. Of a mixture's experts those count that
    a token goes to.
    """
    config = model.config.get_text_config()
    head = model.get_output_embeddings()
    body = sum(_cost(weight) * size for weight, size in _matrices(model, head, _active_share(config)))
    head_cost = 0.0 if head is None else float(_cost(head.weight) * _size(head, "weight", head.weight))
    width = config.num_attention_heads * _head_width(config)
    # Scores and their sum over values, each 2 x width; backward each has two inputs, so twice that.
    attention = (FORWARD + 2 * TO_INPUTS) * 2 * width * _num_attention_layers(config)
    return TrainingFlops(float(body), head_cost, float(attention))


def _matrices(model: nn.Module, head: nn.Module | None, active_share: float) -> Iterator[tuple[torch.Tensor, float]]:
    """Every matrix of the blocks, with how many of its weights a token meets."""
    for name, module in model.named_modules():
        if module is head or isinstance(module, nn.Embedding):
            continue
        for weight_name, weight in module.named_parameters(recurse=False):
            if weight.ndim >= 2:
                is_expert = "experts" in f"{name}.{weight_name}".split(".")
                yield weight, _size(module, weight_name, weight) * (active_share if is_expert else 1.0)


def _size(module: nn.Module, name: str, weight: torch.Tensor) -> int:
    """The number of weights; a quantized layer stores them in fewer elements, but knows its sizes."""
    if name == "weight" and isinstance(module, nn.Linear):
        return module.in_features * module.out_features
    return weight.numel()


def _cost(weight: torch.Tensor) -> int:
    return FORWARD + TO_INPUTS + TO_WEIGHTS * weight.requires_grad


def _active_share(config: Any) -> float:
    """Which share of the routed experts a token goes to; 1 in a model without."""
    chosen = getattr(config, "num_experts_per_tok", None)
    names = ("num_experts", "num_local_experts", "n_routed_experts")
    total = next((getattr(config, name) for name in names if getattr(config, name, None)), None)
    return chosen / total if chosen and total else 1.0


def _head_width(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _num_attention_layers(config: Any) -> int:
    """Layers in which every token looks at others; those of linear attention do not."""
    kinds = getattr(config, "layer_types", None)
    if not kinds:
        return int(config.num_hidden_layers)
    return sum(kind.endswith("_attention") and kind != "linear_attention" for kind in kinds)
