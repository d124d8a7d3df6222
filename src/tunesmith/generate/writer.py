"""A model that writes behind tokens, in the way that is right for it: by slots, one prompt at a time, or padded."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from tunesmith.generate import Sampling, Shapes
from tunesmith.generate.padded import complete
from tunesmith.generate.proof import Proof, proof_of, prove
from tunesmith.generate.slots import OnTokens, OnWritten, Request, write


class Writer:
    """A loaded model. `remembers` lets the proof of its way be read from the cache."""

    def __init__(self, model: Any, batch_prompts: int, shapes: Shapes, *, remembers: bool = True) -> None:
        self.model, self.batch_prompts, self.shapes, self._remembers = model, batch_prompts, shapes, remembers

    @cached_property
    def proof(self) -> Proof:
        find = proof_of if self._remembers else prove
        return find(self.model, self.shapes, self.batch_prompts)

    @property
    def engine(self) -> str:
        """Number format, way and shapes, such as `local bfloat16, 64 slots, fixed shapes`."""
        parameter, proof = next(self.model.parameters()), self.proof
        device = "" if parameter.device.type == "cpu" else f" on {parameter.device.type}"
        one = proof.way == "alone" or (proof.way == "padded" and self.shapes == "fixed")
        places = "slots" if proof.way == "slots" else "at once, padded"
        count = "one prompt at a time" if one else f"{self.batch_prompts} {places}"
        shapes = "fixed shapes" if one or proof.row_sizes else "free shapes"
        return f"local {str(parameter.dtype).removeprefix('torch.')}{device}, {count}, {shapes}"

    def write(
        self, requests: Sequence[Request], sampling: Sampling, on_written: OnWritten, on_tokens: OnTokens | None = None
    ) -> None:
        """See `slots.write`."""
        if not requests:
            return
        if self.proof.way == "padded":
            self._write_padded(requests, sampling, on_written, on_tokens)
            return
        write(
            self.model,
            requests,
            sampling,
            num_slots=1 if self.proof.way == "alone" else self.batch_prompts,
            row_sizes=self.proof.row_sizes,
            step_sizes=self.proof.step_sizes,
            shares=self.proof.way == "slots",
            on_written=on_written,
            on_tokens=on_tokens,
        )

    def _write_padded(
        self, requests: Sequence[Request], sampling: Sampling, on_written: OnWritten, on_tokens: OnTokens | None
    ) -> None:
        """Like lengths together: less padding, and prompts of a kind share more of their beginning."""
        order = sorted(range(len(requests)), key=lambda at: (requests[at].tokens.size, requests[at].tokens.tobytes()))
        size = 1 if self.shapes == "fixed" else self.batch_prompts
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            told = None if on_tokens is None else lambda at, tokens, batch=batch: on_tokens(batch[at], tokens)
            answers = complete(self.model, [requests[index] for index in batch], sampling, told)
            for index, answer in zip(batch, answers, strict=True):
                on_written(index, answer)
