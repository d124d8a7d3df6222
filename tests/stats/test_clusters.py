"""Clustered items: statsmodels as oracle, what the labels must be like, and the level of the clustered tests."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.api import OLS

from tunesmith import stats


def labels_of(sizes):
    return [f"c{number}" for number, size in enumerate(sizes) for _ in range(size)]


SIZES = st.lists(st.integers(1, 6), min_size=20, max_size=40).filter(lambda sizes: max(sizes) > 1)


@given(SIZES, st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_robust_errors_and_intervals_match_statsmodels(sizes, seed):
    codes = stats.cluster_codes(labels_of(sizes))
    rng = np.random.default_rng(seed)
    data = rng.normal(0, 1, codes.size) + rng.normal(0, 1, len(sizes))[codes]
    fitted = OLS(data, np.ones_like(data)).fit(cov_type="cluster", cov_kwds={"groups": codes}, use_t=True)
    assert stats.standard_error(data, codes) == pytest.approx(fitted.bse[0])
    assert stats.mean_interval(data, 0.9, codes) == pytest.approx(fitted.conf_int(0.1)[0])
    assert 2 * min(stats.paired_t_p(data, codes), stats.paired_t_p(-data, codes)) == pytest.approx(fitted.pvalues[0])


def test_labels_group_items_only_where_there_are_many_groups_and_some_are_shared():
    assert stats.cluster_codes(None) is None
    assert stats.cluster_codes([str(index) for index in range(100)]) is None, "each item alone"
    assert stats.cluster_codes(labels_of([50] * (stats.FEWEST_CLUSTERS - 1))) is None, "themes"
    codes = stats.cluster_codes(labels_of([2] * stats.FEWEST_CLUSTERS))
    assert codes.max() + 1 == stats.FEWEST_CLUSTERS


@given(SIZES, st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_a_design_effect_is_at_least_one_and_at_most_the_size_of_a_cluster(sizes, seed):
    codes = stats.cluster_codes(labels_of(sizes))
    data = np.random.default_rng(seed).integers(-1, 2, codes.size).astype(float)
    largest = sum(size * size for size in sizes) / sum(sizes)
    assert 1 <= stats.design_effect(data, codes) <= largest + 1e-9
    whole = np.random.default_rng(seed).integers(-1, 2, len(sizes)).astype(float)[codes]
    assert stats.design_effect(np.zeros(codes.size), codes) == pytest.approx(largest), "unseen: the worst"
    if np.ptp(whole) and np.ptp(sizes) == 0:
        assert stats.design_effect(whole, codes) == pytest.approx(largest)


def test_a_design_effect_finds_the_correlation_within_clusters():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(4000), 5)
    shared = rng.normal(0, np.sqrt(0.4), 4000)[codes] + rng.normal(0, np.sqrt(0.6), codes.size)
    assert stats.design_effect(shared, codes) == pytest.approx(1 + 4 * 0.4, rel=0.05)
    assert stats.design_effect(rng.normal(0, 1, codes.size), codes) == pytest.approx(1, abs=0.05)


def test_without_clusters_flips_are_counts_and_change_nothing():
    flips = stats.flips([1, 1, 0, 0, 1], [0, 1, 1, 0, 0])
    assert (flips.lost, flips.gained, flips.n) == (2, 1, 5)
    assert (flips.confidence(0.9), flips.p_value(0.03)) == (0.9, 0.03)


def test_duplicated_items_say_no_more_than_the_items_did():
    """Every item five times over: the clustered interval is that of the single items, and a little wider."""
    rng = np.random.default_rng(1)
    before = rng.integers(0, 2, 400).astype(float)
    after = np.where(rng.random(400) < 0.2, 1 - before, before)
    codes = np.repeat(np.arange(400), 5)
    single, many = stats.flips(before, after), stats.flips(before[codes], after[codes], codes)
    assert many.n == pytest.approx(400)
    alone = stats.paired_interval(single.lost, single.gained, single.n, 0.9)
    clustered = stats.paired_interval(many.lost, many.gained, many.n, many.confidence(0.9))
    assert clustered == pytest.approx(alone, abs=1e-3)
    assert clustered[0] < alone[0]


def test_student_for_few_clusters_matches_scipy():
    flips = stats.Flips(1.0, 2.0, 30.0, 19)
    z = scipy_stats.t.ppf(0.95, 19)
    assert flips.confidence(0.9) == pytest.approx(2 * scipy_stats.norm.cdf(z) - 1)
    assert flips.p_value(0.01) == pytest.approx(scipy_stats.t.sf(scipy_stats.norm.isf(0.01), 19))


def clustered_draws(rng, num_clusters, size, chance_lost, icc, rounds):
    """Before and after of items that are lost together: each cluster has its own chance, drawn from a beta."""
    scale = (1 - icc) / icc
    chances = rng.beta(chance_lost * scale, (1 - chance_lost) * scale, (rounds, num_clusters))
    lost = rng.random((rounds, num_clusters, size)) < chances[..., None]
    return np.ones((rounds, num_clusters * size)), 1.0 - lost.reshape(rounds, -1)


@pytest.mark.parametrize(("num_clusters", "size", "icc"), [(40, 5, 0.6), (100, 3, 0.3), (60, 5, 0.1)])
def test_whole_clusters_lost_at_the_margin_rarely_pass(num_clusters, size, icc):
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(num_clusters), size)
    for margin in (0.03, 0.08):
        draws = zip(*clustered_draws(rng, num_clusters, size, margin, icc, 300), strict=True)
        passes = 0
        for before, after in draws:
            seen = stats.flips(before, after, codes)
            passes += stats.paired_interval(seen.lost, seen.gained, seen.n, seen.confidence(0.9))[0] > -margin
        assert passes / 300 <= 0.085


def test_the_cluster_bootstrap_keeps_its_level_where_the_plain_one_does_not():
    rng = np.random.default_rng(4)
    codes = np.repeat(np.arange(30), 8)
    missed = np.zeros(2)
    for _ in range(100):
        data = rng.normal(0, 1, 30)[codes] + rng.normal(0, 0.5, 240)
        for index, each in enumerate((codes, None)):
            low, high = stats.paired_bootstrap(data, 0.9, each, num_resamples=500)
            missed[index] += not low <= 0 <= high
    assert missed[0] <= 20 < 35 <= missed[1]


def test_a_few_changed_clusters_are_not_certain():
    codes = np.repeat(np.arange(40), 5)
    changes = np.zeros(200)
    low, high = stats.paired_mean_interval(changes, 0.9, codes, span=1.0)
    assert -low == high == pytest.approx(stats.binomial_upper(0, 40))
