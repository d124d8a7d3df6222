"""Trackers get every figure, and nothing that they do, not even hanging, holds training up."""

import sys
import threading
import time
from types import SimpleNamespace

import pytest
from helpers import batches, model, plan, rendered
from safetensors.torch import load_file

from tunesmith.errors import MissingExtra
from tunesmith.model import ModelConfig
from tunesmith.train import TrainConfig, trackers, train
from tunesmith.train.plan import make_plan
from tunesmith.train.trackers import TRACKERS, Trackers, check_trackers, flat, run_name

CONFIG = {"learning_rate": 1e-4, "adapter": {"rank": 16}}


class Notes(list):
    """Records every call on it and on what it gives out."""

    def __getattr__(self, name):
        def call(*arguments, **options):
            self.append((name, arguments, options))
            return self

        return call


@pytest.fixture
def wire(monkeypatch):
    """Stand-ins for the packages: what would go over the network is noted."""
    notes = {name: Notes() for name in ("wandb", "mlflow", "trackio")}
    for name, each in notes.items():
        methods = ("init", "log", "finish", "set_experiment", "start_run", "log_params", "log_metrics", "end_run")
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**{method: getattr(each, method) for method in methods}))
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    return notes


def test_each_package_gets_its_run_config_and_figures(wire, tmp_path):
    folder = tmp_path / "my-run" / "train"
    with Trackers(("wandb", "mlflow", "trackio"), CONFIG, folder) as opened:
        opened.log(3, {"loss": 1.5, "loss_by_part": {"stop": 0.1}, "name": "left out"})
    figures = {"loss": 1.5, "loss_by_part/stop": 0.1}
    assert wire["wandb"] == [
        ("init", (), {"project": "tunesmith", "name": "my-run", "config": CONFIG, "dir": str(folder)}),
        ("log", (figures,), {"step": 3}),
        ("finish", (), {}),
    ]
    assert wire["mlflow"] == [
        ("set_experiment", ("tunesmith",), {}),
        ("start_run", (), {"run_name": "my-run"}),
        ("log_params", ({"learning_rate": 1e-4, "adapter/rank": 16},), {}),
        ("log_metrics", (figures,), {"step": 3}),
        ("end_run", (), {}),
    ]
    assert wire["trackio"] == [
        ("init", (), {"project": "tunesmith", "name": "my-run", "config": CONFIG, "resume": "allow"}),
        ("log", (figures,), {"step": 3}),
        ("finish", (), {}),
    ]


def test_tensorboard_files_hold_every_step(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Trackers(("tensorboard",), CONFIG, tmp_path / "run" / "train") as opened:
        for step in (1, 2, 3):
            opened.log(step, {"loss": 1 / step, "loss_by_part": {"stop": 0.25}})
    # Resumed from a checkpoint at step 2: what was written after it is replaced.
    with Trackers(("tensorboard",), CONFIG, tmp_path / "run" / "train", step=2) as opened:
        opened.log(3, {"loss": 9.0})
    found = EventAccumulator(str(tmp_path / "run" / "train" / "tensorboard"))
    found.Reload()
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [(1, 1.0), (2, 0.5), (3, 9.0)]
    assert [event.value for event in found.Scalars("loss_by_part/stop")] == [0.25, 0.25]


class Fails:
    """Fails in one of its methods."""

    def __init__(self, where):
        self.where, self.calls = where, []

    def _call(self, name):
        self.calls.append(name)
        if name == self.where:
            raise ConnectionError("network down")

    def open(self, *_):
        self._call("open")

    def log(self, *_):
        self._call("log")

    def close(self):
        self._call("close")


@pytest.mark.parametrize("where", ["open", "log", "close"])
def test_a_tracker_that_fails_is_left_out_after_one_warning(tmp_path, monkeypatch, where):
    bad, good, warnings = Fails(where), Fails(None), []
    monkeypatch.setitem(TRACKERS, "wandb", lambda: bad)
    monkeypatch.setitem(TRACKERS, "mlflow", lambda: good)
    with Trackers(("wandb", "mlflow"), CONFIG, tmp_path, warn=warnings.append) as opened:
        for step in range(5):
            opened.log(step, {"loss": 1.0})
    assert len(warnings) == 1
    assert "wandb" in warnings[0] and "network down" in warnings[0] and "metrics.jsonl" in warnings[0]
    assert good.calls == ["open", *["log"] * 5, "close"]


def test_a_tracker_that_hangs_holds_nothing_up(tmp_path, monkeypatch):
    released, warnings = threading.Event(), []
    hanging = SimpleNamespace(open=lambda *_: None, log=lambda *_: released.wait(), close=lambda: None)
    monkeypatch.setitem(TRACKERS, "wandb", lambda: hanging)
    monkeypatch.setattr(trackers, "CLOSE_SECONDS", 0.05)
    began = time.perf_counter()
    with Trackers(("wandb",), CONFIG, tmp_path, warn=warnings.append) as opened:
        for step in range(100):
            opened.log(step, {"loss": 1.0})
    released.set()
    assert time.perf_counter() - began < 10
    assert len(warnings) == 1 and "did not finish" in warnings[0]


def test_a_queue_that_overflows_gives_the_tracker_up(tmp_path, monkeypatch):
    released, warnings = threading.Event(), []
    hanging = SimpleNamespace(open=lambda *_: released.wait(), log=lambda *_: None, close=lambda: None)
    monkeypatch.setitem(TRACKERS, "wandb", lambda: hanging)
    monkeypatch.setattr(trackers, "MOST_WAITING", 3)
    with Trackers(("wandb",), CONFIG, tmp_path, warn=warnings.append) as opened:
        for step in range(10):
            opened.log(step, {"loss": 1.0})
        released.set()
    assert len(warnings) == 1 and "behind" in warnings[0]


def test_a_missing_package_is_named_with_its_extra():
    check_trackers(())
    absent = next(name for name in ("trackio", "mlflow", "wandb") if name not in sys.modules)
    real = trackers.importlib.util.find_spec
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trackers.importlib.util, "find_spec", lambda name: None if name == absent else real(name))
        with pytest.raises(MissingExtra, match=rf"pip install 'tunesmith\[{absent}\]'"):
            check_trackers((absent,))


def test_a_plan_says_so_before_anything_is_loaded(tiny_model_folder, monkeypatch):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"train\.trackers"):
        make_plan(TrainConfig(trackers=("mlflow",)), ModelConfig(name="none"), tiny_model_folder, batches(rendered(4)))


def test_the_names_of_the_config_are_those_of_the_trackers():
    field = TrainConfig.model_fields["trackers"].annotation
    assert set(field.__args__[0].__args__) == set(TRACKERS) == set(trackers.PACKAGES)


def test_a_training_is_the_same_with_a_tracker_that_dies(tiny_model_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(TRACKERS, "wandb", lambda: Fails("log"))
    for name, chosen in (("plain", ()), ("tracked", ("wandb",))):
        options = plan(3, trackers=chosen)
        train(options, model(tiny_model_folder), batches(rendered(12)), tmp_path / name / "train")
    plain, tracked = (
        load_file(tmp_path / name / "train" / "final" / "adapter_model.safetensors") for name in ("plain", "tracked")
    )
    assert all(plain[name].equal(tracked[name]) for name in plain)


def test_a_training_is_called_as_its_run_and_phase(tmp_path):
    assert run_name(tmp_path / "cron" / "train") == "cron"
    assert run_name(tmp_path / "cron" / "train" / "02-sft") == "cron/02-sft"


def test_flat_joins_names():
    assert flat({"a": {"b": {"c": 1}}, "d": 2}) == {"a/b/c": 1, "d": 2}
