"""Learning rate as a function of the step."""

import pytest

from tunesmith.train.schedule import learning_rate_at


def rates(schedule, steps=100, warmup=10):
    return [learning_rate_at(step, steps, 1.0, warmup, schedule) for step in range(steps)]


def test_warmup_rises_linearly_to_the_peak():
    assert rates("cosine")[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])


def test_cosine_falls_to_a_tenth():
    after = rates("cosine")[10:]
    assert after == sorted(after, reverse=True)
    assert after[0] == 1.0
    assert after[-1] == pytest.approx(0.1, abs=0.01)


def test_constant_stays():
    assert set(rates("constant")[10:]) == {1.0}


def test_one_step_without_warmup():
    assert learning_rate_at(0, 1, 3e-4, 0, "cosine") == pytest.approx(3e-4)
