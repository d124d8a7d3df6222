"""The gate's simulation in small: levels, power, and the default policy on whole reports."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "gate.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("gate_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "gate_benchmark", module)
        patch.syspath_prepend(FILE.parent)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def test_at_the_true_boundary_at_most_five_percent_pass(benchmark, rng):
    rows = benchmark.boundary(rng, 200, (300,))
    assert {row["cluster_size"] for row in rows} == {1, 2, 5}
    for row in rows:
        assert row["false_pass"] <= 0.05 + 4 * row["error"], row


def test_the_items_that_are_named_settle_it_in_four_of_five_cases(benchmark, rng):
    rows = [row for row in benchmark.power(rng, 150) if row["n"] * row["discordance"] >= 40]
    assert len(rows) > 8
    for row in rows:
        assert abs(row["power"] - row["theory"]) <= 0.03 + 4 * row["error"], row


@pytest.mark.parametrize("number", [1, 3, 5, 9], ids=["harmless", "lost", "diverged", "refuses"])
def test_the_default_policy_passes_harmless_tunes_and_fails_planted_harms(benchmark, rng, number):
    from tunesmith.gate import GateConfig, gate

    tune = benchmark.TUNES[number]
    outcomes = [gate(GateConfig(), *benchmark.reports(rng, tune)).outcome for _ in range(6)]
    assert outcomes.count("PASS" if tune.is_harmless else "FAIL") >= 4


def test_simulated_clusters_have_the_correlation_that_was_asked_for(benchmark, rng):
    changes, codes = benchmark.clustered(rng, 50_000, 5, 0.4, 0.1, 0.1, 1)
    sums = np.bincount(codes, weights=changes[0])
    assert sums.var() / (5 * changes[0].var()) == pytest.approx(1 + 4 * 0.4, rel=0.08)
    assert (changes[0] < 0).mean() == pytest.approx(0.1, abs=0.01)


def test_early_stops_keep_their_level(benchmark, rng):
    rows = {(row["discordance"], row["true_difference"]): row for row in benchmark.stopping(rng, 150)}
    assert rows[0.1, -0.02]["PASS"] <= 0.11
    assert rows[0.02, 0.0]["PASS"] >= 0.93 and rows[0.02, 0.0]["median_items"] < 500
    assert rows[0.1, -0.05]["FAIL"] >= 0.95
