"""learning_rate = "auto": a sweep that finds a good rate and leaves no trace."""

import json
import math

import pytest
import torch
from helpers import batches, death, model, rendered
from safetensors.torch import load_file

from tunesmith.errors import ConfigError, TrainError
from tunesmith.model import ModelConfig
from tunesmith.train import TrainConfig, range_test, train
from tunesmith.train.adapter import prepare
from tunesmith.train.objectives.supervised import Supervised
from tunesmith.train.plan import make_plan
from tunesmith.train.range_test import Sweep, suggested, sweep

SCHEDULE_FREE = {"optimizer": {"kind": "schedule_free"}, "schedule": {"kind": "constant"}}


@pytest.fixture
def short(monkeypatch):
    """A sweep in larger strides."""
    monkeypatch.setattr(range_test, "NUM_STEPS", 22)
    monkeypatch.setattr(range_test, "NUM_ROWS", 3)


def stream():
    return batches(rendered(8), 4, epochs=3)


def plan_of(folder, dtype="float32", **options):
    config = TrainConfig(learning_rate="auto", **options)
    return make_plan(config, ModelConfig(name=str(folder), dtype=dtype), folder, stream())


def curve(*smoothed, start=5.0):
    rates = tuple(10.0 ** (index - 6) for index in range(len(smoothed)))
    return Sweep(rates, smoothed, smoothed, start)


def test_the_suggestion_is_a_tenth_of_the_best_rate():
    assert suggested(curve(5.0, 4.9, 4.0, 3.5, 6.0)) == pytest.approx(1e-4)


@pytest.mark.parametrize("smoothed", [(), (5.0, 5.1, 5.2), (5.2, 5.1, 5.05), (4.9, 5.0, 6.0)])
def test_a_loss_that_never_falls_gives_no_suggestion(smoothed):
    with pytest.raises(TrainError, match=r"no learning rate from 1e-07 to 1 .* give train.learning_rate a number"):
        suggested(curve(*smoothed))


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        ("float32", {"adapter": {"dropout": 0.1}}),
        ("float32", {"method": "full"}),
        ("bfloat16", {"method": "full", "optimizer": {"precision": "stochastic_rounding"}}),
        ("bfloat16", {"method": "full", **SCHEDULE_FREE}),
    ],
)
def test_training_after_the_test_is_training_with_that_rate(tiny_model_folder, tmp_path, short, dtype, options):
    """To the same bytes: weights, moments, random state and place in the data are as if there had been no test."""
    train(plan_of(tiny_model_folder, dtype, **options), model(tiny_model_folder, dtype), stream(), tmp_path / "auto")
    rate = json.loads((tmp_path / "auto" / "range_test.json").read_text())["learning_rate"]
    config = TrainConfig(learning_rate=rate, **options)
    plan = make_plan(config, ModelConfig(name=str(tiny_model_folder), dtype=dtype), tiny_model_folder, stream())
    train(plan, model(tiny_model_folder, dtype), stream(), tmp_path / "given")
    name = "model.safetensors" if options.get("method") == "full" else "adapter_model.safetensors"
    found, given = (load_file(tmp_path / run / "final" / name) for run in ("auto", "given"))
    assert all(torch.equal(found[key], given[key]) for key in given) and found.keys() == given.keys()
    rates = [
        [json.loads(line)["learning_rate"] for line in (tmp_path / run / "metrics.jsonl").open()]
        for run in ("auto", "given")
    ]
    assert rates[0] == rates[1] and max(rates[0]) == pytest.approx(rate, rel=0.1)


def test_the_rate_is_where_the_loss_falls(tiny_model_folder):
    network = prepare(model(tiny_model_folder), TrainConfig(method="full"))
    plan = plan_of(tiny_model_folder, method="full")
    found = sweep(plan, network, Supervised(), stream())
    rate = suggested(found)
    assert 1e-4 < rate < 1e-1
    assert found.losses[0] == pytest.approx(found.start)
    assert list(found.rates) == sorted(found.rates)
    assert min(found.smoothed) < found.start - 0.3
    assert found.rates[0] == range_test.LOWEST


def test_the_sweep_stops_where_training_diverges(tiny_model_folder, monkeypatch):
    monkeypatch.setattr(range_test, "HIGHEST", 1e6)
    network = prepare(model(tiny_model_folder), TrainConfig(method="full"))
    found = sweep(plan_of(tiny_model_folder, method="full"), network, Supervised(), stream())
    assert len(found.rates) < range_test.NUM_STEPS
    assert all(math.isfinite(loss) for loss in found.losses)
    assert all(loss <= found.start + 1 for loss in found.smoothed[:-1])


@pytest.mark.parametrize("dies", [False, True])
def test_the_sweep_leaves_no_trace(tiny_model_folder, monkeypatch, short, dies):
    network = prepare(model(tiny_model_folder), TrainConfig(adapter={"dropout": 0.2}))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    data = stream()
    next(iter(data))
    position, random = data.state(), torch.get_rng_state()
    if dies:
        monkeypatch.setattr(range_test, "_steps", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            sweep(plan_of(tiny_model_folder), network, Supervised(), data)
    else:
        sweep(plan_of(tiny_model_folder), network, Supervised(), data)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert (data.state(), torch.equal(random, torch.get_rng_state())) == (position, True)


def test_a_resumed_run_reads_the_rate_it_found(tiny_model_folder, tmp_path, short, monkeypatch):
    plan = plan_of(tiny_model_folder, checkpoint_steps=2)

    def trained(folder, die_at):
        return train(plan, model(tiny_model_folder), stream(), folder, [death(die_at)])

    whole = trained(tmp_path / "whole", None)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed", 3)
    monkeypatch.setattr(range_test, "sweep", lambda *_: pytest.fail("the rate was searched again"))
    assert trained(tmp_path / "killed", None).digest == whole.digest


def test_the_plan_is_true_before_and_after(tiny_model_folder, tmp_path, short):
    plan = plan_of(tiny_model_folder)
    (line,) = [line for line in plan.lines if line.name == "learning rate"]
    assert (plan.learning_rate, line.value) == (None, "auto")
    train(plan, model(tiny_model_folder), stream(), tmp_path)
    kept = json.loads((tmp_path / "plan.json").read_text())
    found = json.loads((tmp_path / "range_test.json").read_text())
    (line,) = [line for line in kept["lines"] if line["name"] == "learning rate"]
    assert kept["learning_rate"] == found["learning_rate"]
    assert line["value"] == f"{found['learning_rate']:.1e}" and "range test" in line["reason"]
    assert kept["config"]["learning_rate"] == "auto"
    assert len(found["sweep"]["rates"]) == len(found["sweep"]["smoothed"]) > 10
    assert plan.learning_rate is None
    chart = (tmp_path / "range_test.svg").read_text()
    assert chart.startswith("<svg") and f"chosen: {found['learning_rate']:.1e}" in chart


@pytest.mark.parametrize("wrong", ["fast", 0, -1e-4])
def test_other_words_and_rates_are_refused(wrong):
    with pytest.raises(ConfigError, match="learning_rate"):
        TrainConfig.parse({"learning_rate": wrong})
