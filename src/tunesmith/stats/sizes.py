"""How many items a question takes, and what a set of items can show; one-sided."""

import math

from tunesmith.stats.distributions import NORMAL, binomial_upper, bisect
from tunesmith.stats.passfail import restricted_variance

POWER = 0.8


def items_needed(
    variance: float, distance: float, confidence: float = 0.95, *, power: float = POWER, span: float = 1.0
) -> int | None:
    """How many items tell a difference from a boundary that lies `distance` away; None when it lies at it.

    n = (z_confidence + z_power)^2 * variance / distance^2, one-sided: the usual sample size of a
    superiority or non-inferiority test. `variance` is that of one item's difference; for pass or fail
    scores see `paired_items_needed`; for clustered items it is multiplied by the design effect. Never fewer than the
    rule of three asks for: without flips, n items rule out a rate of 1 - (1 - confidence)^(1/n). `span` is how far one
    item may change; 0.0 leaves that rule out, where most items change a little anyway.
    """
    if distance < 1e-12:  # at the boundary, but for rounding
        return None
    z = NORMAL.inv_cdf(confidence) + NORMAL.inv_cdf(power)
    unseen = math.log(1 - confidence) / math.log1p(-distance / span) if distance < span else 1.0
    return max(math.ceil(z * z * max(variance, 0.0) / distance**2), math.ceil(unseen))


def paired_items_needed(
    lost: float, gained: float, boundary: float, confidence: float = 0.95, *, power: float = POWER
) -> int | None:
    """How many pass or fail items tell the difference gained - lost (shares of the items) from `boundary`.

    n = ((z_confidence * s0 + z_power * s1) / distance)^2 with one item's deviation at the boundary, as Tango's test
    restricts it, and at the truth (Lu and Bean 1995, Stat. Med. 14:1831-1839). It asks for more than `items_needed`
    where the margin is large beside the discordance. None at the boundary; never fewer than the rule of three asks for.
    """
    difference = gained - lost
    distance = abs(difference - boundary)
    if distance < 1e-12:
        return None
    at_boundary, at_truth = restricted_variance(lost, gained, boundary), lost + gained - difference**2
    deviations = NORMAL.inv_cdf(confidence) * math.sqrt(max(at_boundary, 0.0))
    deviations += NORMAL.inv_cdf(power) * math.sqrt(max(at_truth, 0.0))
    unseen = items_needed(0.0, distance, confidence) or 1
    return max(math.ceil((deviations / distance) ** 2), unseen)


def smallest_provable_margin(
    variance: float, n: float, confidence: float = 0.95, *, power: float = POWER, span: float = 0.0
) -> float:
    """The smallest harm that `n` items can rule out with this power where there is none: `items_needed` solved for
    the distance, with `variance` and `span` as there."""
    z = NORMAL.inv_cdf(confidence) + NORMAL.inv_cdf(power)
    return max(z * math.sqrt(max(variance, 0.0) / n), span * binomial_upper(0, n, confidence))


def smallest_paired_margin(discordance: float, n: float, confidence: float = 0.95, *, power: float = POWER) -> float:
    """The same for pass or fail items, from the share of them that flips; a share of the items, at most 1."""

    def is_enough(margin: float) -> bool:
        needed = paired_items_needed(discordance / 2, discordance / 2, -margin, confidence, power=power)
        return needed is not None and needed <= n

    return bisect(is_enough, 0.0, 1.0)
