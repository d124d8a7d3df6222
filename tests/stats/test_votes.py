"""Win rates, strengths and corrected means: scipy, statsmodels and formulas by hand as oracles; coverage simulated."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from scipy import stats as scipy_stats
from statsmodels.api import GLM, families
from statsmodels.stats.inter_rater import cohens_kappa

from tunesmith import stats
from tunesmith.stats import newton, win_rates

PAIRS = [(0, 1), (0, 2), (1, 2)]
COUNTS = st.lists(st.lists(st.integers(0, 30), min_size=3, max_size=3), min_size=3, max_size=3)


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


def davidson_loss(point, pairs, counts, precision):
    """The penalized log-likelihood, negative, as the papers write it."""
    total = precision / 2 * float(point @ point)
    for (i, j), (wins, losses, ties) in zip(pairs, counts, strict=True):
        one, other, middle = np.exp(point[i]), np.exp(point[j]), np.exp(point[3] + (point[i] + point[j]) / 2)
        whole = one + other + middle
        total -= wins * np.log(one / whole) + losses * np.log(other / whole) + ties * np.log(middle / whole)
    return total


@given(COUNTS)
@settings(max_examples=15, deadline=None)
def test_strengths_with_ties_are_where_scipy_finds_the_largest_likelihood(counts):
    counts[0][2] += 1
    fitted = stats.bradley_terry(PAIRS, counts, 3)
    found = optimize.minimize(davidson_loss, np.zeros(4), args=(PAIRS, counts, newton.PRECISION), tol=1e-10)
    assert fitted.values == pytest.approx(found.x[:3] - found.x[:3].mean(), abs=1e-3)
    assert fitted.tie == pytest.approx(found.x[3], abs=1e-3)


def test_strengths_without_ties_are_a_logistic_regression(monkeypatch):
    monkeypatch.setattr("tunesmith.stats.strengths.PRECISION", 1e-9)
    counts = np.array([[70, 30, 0], [80, 20, 0], [55, 45, 0]])
    fitted = stats.bradley_terry(PAIRS, counts, 3)
    design = np.array([[-1, 0], [0, -1], [1, -1]])  # model 0 is the reference
    oracle = GLM(counts[:, :2], design, family=families.Binomial()).fit().params
    assert fitted.values[1:] - fitted.values[0] == pytest.approx(oracle, abs=1e-6)
    assert fitted.tie is None
    assert fitted.chances(0, 1)[0] == pytest.approx(1 / (1 + math.exp(oracle[0])))
    assert sum(fitted.chances(1, 2)) == pytest.approx(1)


def test_a_model_that_never_loses_has_a_finite_strength():
    fitted = stats.bradley_terry([(0, 1)], [[40, 0, 0]], 2)
    assert np.isfinite(fitted.values).all()
    assert fitted.chances(0, 1)[0] > 0.95


def test_what_was_never_compared_is_told():
    assert stats.connected_groups([(0, 1), (2, 3)], 4) == [[0, 1], [2, 3]]
    assert stats.connected_groups([(0, 1), (1, 2)], 3) == [[0, 1, 2]]


def test_intervals_of_strengths_cover_and_items_count_as_wholes():
    rng = np.random.default_rng(0)
    truth = np.array([0.6, 0.0, -0.6])
    covered = []
    for run in range(60):
        told = np.zeros((80, 3, 3))
        for column, (i, j) in enumerate(PAIRS):
            wins = rng.random(80) < sigmoid(truth[i] - truth[j])
            told[:, column, 0], told[:, column, 1] = 4 * wins, 4 * ~wins  # four votes that are one
        found = stats.strength_intervals(PAIRS, told, 3, num_resamples=100, seed=run)
        covered.append((found.low <= truth) & (truth <= found.high))
    assert 0.9 < np.mean(covered) < 0.99


@given(st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_the_logistic_model_is_that_of_scipy_with_a_ridge(seed):
    rng = np.random.default_rng(seed)
    features = np.column_stack([np.ones(60), rng.normal(0, 1, 60), rng.choice([-0.5, 0.5], 60)])
    labels = rng.choice([0, 0.5, 1], 60)

    def loss(point):
        logits = features @ point
        likelihood = labels * np.log(sigmoid(logits)) + (1 - labels) * np.log(sigmoid(-logits))
        return newton.PRECISION / 2 * point @ point - likelihood.sum()

    fitted = win_rates.logistic(features, labels, np.ones(60), np.zeros(3))
    assert fitted == pytest.approx(optimize.minimize(loss, np.zeros(3), tol=1e-10).x, abs=1e-3)


def votes(rng, num_items, quality, taste, place, longer):
    """Two votes an item, one in each order, of a judge with these log-odds."""
    items = np.repeat(np.arange(num_items), 2)
    first = np.tile([True, False], num_items)
    lengths = np.repeat(rng.normal(longer, 200, num_items), 2)
    logits = quality + taste * np.tanh(lengths / lengths.std()) + place * np.where(first, 0.5, -0.5)
    return (rng.random(items.size) < sigmoid(logits)).astype(float), lengths, first, items


def test_taste_for_length_and_place_is_found_and_taken_out():
    told = votes(np.random.default_rng(1), 1500, quality=0.0, taste=1.5, place=1.0, longer=200)
    found = stats.length_controlled(*told, num_resamples=100)
    assert told[0].mean() > 0.65, "raw, the longer answers win"
    assert found.low < 0.5 < found.high
    assert found.length_effect == pytest.approx(1.5, abs=0.4)
    assert found.place_effect == pytest.approx(1.0, abs=0.3)


def test_the_length_controlled_interval_covers():
    rng = np.random.default_rng(2)
    covered = []
    for run in range(80):
        told = votes(rng, 120, quality=0.4, taste=0.8, place=0.5, longer=60)
        found = stats.length_controlled(*told, num_resamples=80, seed=run)
        covered.append(found.low <= sigmoid(0.4) <= found.high)
    assert np.mean(covered) > 0.88


def test_ten_wins_of_ten_do_not_prove_certainty():
    told = (np.ones(20), np.zeros(20), np.tile([True, False], 10), np.repeat(np.arange(10), 2))
    assert stats.length_controlled(*told, num_resamples=50).low < 0.9
    low, high = stats.win_rate_interval([1] * 10)
    assert low < 0.9
    assert high == 1


@pytest.mark.parametrize("chances", [(0.05, 0.8, 0.15), (0.25, 0.5, 0.25), (0.2, 0.0, 0.8)])
def test_the_win_rate_interval_covers_with_and_without_ties(chances):
    rng = np.random.default_rng(3)
    truth = chances[2] + chances[1] / 2
    covered = []
    for _ in range(400):
        low, high = stats.win_rate_interval(rng.choice([0, 0.5, 1], 100, p=chances))
        covered.append(low <= truth <= high)
    assert np.mean(covered) > 0.93


def test_a_win_rate_is_of_items_won_lost_or_tied():
    with pytest.raises(ValueError, match="won"):
        stats.win_rate_interval([0.3])


def test_prediction_powered_means_are_the_papers_formulas():
    rng = np.random.default_rng(4)
    human, same, others = rng.random(60), rng.random(60), rng.random(300)
    found = stats.prediction_powered_mean(human, same, others, trust=1.0)
    center = others.mean() + (human - same).mean()
    error = math.sqrt(others.var(ddof=1) / 300 + (human - same).var(ddof=1) / 60)
    assert found.mean == pytest.approx(center)
    assert found.high - center == pytest.approx(scipy_stats.t.ppf(0.975, 59) * error)
    best = stats.prediction_powered_mean(human, 0.5 * human + 0.5 * same, others)
    every = np.concatenate([0.5 * human + 0.5 * same, others])
    trust = np.cov(human, 0.5 * human + 0.5 * same)[0, 1] / ((1 + 60 / 300) * every.var(ddof=1))
    assert best.trust == pytest.approx(min(max(trust, 0), 1))


def test_a_biased_judge_is_corrected_and_a_useless_one_does_no_harm():
    rng = np.random.default_rng(5)
    covered, widths = [], []
    for _ in range(300):
        truth = rng.random(400) < 0.4
        judge = np.where(rng.random(400) < 0.85, truth, True).astype(float)  # too fond of the new model
        found = stats.prediction_powered_mean(truth[:80], judge[:80], judge[80:])
        covered.append(found.low <= 0.4 <= found.high)
        alone = stats.mean_interval(truth[:80].astype(float))
        widths.append((found.high - found.low) / (alone[1] - alone[0]))
    assert np.mean(covered) > 0.92
    assert np.mean(widths) < 0.85, "the judge pays"
    human = (rng.random(80) < 0.4).astype(float)
    useless = stats.prediction_powered_mean(human, rng.random(80), rng.random(320))
    assert useless.trust < 0.3
    assert stats.prediction_powered_mean(human, human, []).mean == pytest.approx(human.mean())


def test_perfect_agreement_on_few_items_is_not_taken_for_proof():
    human = np.tile([1.0, 0.0], 10)
    found = stats.prediction_powered_mean(human, human, np.tile([1.0, 0.0], 5000))
    assert found.high - found.mean > 0.1


def test_agreement_is_cohens():
    first, second = list("aabbtttaab"), list("abbbttaaat")
    names = sorted(set(first))
    table = np.array([[sum(p == (r, c) for p in zip(first, second, strict=True)) for c in names] for r in names])
    found = stats.agreement(first, second)
    assert found.kappa == pytest.approx(cohens_kappa(table).kappa)
    assert found.share == pytest.approx(np.trace(table) / 10)
    assert math.isnan(stats.agreement(["a"], ["a"]).kappa)
