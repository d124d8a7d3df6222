"""The model as it was before training, to compare the trained one with.

Under a new adapter it is still there: the same weights with the adapter switched off. Where weights themselves are
trained, or the adapter of an earlier phase, it is a frozen copy, which takes their memory a second time.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from tunesmith.train.forward import RowTensors
from tunesmith.train.head import Head


class Reference:
    """Make it before the first step, and before a checkpoint is restored."""

    def __init__(
        self,
        model: Any,
        head: Head | None = None,
        spread: Callable[[Any], Any] = lambda model: model,
        *,
        is_continued: bool = False,
    ) -> None:
        """`spread` shares a model out to the ranks: the copy, which must be made of one that is not sharded yet.
        `is_continued` says that an adapter, where there is one, holds what an earlier phase learned."""
        self._head = head or Head()
        is_adapted = hasattr(model, "disable_adapter") and not is_continued
        self._frozen = None if is_adapted else spread(copy.deepcopy(model).eval().requires_grad_(False))

    @torch.no_grad()
    def log_probs(self, model: Any, tensors: RowTensors) -> Tensor:
        """log p of each trained token of a row before training, in nats: [S]. `model` is the one in training."""
        if self._frozen is not None:
            return self._head.log_probs(self._frozen, tensors)
        with at_rest(model), model.disable_adapter():
            return self._head.log_probs(model, tensors)


@contextmanager
def at_rest(model: Any) -> Iterator[None]:
    """The model in evaluation mode: no dropout, and no random number drawn."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
