"""How many items a question takes, and what a set of items can show; one-sided."""

import math

from tunesmith.stats.distributions import NORMAL, binomial_upper

POWER = 0.8


def items_needed(
    variance: float, distance: float, confidence: float = 0.95, *, power: float = POWER, span: float = 1.0
) -> int | None:
    """How many items tell a difference from a boundary that lies `distance` away; None when it lies at it.

    n = (z_confidence + z_power)^2 * variance / distance^2, one-sided: the usual sample size of a
    superiority or non-inferiority test. `variance` is that of one item's difference; for pass or fail
    scores it is discordance - difference^2, where discordance is the share of flipped items; for clustered items
    it is multiplied by the design effect. Never fewer than the rule of three asks for: without flips, n items rule
    out a rate of 1 - (1 - confidence)^(1/n). `span` is how far one item may change; 0.0 leaves that rule out, where
    most items change a little anyway.
    """
    if distance < 1e-12:  # at the boundary, but for rounding
        return None
    z = NORMAL.inv_cdf(confidence) + NORMAL.inv_cdf(power)
    unseen = math.log(1 - confidence) / math.log1p(-distance / span) if distance < span else 1.0
    return max(math.ceil(z * z * max(variance, 0.0) / distance**2), math.ceil(unseen))


def smallest_provable_margin(
    variance: float, n: float, confidence: float = 0.95, *, power: float = POWER, span: float = 1.0
) -> float:
    """The smallest harm that `n` items can rule out with this power where there is none: `items_needed` solved for
    the distance. `variance` and `span` as there; for pass or fail scores `variance` is the discordance, and the result
    a share of the items."""
    z = NORMAL.inv_cdf(confidence) + NORMAL.inv_cdf(power)
    return max(z * math.sqrt(max(variance, 0.0) / n), span * binomial_upper(0, n, confidence))
