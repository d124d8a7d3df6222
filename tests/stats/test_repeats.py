"""Several answers an item and several seeds a recipe: unbiased, against enumeration and known truths."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith import stats


@given(st.integers(1, 8), st.data())
def test_pass_at_k_is_the_share_of_draws_with_a_right_one(n, data):
    right, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    draws = list(itertools.combinations([1] * right + [0] * (n - right), k))
    assert stats.pass_at_k(n, right, k) == pytest.approx(sum(any(draw) for draw in draws) / len(draws))


def test_pass_at_more_than_there_are_is_refused():
    with pytest.raises(ValueError, match="needs 5 samples"):
        stats.pass_at_k(4, 1, 5)


def test_the_split_finds_both_variances_and_predicts_the_error():
    rng = np.random.default_rng(0)
    chances = rng.beta(1, 1, 20_000)
    split = stats.variance_split(rng.random((20_000, 4)) < chances[:, None])
    assert split.between == pytest.approx(1 / 12, rel=0.03)
    assert split.within == pytest.approx(1 / 6, rel=0.03)
    means = [(rng.random((100, 3)) < rng.beta(1, 1, (100, 1))).mean() for _ in range(2000)]
    assert split.error(100, 3) == pytest.approx(np.std(means), rel=0.06)


def test_answers_that_never_differ_have_no_noise_within():
    split = stats.variance_split(np.repeat(np.arange(10.0)[:, None], 3, axis=1))
    assert split.within == 0
    assert split.between == pytest.approx(np.arange(10.0).var(ddof=1))


def seeds(rng, tau, num_seeds=3, num_items=200):
    """Differences of several trainings: a shift of the training, a hardness of the item, and what is left."""
    shifts, items = rng.normal(0, tau, (num_seeds, 1)), rng.normal(0, 0.5, (1, num_items))
    return shifts + items + rng.normal(0, 0.4, (num_seeds, num_items))


@pytest.mark.parametrize("tau", [0.0, 0.1])
def test_tau_is_the_noise_of_training_and_not_that_of_items(tau):
    rng = np.random.default_rng(1)
    found = [stats.seed_noise(seeds(rng, tau)).variance for _ in range(1500)]
    assert np.mean(found) == pytest.approx(tau**2, rel=0.1, abs=5e-4)


def test_a_claim_about_a_recipe_covers_its_truth_where_one_about_a_checkpoint_does_not():
    rng = np.random.default_rng(2)
    misses = np.zeros(2)
    for _ in range(300):
        data = seeds(rng, 0.15)
        mean, noise = data.mean(), stats.seed_noise(data)
        alone = stats.mean_interval(data.mean(axis=0), 0.9)
        for index, (low, high) in enumerate((stats.widened(alone, mean, noise.half_width(0.9)), alone)):
            misses[index] += not low <= 0 <= high
    assert misses[0] / 300 <= 0.13 < 0.3 < misses[1] / 300


def test_widening_adds_in_quadrature_on_each_side():
    assert stats.widened((-3.0, 8.0), 0.0, 4.0) == pytest.approx((-5.0, np.hypot(8, 4)))
    assert stats.widened((-3.0, 8.0), 0.0, 0.0) == (-3.0, 8.0)
