"""The optimizer of a training: gradients in float32, clipping, the step, and everything that resuming needs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from tunesmith.errors import TrainError
from tunesmith.train.config import OptimizerConfig
from tunesmith.train.kernels.native import Native
from tunesmith.train.optim.kinds import averaged
from tunesmith.train.optim.places import Trained, trained_weights
from tunesmith.train.optim.precision import Keeper, Masters, StochasticRounding
from tunesmith.train.parallel.shard import whole

_COUNTERS = ("k", "weight_sum", "lr_max")  # what schedulefree keeps in its groups rather than for each weight


class Optimizer:
    """Moves the trained weights of a model. N weights, in the model's own order."""

    def __init__(
        self, trained: Sequence[Trained], config: OptimizerConfig, seed: int = 0, native: Native | None = None
    ) -> None:
        """`native` adds gradients up, where there are kernels."""
        self.names = [each.name for each in trained]
        self.parameters = [each.parameter for each in trained]
        self._config = config
        self.native = native
        self._gradients: list[Tensor | None] = [None] * len(trained)
        self._num_steps = 0
        self._keeper: Keeper = (
            Masters(trained, config) if config.precision == "masters" else StochasticRounding(trained, config, seed)
        )

    def collect_gradients(self) -> None:
        """Add the model's gradients to the step's, in float32, and clear them: call after each micro-batch.

        The step's gradients exist from its first micro-batch to its end only, and become float32 when there is a
        second one to add. Those of float32 weights are left where they are: autograd adds them up in place.
        """
        for index, parameter in enumerate(self.parameters):
            if parameter.grad is None or parameter.dtype == torch.float32:
                continue
            fresh, parameter.grad = parameter.grad, None
            gathered = self._gradients[index]
            if gathered is None:
                self._gradients[index] = fresh
            else:
                self._gradients[index] = self._sum(gathered, fresh)

    def _sum(self, gathered: Tensor, fresh: Tensor) -> Tensor:
        """Both, in float32; into `gathered` where it is float32 already."""
        total = gathered.float()
        if self.native is not None and fresh.dtype == torch.bfloat16 and total.is_contiguous():
            self.native.add_narrow(total, fresh.contiguous())
        else:
            total += fresh
        return total

    @torch.no_grad()
    def step(self, learning_rate: float) -> float:
        """Clip, move the weights, clear; returns the gradient norm before clipping.

        Where the norm is not a finite number, no weight moves. A weight without a gradient stays as it is.
        """
        gradients = self._take_gradients()
        found = [gradient for gradient in gradients if gradient is not None]
        norm = float(whole(torch.nn.utils.get_total_norm(found)))
        shrink = self._config.clip_norm / (norm + 1e-6)
        if shrink < 1:
            torch._foreach_mul_(found, shrink)
        del found
        if norm < float("inf"):
            self._keeper.move(gradients, learning_rate, self._num_steps)
            self._num_steps += 1
        return norm

    def _take_gradients(self) -> list[Tensor | None]:
        """The gradients of the step, float32 [N], which belong to the caller now."""
        self.collect_gradients()
        taken = [None if each is None else each.float() for each in self._gradients]
        self._gradients = [None] * len(self.parameters)
        for index, parameter in enumerate(self.parameters):
            if parameter.grad is not None:
                taken[index], parameter.grad = parameter.grad, None
        return taken

    @torch.no_grad()
    def final_weights(self) -> dict[str, Tensor]:
        """The weights that are to be judged and kept, by name, in float32."""
        return {name: weight.float() for name, weight in zip(self.names, self._judged_weights(), strict=True)}

    @contextmanager
    def judged(self) -> Iterator[None]:
        """While this lasts, the model holds the weights that are to be judged; afterwards, to the last bit, those
        that learn. Only schedule_free tells the two apart."""
        if self._config.kind != "schedule_free":
            yield
            return
        learning = [parameter.detach().clone() for parameter in self.parameters]
        self._put(self._judged_weights())
        try:
            yield
        finally:
            self._put(learning)

    @torch.no_grad()
    def _put(self, weights: Sequence[Tensor]) -> None:
        for parameter, weight in zip(self.parameters, weights, strict=True):
            parameter.copy_(weight)

    def _judged_weights(self) -> list[Tensor]:
        keeper = self._keeper
        return [averaged(*pair, self._config) for pair in zip(keeper.weights, keeper.states, strict=True)]

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Begin with these weights, by name and in float32, rather than with those that the model was loaded with.

        A weight that is not among them stays as it is.
        """
        kept = zip(self.names, self._keeper.weights, strict=True)
        self._keeper.load([weights.get(name, weight) for name, weight in kept])

    def tensors(self) -> dict[str, Tensor]:
        """Everything that resuming needs, as named tensors: `weight/NAME` and each rule's own `KEY/NAME`."""
        named = {f"steps/{self._config.kind}": torch.tensor(self._num_steps)}
        for name, weight, state in zip(self.names, self._keeper.weights, self._keeper.states, strict=True):
            named[f"weight/{name}"] = weight
            for key, value in state.items():
                if isinstance(value, Tensor):
                    named[f"{key}/{name}"] = value
                else:
                    named[f"number.{key}/{name}"] = torch.tensor(value)
        for place, group in self._groups():
            named |= {f"group.{key}/{place}": _number(group[key]) for key in _COUNTERS if key in group}
        return named

    @torch.no_grad()
    def restore(self, named: dict[str, Tensor]) -> None:
        """The inverse of `tensors`. Raises TrainError where another kind of optimizer left them."""
        label = f"steps/{self._config.kind}"
        if label not in named:
            left = " and ".join(each.removeprefix("steps/") for each in named if each.startswith("steps/"))
            raise TrainError(
                f"the saved state is that of optimizer.kind = {left!r}, and this training has {self._config.kind!r}; "
                "set the same kind, or begin with a fresh optimizer"
            )
        self._num_steps = int(named[label])
        self._keeper.load([named[f"weight/{name}"] for name in self.names])
        found: dict[str, dict[str, Any]] = {name: {} for name in self.names}
        for label, tensor in named.items():
            key, _, name = label.partition("/")
            if name in found and key != "weight":
                number = key.startswith("number.")
                found[name][key.removeprefix("number.")] = tensor.item() if number else tensor
        for name, weight, state in zip(self.names, self._keeper.weights, self._keeper.states, strict=True):
            state.clear()
            state.update({key: _moved(value, weight.device) for key, value in found[name].items()})
        for place, group in self._groups():
            for key in _COUNTERS:
                if key in group:
                    group[key] = type(group[key])(named[f"group.{key}/{place}"].item())

    def _groups(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, rule in enumerate(self._keeper.rules):
            for index, group in enumerate(rule.param_groups):
                yield f"{number}.{index}", group


def _number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def _moved(value: Any, device: torch.device) -> Any:
    return value.to(device, copy=True) if isinstance(value, Tensor) else value


def make_optimizer(model: Any, config: OptimizerConfig, seed: int = 0, native: Native | None = None) -> Optimizer:
    """The optimizer of the weights of `model` that require gradients; `seed` is for stochastic rounding, `native` for
    adding gradients up.

    Raises TrainError where the model or this machine cannot have what the config asks for.
    """
    return Optimizer(trained_weights(model, config), config, seed, native)
