"""Learning rate as a pure function of the step."""

import math
from typing import Literal


def learning_rate_at(
    step: int, num_steps: int, peak: float, num_warmup: int, schedule: Literal["cosine", "constant"]
) -> float:
    """The learning rate of optimizer step `step` (from 0): linear warmup, then the schedule.

    The cosine ends at zero: in short runs a rate that is still high at the end leaves the weights in its noise.
    """
    if step < num_warmup:
        return peak * (step + 1) / num_warmup
    if schedule == "constant":
        return peak
    progress = (step - num_warmup) / max(1, num_steps - num_warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))
