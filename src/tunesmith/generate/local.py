"""Generation on this machine, by a transformers model: in slots where that is proven right for it, else in batches.

Shapes: S supervised tokens.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch

from tunesmith.branches import split
from tunesmith.errors import EvaluateError
from tunesmith.generate import (
    Completion,
    Continuation,
    Likelihood,
    OnCompletion,
    OnLikelihoods,
    Prompt,
    Sampling,
    Shapes,
    Window,
)
from tunesmith.generate.choose import draw_key
from tunesmith.generate.engines import known_engine, local_mark, local_mode, prompt_tokens, remember_engine, stops_of
from tunesmith.generate.pricing import Pricer, losses
from tunesmith.generate.slots import Request, Written
from tunesmith.generate.writer import Writer
from tunesmith.render import Renderer
from tunesmith.types import Rendered


class LocalGenerator:
    """A model and its renderer, ready to answer. The model is loaded by `load` when it is first needed."""

    def __init__(
        self,
        load: Callable[[], Any],
        renderer: Renderer,
        digest: str,
        *,
        batch_prompts: int = 64,
        shapes: Shapes = "fixed",
        dtype: str = "auto",
    ) -> None:
        """`batch_prompts` prompts are answered at once; `dtype` is what `load` was told of number formats.

        With fixed `shapes` an answer's tokens do not depend on the prompts beside it. An empty `digest` is that of a
        model that still changes.
        """
        self._load = load
        self.renderer = renderer
        self.digest = digest
        self.batch_prompts, self.shapes, self._dtype = batch_prompts, shapes, dtype

    @cached_property
    def model(self) -> Any:
        return self._load().eval()

    @cached_property
    def writer(self) -> Writer:
        return Writer(self.model, self.batch_prompts, self.shapes, remembers=bool(self.digest))

    @cached_property
    def engine(self) -> str:
        """Number format, way and shapes, such as `local bfloat16, 64 slots, fixed shapes`; see `writer.Writer`.

        It is remembered for each digest, so that a model whose answers are all known need not be loaded to ask for it.
        """
        mark = local_mark(self.digest, local_mode(self._dtype, self.batch_prompts, self.shapes), self.renderer)
        known = known_engine(mark) if self.digest else None
        if known is None:
            known = self.writer.engine
            if self.digest:
                remember_engine(mark, known)
        return known

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, on_done: OnCompletion | None = None
    ) -> list[Completion]:
        requests = [self._request(prompt, sampling) for prompt in prompts]
        found: dict[int, Completion] = {}

        def written(index: int, answer: Written) -> None:
            found[index] = self._completion(answer, requests[index].stops)
            if on_done:
                on_done(index, found[index])

        self.writer.write(requests, sampling, written)
        return [found[index] for index in range(len(prompts))]

    def answer(self, prompt: Prompt, sampling: Sampling, on_text: Callable[[str], None]) -> Completion:
        """Complete one prompt for a listener: `on_text` receives all of the text so far as it grows."""
        request = self._request(prompt, sampling)
        found: list[Written] = []
        grown = lambda _, tokens: on_text(self._text(tokens, request.stops))  # noqa: E731
        self.writer.write([request], sampling, lambda _, answer: found.append(answer), grown)
        return self._completion(found[0], request.stops)

    def _request(self, prompt: Prompt, sampling: Sampling) -> Request:
        tokens = prompt_tokens(prompt, self.renderer)
        return Request(tokens, stops_of(prompt, self.renderer), draw_key(sampling.seed, prompt.sample, tokens))

    def log_likelihood(
        self,
        prompts: Sequence[Prompt],
        continuations: Sequence[Sequence[Continuation]],
        window: Window | None = None,
        on_done: OnLikelihoods | None = None,
    ) -> list[tuple[Likelihood, ...]]:
        pricer = Pricer(self.model, self.renderer, window)
        found = []
        for index, (prompt, offered) in enumerate(zip(prompts, continuations, strict=True)):
            found.append(pricer.price(prompt, offered))
            if on_done:
                on_done(index, found[-1])
        return found

    def mean_log_probability(self, rendered: Sequence[Rendered]) -> list[float]:
        """Mean log-probability, in nats per supervised token, of each conversation; a tree is taken apart first.

        Raises EvaluateError where nothing is supervised, or a token that nothing stands before.
        """
        return [self._mean_log_probability(each) for each in rendered]

    @torch.inference_mode()
    def _mean_log_probability(self, rendered: Rendered) -> float:
        apart = [each for each in split(rendered) if each.num_supervised]
        if not apart or any(each.loss_weights[0] for each in apart):
            raise EvaluateError(
                f"conversation {rendered.conversation_id} has no likelihood: "
                + ("the first token of a sequence is supervised" if apart else "no token of it is supervised")
            )
        return -float(torch.cat([losses(self.model, each) for each in apart]).mean())

    def _completion(self, written: Written, stops: tuple[int, ...]) -> Completion:
        stopped = bool(written.tokens) and written.tokens[-1] in stops
        gap = written.gap if written.tokens else None
        return Completion(self._text(written.tokens, stops), tuple(written.tokens), stopped, gap)

    def _text(self, tokens: list[int], stops: tuple[int, ...]) -> str:
        return self.renderer.text(tokens[:-1] if tokens and tokens[-1] in stops else tokens)
