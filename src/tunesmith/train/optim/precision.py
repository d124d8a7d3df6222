"""How bfloat16 weights take updates that are smaller than the distance to their neighbors.

bfloat16 has 8 significant bits: beside a weight of 0.02 the next one is 1e-4 away, and an update of 1e-6 rounds to
nothing. *Masters* are float32 copies that steps are taken in (mixed-precision training, Micikevicius et al. 2017).
*Stochastic rounding* keeps no copy: each step is taken in float32 and rounded up with the probability of the part
that is cut off, so that updates arrive on average (Zamirai et al. 2020, "Revisiting bfloat16 training").

float32 weights need neither, and are moved in place.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from tunesmith.errors import TrainError
from tunesmith.train.config import OptimizerConfig
from tunesmith.train.optim.kinds import make_rules, set_rate
from tunesmith.train.optim.places import Trained
from tunesmith.train.parallel.shard import sharded_like

Gradients = Sequence[Tensor | None]


class Keeper(Protocol):
    """Keeps the exact weights and what the update rules know of each. N weights, in the order of `Trained`."""

    rules: list[torch.optim.Optimizer]
    weights: list[Tensor]
    """The exact weights: what is saved."""

    states: list[dict[str, Any]]
    """What the rules remember of each weight: the very dictionaries that they use."""

    def move(self, gradients: list[Tensor | None], learning_rate: float, number: int) -> None:
        """Step `number`: move the exact weights and the model's. Takes the gradients (float32) out of the list."""

    def load(self, weights: Sequence[Tensor]) -> None:
        """Put exact weights into the keeper and the model."""


class Masters:
    """float32 copies of the weights; a float32 weight is its own."""

    def __init__(self, trained: Sequence[Trained], config: OptimizerConfig) -> None:
        self._parameters = [each.parameter for each in trained]
        self.weights = [parameter.detach().float() for parameter in self._parameters]  # float() of float32 is no copy
        self.rules = make_rules(config, list(zip(self.weights, trained, strict=True)))
        self.states = [_state(self.rules, weight) for weight in self.weights]

    def move(self, gradients: list[Tensor | None], learning_rate: float, number: int) -> None:
        for weight, gradient in zip(self.weights, gradients, strict=True):
            weight.grad = gradient
        for rule in self.rules:
            set_rate(rule, learning_rate)
            rule.step()
        for index, weight in enumerate(self.weights):
            weight.grad = gradients[index] = None
        self._round_into_model()

    def load(self, weights: Sequence[Tensor]) -> None:
        for weight, given in zip(self.weights, weights, strict=True):
            weight.copy_(sharded_like(given, weight))
        self._round_into_model()

    @torch.no_grad()
    def _round_into_model(self) -> None:
        coarse = [pair for pair in zip(self._parameters, self.weights, strict=True) if pair[0].dtype != torch.float32]
        if coarse:
            torch._foreach_copy_([parameter for parameter, _ in coarse], [weight for _, weight in coarse])


class StochasticRounding:
    """No copy: one weight after the other is widened to float32, moved, and rounded by chance.

    The chance of step s comes from a generator seeded with (seed, s), so that a resumed run draws the same.
    """

    def __init__(self, trained: Sequence[Trained], config: OptimizerConfig, seed: int) -> None:
        self._seed = seed
        self.weights = [each.parameter.detach() for each in trained]
        for each, weight in zip(trained, self.weights, strict=True):
            if weight.dtype not in (torch.bfloat16, torch.float32):
                raise TrainError(
                    f'optimizer.precision = "stochastic_rounding" rounds to bfloat16, and {each.name} is '
                    f'{str(weight.dtype).removeprefix("torch.")}; set model.dtype = "bfloat16" or precision = "masters"'
                )
        self._wide, self._rules_of = [], []
        for each, weight in zip(trained, self.weights, strict=True):
            wide = weight.float().detach()  # the name under which the rule remembers the weight; emptied between steps
            self._rules_of.append(make_rules(config, [(wide, each)]))
            self._wide.append(wide)
            wide.data = wide.new_empty(0)
        self.rules = [rule for rules in self._rules_of for rule in rules]
        self.states = [_state(rules, wide) for rules, wide in zip(self._rules_of, self._wide, strict=True)]

    def move(self, gradients: list[Tensor | None], learning_rate: float, number: int) -> None:
        generator = _generator(self._seed, number, self.weights[0].device)
        for index, (weight, wide) in enumerate(zip(self.weights, self._wide, strict=True)):
            wide.data = weight.float()
            wide.grad, gradients[index] = gradients[index], None
            for rule in self._rules_of[index]:
                set_rate(rule, learning_rate)
                rule.step()
            wide.grad = None
            if weight.dtype == torch.bfloat16:
                weight.copy_(round_stochastically(wide, generator))
            wide.data = wide.new_empty(0)

    def load(self, weights: Sequence[Tensor]) -> None:
        for weight, given in zip(self.weights, weights, strict=True):
            weight.copy_(given)


def round_stochastically(wide: Tensor, generator: torch.Generator) -> Tensor:
    """float32 to bfloat16, up with the probability of the part that is cut off, so that the mean is kept.

    bfloat16 is the upper half of float32's bits: a random number below 2^16 is added to the lower half, and what
    carries over is the rounding. Values that bfloat16 has stay as they are.
    """
    bits = wide.contiguous().view(torch.int32)
    chance = torch.randint(0, 1 << 16, wide.shape, generator=generator, device=wide.device, dtype=torch.int32)
    return chance.add_(bits).bitwise_and_(-(1 << 16)).view(torch.float32).to(torch.bfloat16)


def _generator(seed: int, number: int, device: torch.device) -> torch.Generator:
    (mixed,) = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(mixed) >> 1)


def _state(rules: Sequence[torch.optim.Optimizer], weight: Tensor) -> dict[str, Any]:
    """The dictionary in which the rule that moves `weight` remembers it, made if need be."""
    for rule in rules:
        if any(weight is each for group in rule.param_groups for each in group["params"]):
            state: dict[str, Any] = rule.state[weight]
            return state
    raise AssertionError("each weight has a rule")
