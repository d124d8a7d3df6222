"""Learning rate as a pure function of the step."""

import math
from typing import Literal

FINAL_SHARE = 0.1


def learning_rate_at(
    step: int, num_steps: int, peak: float, num_warmup: int, schedule: Literal["cosine", "constant"]
) -> float:
    """The learning rate of optimizer step `step` (from 0): linear warmup, then the schedule.

    The cosine ends at a tenth of the peak, so that the last steps still move the weights.
    """
    if step < num_warmup:
        return peak * (step + 1) / num_warmup
    if schedule == "constant":
        return peak
    progress = (step - num_warmup) / max(1, num_steps - num_warmup)
    return peak * (FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * progress)))
