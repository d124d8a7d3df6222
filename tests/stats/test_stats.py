"""The statistics against their oracles, as properties, and as a calibration of the decision they serve."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from tunesmith import stats

ALPHA = 0.05


@st.composite
def flips(draw):
    """(lost, gained, n) of any set, edges included."""
    n = draw(st.integers(1, 400))
    lost = draw(st.integers(0, n))
    return lost, draw(st.integers(0, n - lost)), n


@given(st.integers(1, 500), st.data(), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_wilson_matches_statsmodels(n, data, confidence):
    successes = data.draw(st.integers(0, n))
    expected = proportion_confint(successes, n, alpha=1 - confidence, method="wilson")
    assert stats.wilson_interval(successes, n, confidence) == pytest.approx(expected, abs=1e-9)


@given(st.integers(1, 3000), st.data(), st.sampled_from([0.9, 0.95, 0.99]))
@settings(max_examples=60)
def test_binomial_upper_matches_scipy(n, data, confidence):
    successes = data.draw(st.integers(0, n))
    expected = 1.0 if successes == n else scipy_stats.beta.ppf(confidence, successes + 1, n - successes)
    assert stats.binomial_upper(successes, n, confidence) == pytest.approx(expected, abs=1e-9)


@given(st.floats(0.5, 0.9999), st.integers(1, 100_000))
def test_t_quantile_matches_scipy(probability, degrees):
    expected = scipy_stats.t.ppf(probability, degrees)
    assert stats.t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-7, abs=1e-5)
    assert stats.t_quantile(1 - probability, degrees) == pytest.approx(-expected, rel=1e-7, abs=1e-5)


def test_mean_interval_matches_scipy():
    values = np.random.default_rng(0).normal(3, 2, 50)
    expected = scipy_stats.t.interval(0.9, 49, values.mean(), scipy_stats.sem(values))
    assert stats.mean_interval(values, 0.9) == pytest.approx(expected)


def test_paired_t_matches_scipy_and_survives_no_spread():
    before, after = np.random.default_rng(0).normal(0, 1, (2, 40))
    expected = scipy_stats.ttest_rel(after, before, alternative="less").pvalue
    assert stats.paired_t_p(after - before) == pytest.approx(expected)
    assert stats.paired_t_p(np.zeros(9)) == 1.0
    assert (stats.paired_t_p(-np.ones(9)), stats.paired_t_p(np.ones(9))) == (0.0, 1.0)


@given(st.integers(0, 800), st.integers(0, 800))
def test_mid_p_matches_the_binomial_and_its_mirror(lost, gained):
    expected = 1.0
    if lost + gained:
        binomial = scipy_stats.binom(lost + gained, 0.5)
        expected = binomial.sf(lost) + binomial.pmf(lost) / 2
    assert stats.mcnemar_mid_p(lost, gained) == pytest.approx(expected, rel=1e-8, abs=1e-14)
    assert stats.mcnemar_mid_p_gain(lost, gained) == stats.mcnemar_mid_p(gained, lost)
    if lost + gained:
        both = stats.mcnemar_mid_p(lost, gained) + stats.mcnemar_mid_p_gain(lost, gained)
        assert both == pytest.approx(1)


def restricted_share_lost(lost, gained, n, delta):
    """Tango's restricted estimate by brute force: maximize the likelihood on a fine grid."""
    low, high = max(0.0, -delta), (1 - delta) / 2
    grid = np.linspace(low, high, 200_001)[1:-1]
    chance = lost * np.log(grid) + gained * np.log(grid + delta)
    chance += (n - lost - gained) * np.log(np.maximum(1 - 2 * grid - delta, 1e-300))
    return grid[np.argmax(chance)]


@pytest.mark.parametrize(
    ("lost", "gained", "n", "delta"), [(3, 5, 60, -0.1), (12, 4, 90, 0.05), (1, 1, 30, -0.3), (7, 2, 40, 0.2)]
)
def test_tango_z_uses_the_restricted_maximum_likelihood(lost, gained, n, delta):
    share = restricted_share_lost(lost, gained, n, delta)
    expected = (gained - lost - n * delta) / math.sqrt(n * (2 * share + delta * (1 - delta)))
    assert stats.tango_z(lost, gained, n, delta) == pytest.approx(expected, abs=1e-3)


@given(st.integers(0, 300), st.integers(0, 300))
def test_tango_at_zero_is_mcnemars_statistic(lost, gained):
    expected = (gained - lost) / math.sqrt(lost + gained) if lost + gained else 0.0
    assert stats.tango_z(lost, gained, 700, 0.0) == pytest.approx(expected)


def test_tango_interval_inverts_the_statistic():
    low, high = stats.tango_interval(2, 12, 44, 0.95)
    grid = np.linspace(-0.99, 0.99, 19_801)
    inside = [delta for delta in grid if abs(stats.tango_z(2, 12, 44, delta)) <= 1.959964]
    assert (low, high) == pytest.approx((min(inside), max(inside)), abs=2e-4)


@given(flips(), st.sampled_from([0.8, 0.9, 0.98]))
def test_intervals_hold_the_estimate_stay_in_range_and_mirror(counts, confidence):
    lost, gained, n = counts
    for interval in (stats.tango_interval, stats.paired_interval):
        low, high = interval(lost, gained, n, confidence)
        assert -1 <= low <= (gained - lost) / n + 1e-12
        assert (gained - lost) / n - 1e-12 <= high <= 1
        other_low, other_high = interval(gained, lost, n, confidence)
        assert (other_low, other_high) == pytest.approx((-high, -low), abs=1e-9)


@given(flips())
def test_bounds_of_the_interval_solve_the_score_equation(counts):
    lost, gained, n = counts
    low, _ = stats.tango_interval(lost, gained, n, 0.9)
    if low > -1 + 1e-9:
        assert stats.tango_z(lost, gained, n, low - 1e-7) >= 1.6448 >= stats.tango_z(lost, gained, n, low + 1e-7) - 1e-3


@given(flips())
def test_one_more_loss_never_raises_the_lower_bound(counts):
    lost, gained, n = counts
    if lost + gained < n:
        here, worse = (
            stats.paired_interval(lost, gained, n, 0.9),
            stats.paired_interval(lost + 1, gained, n, 0.9),
        )
        assert worse[0] <= here[0] + 1e-9


@pytest.mark.parametrize("n", [1, 2, 20, 300, 10_000])
def test_no_flips_give_the_rule_of_three(n):
    low, high = stats.paired_interval(0, 0, n, 0.9)
    assert -low == pytest.approx(1 - 0.05 ** (1 / n))
    assert high == pytest.approx(-low)


def false_pass_rate(interval, chance_lost, chance_gained, n, rounds=20_000):
    """How often the gate passes although the true loss is exactly the margin."""
    margin = chance_lost - chance_gained
    chances = [chance_lost, chance_gained, 1 - chance_lost - chance_gained]
    drawn = np.random.default_rng(20).multinomial(n, chances, rounds)[:, :2]
    cells, counts = np.unique(drawn, axis=0, return_counts=True)
    passes = [interval(int(lost), int(gained), n, 1 - 2 * ALPHA)[0] > -margin for lost, gained in cells]
    return float(counts[np.array(passes)].sum() / rounds)


@pytest.mark.parametrize("n", [100, 300, 1000])
@pytest.mark.parametrize(("chance_lost", "chance_gained"), [(0.03, 0.01), (0.06, 0.04), (0.1, 0.05), (0.2, 0.18)])
def test_false_pass_rate_at_the_true_boundary(n, chance_lost, chance_gained):
    for interval in (stats.tango_interval, stats.paired_interval):
        assert false_pass_rate(interval, chance_lost, chance_gained, n) <= 0.062


@pytest.mark.parametrize("n", [133, 149, 300, 800])
def test_where_all_flips_are_losses_the_guard_keeps_the_level_and_tango_alone_does_not(n):
    assert false_pass_rate(stats.paired_interval, 0.02, 0.0, n) <= 0.052
    if n == 133:
        assert false_pass_rate(stats.tango_interval, 0.02, 0.0, n) > 0.06


def test_the_same_seed_gives_the_same_bootstrap():
    data = np.random.default_rng(1).exponential(1, 40)
    assert stats.paired_bootstrap(data) == stats.paired_bootstrap(data)
    low, high = stats.paired_bootstrap(data, 0.9)
    assert low < data.mean() < high
    assert high - data.mean() > data.mean() - low, "skewed to the right: the upper bound lies further away"


def test_continuous_coverage_of_a_skewed_score():
    rng = np.random.default_rng(2)
    misses = sum(stats.paired_mean_interval(1 - rng.exponential(1, 30), 0.9)[0] > 0 for _ in range(300))
    assert misses / 300 <= 0.075


def test_a_continuous_score_that_never_changed_is_not_certain():
    low, high = stats.paired_mean_interval(np.zeros(149), 0.9, span=1.0)
    assert -0.02 < low < 0 < high < 0.02


@pytest.mark.parametrize(
    ("discordance", "margin", "expected"),
    [(0.02, 0.01, 1237), (0.05, 0.02, 773), (0.1, 0.05, 248), (0.2, 0.03, 1374)],
)
def test_items_needed_matches_the_table(discordance, margin, expected):
    assert stats.items_needed(discordance, margin) == pytest.approx(expected, abs=1)


def test_items_needed_without_flips_is_the_rule_of_three_and_none_at_the_boundary():
    assert stats.items_needed(0.0, 0.02) == 149
    assert stats.items_needed(0.1, 0.0) is None
    assert stats.items_needed(0.1, 0.02, power=0.9) > stats.items_needed(0.1, 0.02)


@given(st.floats(0, 0.5), st.integers(10, 5000))
def test_smallest_margin_is_the_inverse_of_items_needed(discordance, n):
    margin = stats.smallest_provable_margin(discordance, n, span=1.0)
    assert stats.items_needed(discordance, margin * (1 + 1e-9)) <= n
    margin = stats.smallest_paired_margin(discordance, n)
    assert stats.paired_items_needed(discordance / 2, discordance / 2, -margin * (1 + 1e-9)) <= n
    assert margin < 1e-6 or stats.paired_items_needed(discordance / 2, discordance / 2, -margin * 0.999) > n


def test_smallest_margins_of_300_items():
    assert stats.smallest_provable_margin(0.01, 300) == pytest.approx(0.0144, abs=1e-4)
    assert stats.smallest_paired_margin(0.01, 300) == pytest.approx(0.0199, abs=1e-4)
    assert stats.smallest_paired_margin(0.0, 300) == pytest.approx(0.0099, abs=1e-4)


@pytest.mark.parametrize(("discordance", "margin"), [(0.05, 0.03), (0.1, 0.05), (0.2, 0.05), (0.05, 0.02)])
def test_the_items_needed_give_the_power_that_they_promise(discordance, margin):
    n = stats.paired_items_needed(discordance / 2, discordance / 2, -margin)
    drawn = np.random.default_rng(7).multinomial(n, [discordance / 2, discordance / 2, 1 - discordance], 5000)
    cells, counts = np.unique(drawn[:, :2], axis=0, return_counts=True)
    passes = [stats.paired_interval(int(lost), int(gained), n, 0.9)[0] > -margin for lost, gained in cells]
    assert counts[np.array(passes)].sum() / 5000 == pytest.approx(0.8, abs=0.03)
    assert n >= stats.items_needed(discordance, margin)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=30)
def test_holm_matches_statsmodels(p_values):
    expected = multipletests(p_values, method="holm")[1]
    assert stats.holm(p_values) == pytest.approx(list(expected))
