"""The warmup, as it is asked for: a share of the steps, "100 steps" or "2e6 tokens". Imports no torch."""

import math
import re
from typing import Literal, NamedTuple

_AMOUNT = re.compile(r"\s*(?P<amount>[0-9][0-9_,.]*(?:e\+?[0-9]+)?)\s*(?P<unit>step|token)s?\s*", re.IGNORECASE)


class Warmup(NamedTuple):
    """So much of something, while the learning rate rises."""

    amount: float
    unit: Literal["share", "steps", "tokens"]

    def num_steps(self, num_steps: int, tokens_per_step: float) -> int:
        """The steps of a training of `num_steps` in which the rate rises: exact, but for tokens, whose number in a
        step varies, an expectation."""
        if self.unit == "share":
            return round(num_steps * self.amount)
        steps = self.amount if self.unit == "steps" else math.ceil(self.amount / tokens_per_step)
        return min(num_steps, int(steps))

    def __str__(self) -> str:
        return f"{self.amount:.0%} of the steps" if self.unit == "share" else f"{self.amount:,.0f} {self.unit}"


def parse_warmup(value: float | str) -> Warmup:
    """A number from 0 up to, but not, 1 is a share of the steps; a text is a count of steps or tokens.

    Raises ValueError, which says what is accepted.
    """
    if not isinstance(value, str):
        if 0 <= value < 1:
            return Warmup(value, "share")
        raise ValueError(
            f"a warmup of {value:g} is no share of the steps (0 <= share < 1); a count is written with its unit, "
            'as "100 steps" or "2e6 tokens"'
        )
    found = _AMOUNT.fullmatch(value)
    amount = float(found["amount"].replace(",", "").replace("_", "")) if found and _is_number(found["amount"]) else -1
    if found is None or amount < 0 or amount != int(amount):
        raise ValueError(
            f'the warmup {value!r} is neither a share of the steps such as 0.05, nor a count such as "100 steps" '
            'or "2e6 tokens"'
        )
    return Warmup(amount, "steps" if found["unit"].lower() == "step" else "tokens")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text.replace(",", "").replace("_", "")))
    except ValueError:
        return False
