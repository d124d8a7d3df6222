"""Stopping early: the wealth is a fair game under the hypothesis, and the stop is right often and soon."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith import stats


@given(st.floats(-0.5, 0.5), st.floats(0.05, 0.95))
@settings(max_examples=30, deadline=None)
def test_wealth_is_one_on_average_at_the_boundary(mean, spread):
    """Over all paths of a three-point distribution whose mean is the hypothesis: exactly fair, at every step."""
    room = min(1 - mean, 1 + mean) * spread
    values, chances = np.array([mean - room, mean, mean + room]), np.array([0.3, 0.4, 0.3])
    steps = 6
    paths = np.array(list(itertools.product(range(3), repeat=steps)))
    weights = chances[paths].prod(axis=1)
    wealth = np.exp(stats.log_wealth(values[paths], mean))
    assert weights @ wealth == pytest.approx(np.ones(steps))
    assert weights @ np.exp(stats.log_wealth(values[paths] - min(0.05, room), mean))[:, -1] <= 1 + 1e-9


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=60), st.floats(-0.9, 0.9))
@settings(max_examples=60, deadline=None)
def test_wealth_stays_above_zero_and_never_looks_ahead(values, mean):
    path = stats.log_wealth(values, mean)
    assert np.isfinite(path).all()
    assert stats.log_wealth(values[:-1], mean) == pytest.approx(path[:-1])


def flips(rng, discordance, difference, rounds, length):
    lost, gained = (discordance - difference) / 2, (discordance + difference) / 2
    drawn = rng.random((rounds, length))
    return np.where(drawn < lost, -1.0, np.where(drawn < lost + gained, 1.0, 0.0))


def stops(discordance, difference, margin=0.02, rounds=400):
    rng = np.random.default_rng(5)
    return [stats.stop_early(each, -margin, 0.0) for each in flips(rng, discordance, difference, rounds, 3000)]


def share(found, settled):
    return sum(stop.settled == settled for stop in found) / len(found)


def test_equal_models_are_settled_soon_and_planted_harm_sooner():
    equal, worse = stops(0.02, 0.0), stops(0.1, -0.1)
    assert share(equal, "above") > 0.95 and np.median([stop.num_used for stop in equal]) < 500
    assert share(worse, "below") == 1.0 and np.median([stop.num_used for stop in worse]) < 150


def test_false_answers_stay_below_alpha_at_the_boundaries():
    assert share(stops(0.05, -0.02), "above") <= 0.075
    assert share(stops(0.1, -0.02), "above") <= 0.075
    assert share(stops(0.05, 0.0), "below") <= 0.075


def test_a_stricter_second_level_makes_the_second_answer_rarer():
    drawn = flips(np.random.default_rng(6), 0.1, -0.05, 40, 300)
    strict = [stats.stop_early(each, -0.02, 0.0, alpha_below=1e-9) for each in drawn]
    assert share(strict, "below") < share([stats.stop_early(each, -0.02, 0.0) for each in drawn], "below")


def test_nothing_is_settled_by_a_handful():
    assert stats.stop_early([0.0] * 20, -0.02, 0.0) == stats.Stop(None, 20)


def test_the_order_is_random_fixed_and_depends_on_the_set_alone():
    ids = [f"item-{index}" for index in range(50)]
    order = stats.hash_order(ids, "digest")
    assert sorted(order) == list(range(50)) and order != list(range(50))
    assert [ids[index] for index in order] == [ids[::-1][index] for index in stats.hash_order(ids[::-1], "digest")]
    assert stats.hash_order(ids, "other") != order


def test_clusters_come_as_their_means_whatever_the_order_of_items():
    codes = np.repeat(np.arange(20), 2)
    values = np.arange(40) / 40
    units = stats.ordered_units(values, [str(index) for index in range(40)], "digest", codes)
    assert sorted(units) == pytest.approx(values.reshape(20, 2).mean(axis=1))
    alone = stats.ordered_units(values, [str(index) for index in range(40)], "digest")
    assert sorted(alone) == pytest.approx(values)
