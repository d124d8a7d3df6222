"""From the hidden states at trained places to their losses, a chunk of places at a time.

A vocabulary is wide: the logits of a row are larger than all else that training it holds. So the model's forward
pass ends before its head, and the head's product, the loss and both gradients are taken for a few hundred places at
once (as fused linear cross-entropy does: Liger Kernel, Hsu et al. 2024), with the model's own modules and any loss
that is a sum over places. What the model does with the product (soft-capping, scaling) is found by trying what its
config names, and proven on the model itself before the first step.

Shapes: S trained places, C places of a chunk or of a slice of it, V vocabulary, D width.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tunesmith.train.forward import RowTensors, forward, row_tensors
from tunesmith.train.kernels.native import Native
from tunesmith.train.loss import token_log_probs
from tunesmith.types import LINEAR, Row

Rule = Callable[[Tensor], Tensor]
"""What a model's forward pass does with the product of its head."""


def _nothing(tensor: Tensor) -> Tensor:
    return tensor


_SCALES = ("logits_scaling", "logit_scale", "lm_head_multiplier", "output_multiplier")
_CAPS = ("final_logit_softcapping", "logits_soft_cap")
_PROVEN_UP_TO = 300.0  # soft-capping shows only in logits that are large
# On a CPU the loss of a chunk is taken in slices whose float32 logits stay in the cache: four times faster, measured.
_SLICE_NUMBERS = 2**22


class ChunkLoss(NamedTuple):
    """The loss of the places of a chunk."""

    total: Tensor
    """What training makes smaller, summed over the places: a number with its graph."""

    plain_C: Tensor
    """-log p(target) of each place, whatever the loss: [C]."""


LossOfChunk = Callable[[Tensor, slice], ChunkLoss]
"""The loss of logits [C, V], which are those of the places that the slice names; a sum over places."""


@dataclass(frozen=True, slots=True)
class Head:
    """How a model's head is called: by itself where that is proven to give the model's own logits."""

    chunk_tokens: int = 512

    rule: Rule | None = None
    """What makes the product of the model's output embeddings its logits; None where only the whole model can, which
    takes more memory."""

    native: Native | None = None
    """Kernels for the loss of a chunk, where there are any."""

    @property
    def kind(self) -> str:
        """`chunked` or `whole`, as the metrics say."""
        return "whole" if self.rule is None else "chunked"

    def loss(self, model: Any, tensors: RowTensors, loss: LossOfChunk) -> ChunkLoss:
        """The loss at all trained places of a row, with no more than `chunk_tokens` logits at a time."""
        hidden_SD, logits_of = self.before_and_after(model, tensors)
        return chunked_loss(hidden_SD, logits_of, loss, self.chunk_tokens)

    def log_probs(self, model: Any, tensors: RowTensors) -> Tensor:
        """log p of each trained token of a row, in nats, with its graph: [S].

        For losses that are no sum over places. Going backward, the logits of each chunk are computed again.
        """
        hidden_SD, logits_of = self.before_and_after(model, tensors)

        def chosen(piece_CD: Tensor, targets_C: Tensor) -> Tensor:
            return token_log_probs(logits_of(piece_CD), targets_C)

        return torch.cat(
            [
                checkpoint(chosen, hidden_SD[chunk], tensors.targets_S[chunk], use_reentrant=False)
                for chunk in _even(len(hidden_SD), self.chunk_tokens)
            ]
        )

    def before_and_after(self, model: Any, tensors: RowTensors) -> tuple[Tensor, Rule]:
        """The hidden states before the head, and the head; or the logits, and nothing."""
        if self.rule is None:
            return forward(model, tensors, tensors.places_S), _nothing
        module, rule = model.get_output_embeddings(), self.rule
        with _fed(module, lambda hidden_1SD: hidden_1SD[:, :1]) as found:
            forward(model, tensors, tensors.places_S)
        return found[0][0], lambda hidden_CD: rule(module(hidden_CD[None]).squeeze(0))


def chunked_loss(
    hidden_SD: Tensor, logits_of: Callable[[Tensor], Tensor], loss: LossOfChunk, chunk_tokens: int
) -> ChunkLoss:
    """The loss at all S places. Gradients are taken at once, a chunk after the other, and wait for `backward`.

    They reach the hidden states and every weight that `logits_of` uses. Those of several chunks are added up in
    float32 or finer.
    """
    totals, plain = [], []
    known = _Known(hidden_SD)
    for chunk in _even(len(hidden_SD), chunk_tokens):
        piece_CD = hidden_SD[chunk].detach().requires_grad_(torch.is_grad_enabled() and hidden_SD.requires_grad)
        logits_CV = logits_of(piece_CD)
        value, gradient_CV = _loss_and_gradient(logits_CV, loss, chunk.start)
        totals.append(value.total)
        plain.append(value.plain_C)
        if gradient_CV is not None:
            known.add(piece_CD, logits_CV, gradient_CV)
    return ChunkLoss(known.attached_to(torch.stack(totals).sum()), torch.cat(plain))


class _Known:
    """Gradients that are known before `backward` is called: of the hidden states, and of what the head is made of."""

    def __init__(self, hidden_SD: Tensor) -> None:
        self.hidden_SD = hidden_SD
        self.of_hidden: list[Tensor] = []
        self.leaves: list[Tensor] | None = None
        self.of_leaves: list[Tensor] = []

    def add(self, piece_CD: Tensor, logits_CV: Tensor, gradient_CV: Tensor) -> None:
        """Go back from the logits of one chunk."""
        if self.leaves is None:
            self.leaves = [leaf for leaf in _leaves_of(logits_CV) if leaf is not piece_CD]
        inputs = [piece_CD, *self.leaves] if piece_CD.requires_grad else self.leaves
        found = list(torch.autograd.grad(logits_CV, inputs, gradient_CV))
        if piece_CD.requires_grad:
            self.of_hidden.append(found.pop(0))
        if self.of_leaves:
            found = [_fine(one).add_(other) for one, other in zip(self.of_leaves, found, strict=True)]
        self.of_leaves = found

    def attached_to(self, total: Tensor) -> Tensor:
        """The number, from which `backward` goes on to what these gradients are of."""
        pairs = list(zip(self.leaves or [], self.of_leaves, strict=True))
        if self.of_hidden:
            pairs.append((self.hidden_SD, torch.cat(self.of_hidden)))
        if not pairs:
            return total
        attached: Tensor = _WithGradients.apply(  # type: ignore[no-untyped-call]
            total, [gradient for _, gradient in pairs], *(tensor for tensor, _ in pairs)
        )
        return attached


class _WithGradients(torch.autograd.Function):
    """A number as it is; going backward, the given gradients times what comes from above."""

    @staticmethod
    def forward(context: Any, total: Tensor, gradients: list[Tensor], *tensors: Tensor) -> Tensor:
        context.gradients = gradients
        context.formats = [each.dtype for each in tensors]
        return total.clone()

    @staticmethod
    def backward(context: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        pairs = zip(context.gradients, context.formats, strict=True)
        return None, None, *((above[0] * gradient).to(dtype) for gradient, dtype in pairs)


def _loss_and_gradient(logits_CV: Tensor, loss: LossOfChunk, start: int) -> tuple[ChunkLoss, Tensor | None]:
    """The loss of a chunk that begins at place `start`, detached, and its gradient by the logits: [C, V]."""
    num_places, width = logits_CV.shape
    size = max(1, _SLICE_NUMBERS // width) if logits_CV.device.type == "cpu" else num_places
    gradient_CV = torch.empty_like(logits_CV) if logits_CV.requires_grad else None
    totals, plain = [], []
    for part in _even(num_places, size):
        piece_CV = logits_CV[part].detach().requires_grad_(gradient_CV is not None)
        value = loss(piece_CV, slice(start + part.start, start + part.stop))
        if gradient_CV is not None:
            gradient_CV[part] = torch.autograd.grad(value.total, piece_CV)[0]
        totals.append(value.total.detach())
        plain.append(value.plain_C.detach())
    return ChunkLoss(torch.stack(totals).sum(), torch.cat(plain)), gradient_CV


def _even(total: int, largest: int) -> list[slice]:
    """As few slices of at most `largest` as cover `total`, of nearly equal size."""
    num = -(-total // largest)
    edges = [total * index // num for index in range(num + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _leaves_of(tensor: Tensor) -> list[Tensor]:
    """The tensors whose gradients a backward pass from `tensor` would fill, wherever the head keeps them."""
    leaves: list[Tensor] = []
    seen, waiting = set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves.append(node.variable)
        waiting += [before for before, _ in node.next_functions]
    return leaves


def _fine(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


@contextmanager
def _fed(module: torch.nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[list[Tensor]]:
    """The inputs that the model has for `module`, which gets them changed."""
    found: list[Tensor] = []

    def note(_: torch.nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        found.append(arguments[0])
        return (change(arguments[0]), *arguments[1:])

    handle = module.register_forward_pre_hook(note)
    try:
        yield found
    finally:
        handle.remove()


@torch.no_grad()
def find_head(model: Any, chunk_tokens: int, native: Native | None = None) -> Head:
    """The model's head with the rule that gives the model's own logits of a few tokens, to rounding.

    Tried with the hidden states as they are, and scaled up until the largest product is in the hundreds. Where no
    combination of the config's fields gives them, or the model does not call its head once with what is kept, the
    head stays a part of the model.
    """
    was_training = model.training
    try:
        return _find_head(model.eval(), _a_few_tokens(model), Head(chunk_tokens, native=native))
    finally:
        model.train(was_training)


def _a_few_tokens(model: Any) -> RowTensors:
    """The tensors of one conversation of eight tokens from all over the vocabulary, all trained but the first."""
    places = np.arange(8, dtype=np.int32)
    tokens = (places * (model.get_input_embeddings().weight.shape[0] // 8)).astype(np.int32)
    weights = (places > 0).astype(np.float32)
    return row_tensors(Row(tokens, weights, places, np.zeros(8, np.int32), LINEAR, ("a few tokens",)), model)


def _find_head(model: Any, tensors: RowTensors, whole: Head) -> Head:
    module = model.get_output_embeddings()
    if module is None:
        return whole
    with _fed(module, _nothing) as found:
        natural_SV = forward(model, tensors, tensors.places_S)
    if len(found) != 1 or found[0].shape[:2] != (1, tensors.places_S.numel()):
        return whole
    product_SV = module(found[0])[0]
    scale = _PROVEN_UP_TO / float(product_SV.abs().max())
    with _fed(module, lambda hidden_1SD: hidden_1SD * scale):
        large_SV = forward(model, tensors, tensors.places_S)
    pairs = [(product_SV, natural_SV), (module(found[0] * scale)[0], large_SV)]
    off, rule = min(((_largest_error(rule, pairs), rule) for rule in _rules(model.config)), key=lambda pair: pair[0])
    return replace(whole, rule=rule) if off <= 1.0 else whole


def _largest_error(rule: Rule, pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    """How far the rule is off, in units of what rounding explains."""
    errors = []
    for product_SV, logits_SV in pairs:
        rounding = 2 * torch.finfo(product_SV.dtype).eps * float(logits_SV.abs().max())
        errors.append(float((rule(product_SV) - logits_SV).abs().max()) / rounding)
    return max(errors)


def _rules(config: Any) -> Iterator[Rule]:
    """Nothing, scaling, soft-capping, or soft-capping what was scaled, with the numbers that the config names.

    The same field multiplies in one family and divides in another, so both are tried.
    """
    config = config.get_text_config()
    scales = [float(getattr(config, name)) for name in _SCALES if getattr(config, name, None)]
    caps = [float(getattr(config, name)) for name in _CAPS if getattr(config, name, None)]
    scalings: list[Rule] = [_nothing]
    scalings += [partial(operation, other=each) for operation in (torch.mul, torch.div) for each in scales]
    for scaling in scalings:
        yield scaling
        yield from (partial(_capped, scaling=scaling, cap=cap) for cap in caps)


def _capped(product_CV: Tensor, scaling: Rule, cap: float) -> Tensor:
    return torch.tanh(scaling(product_CV) / cap) * cap
