"""The benchmark of shared prefixes measures what it says, on a tiny model."""

import importlib.util
from pathlib import Path

import pytest
from helpers import contexts, model

from tunesmith.branches import split
from tunesmith.train import TrainConfig
from tunesmith.train.adapter import prepare

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "shared_prefix.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("shared_prefix", FILE)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FILE.parent)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def batches(benchmark):
    (tree,) = benchmark.synthetic_trees(1, 3, 300, seed=0)
    return {"shared_prefix": benchmark.one_batch([tree], 4096), "split": benchmark.one_batch(split(tree), 4096)}


def test_a_synthetic_turn_sees_earlier_questions_and_answers_but_no_reasoning(benchmark):
    (tree,) = benchmark.synthetic_trees(1, 6, 300, seed=0)
    assert tree.branches.shape == (6, 2)
    trained = tree.loss_weights != 0
    for seen in contexts(tree.branches, tree.num_tokens):
        flips = [token for token, before in zip(seen[1:], seen, strict=False) if trained[token] != trained[before]]
        assert len(flips) <= 1  # context, then at most one trained turn
    longest = max(piece.num_tokens for piece in split(tree))
    assert 6 * 30 + 5 * 45 + 195 <= longest <= 6 * 70 + 5 * 75 + 375


def test_it_measures_both_layouts_and_the_gradient(benchmark, batches, tiny_model_folder):
    network = prepare(model(tiny_model_folder), TrainConfig(method="full"))
    found, gradients = benchmark.measure(network, batches, rounds=2, dtype="float32")
    again, _ = benchmark.measure(network, batches, rounds=1, dtype="float32", reference=gradients)
    assert found.gradient_distance < found.gradient_difference < 1e-4
    assert (found.rounding_distance, again.rounding_distance) == (None, 0.0)
    assert [len(seconds) for seconds in found.seconds.values()] == [2, 2]
    assert found.num_tokens["shared_prefix"] < found.num_tokens["split"]
    assert found.num_seen["split"] == sum(
        piece.num_tokens * (piece.num_tokens + 1) // 2 for piece in split(benchmark.synthetic_trees(1, 3, 300, 0)[0])
    )
    assert benchmark.table([found]).count("\n") == 4
    assert "gradients differ by at most" in benchmark.gradient_lines([found, again])
