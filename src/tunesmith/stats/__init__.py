"""Paired tests, intervals and sample sizes: what the gate decides with.

Pure functions on counts and arrays, numpy only. Intervals are two-sided at `confidence`; p-values, sample sizes and
margins are one-sided. Every difference is after minus before.

    distributions  Student's t, incomplete beta, exact binomial bound
    passfail       right or wrong: Wilson, mid-p McNemar, Tango
    clusters       robust errors, design effects, effective counts
    means          continuous scores: t, studentized bootstrap
    sizes          items needed, smallest harm that a set can rule out
    multiple       Holm
    resamples      several answers an item: variance split, pass@k
    seeds          several trainings: tau^2
    betting        stopping early by wealth
    win_rates      one answer against another: raw, and at equal lengths
    strengths      strengths of several models, with ties
    labels         a judge held against people: agreement, prediction-powered means
"""

from tunesmith.stats.betting import Stop, hash_order, log_wealth, ordered_units, stop_early
from tunesmith.stats.clusters import (
    FEWEST_CLUSTERS,
    Codes,
    Flips,
    cluster_codes,
    design_effect,
    flips,
    standard_error,
)
from tunesmith.stats.distributions import NORMAL, Interval, beta_cdf, binomial_upper, t_cdf, t_quantile
from tunesmith.stats.labels import Agreement, Corrected, agreement, prediction_powered_mean
from tunesmith.stats.means import (
    FEW_CHANGES,
    mean_interval,
    num_changed,
    paired_bootstrap,
    paired_mean_interval,
    paired_t_p,
    widened,
)
from tunesmith.stats.multiple import holm
from tunesmith.stats.passfail import (
    mcnemar_mid_p,
    mcnemar_mid_p_gain,
    paired_interval,
    tango_interval,
    tango_z,
    wilson_interval,
)
from tunesmith.stats.resamples import Split, pass_at_k, variance_split
from tunesmith.stats.seeds import SeedNoise, seed_noise
from tunesmith.stats.sizes import (
    items_needed,
    paired_items_needed,
    smallest_paired_margin,
    smallest_provable_margin,
)
from tunesmith.stats.strengths import (
    StrengthIntervals,
    Strengths,
    bradley_terry,
    connected_groups,
    strength_intervals,
)
from tunesmith.stats.win_rates import LengthControlled, length_controlled, win_rate, win_rate_interval

__all__ = [
    "FEWEST_CLUSTERS",
    "FEW_CHANGES",
    "NORMAL",
    "Agreement",
    "Codes",
    "Corrected",
    "Flips",
    "Interval",
    "LengthControlled",
    "SeedNoise",
    "Split",
    "Stop",
    "StrengthIntervals",
    "Strengths",
    "agreement",
    "beta_cdf",
    "binomial_upper",
    "bradley_terry",
    "cluster_codes",
    "connected_groups",
    "design_effect",
    "flips",
    "hash_order",
    "holm",
    "items_needed",
    "length_controlled",
    "log_wealth",
    "mcnemar_mid_p",
    "mcnemar_mid_p_gain",
    "mean_interval",
    "num_changed",
    "ordered_units",
    "paired_bootstrap",
    "paired_interval",
    "paired_items_needed",
    "paired_mean_interval",
    "paired_t_p",
    "pass_at_k",
    "prediction_powered_mean",
    "seed_noise",
    "smallest_paired_margin",
    "smallest_provable_margin",
    "standard_error",
    "stop_early",
    "strength_intervals",
    "t_cdf",
    "t_quantile",
    "tango_interval",
    "tango_z",
    "variance_split",
    "widened",
    "wilson_interval",
    "win_rate",
    "win_rate_interval",
]
