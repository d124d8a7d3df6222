"""Averages of the weights: what they are, that they are the result, and that resuming changes nothing."""

import pytest
import torch
from helpers import batches, death, model, plan, rendered
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from tunesmith.errors import ConfigError, TrainError
from tunesmith.train import AverageConfig, TrainConfig, train
from tunesmith.train.averaging import Ema, LastStates


def spied(folder, model_folder, die_at=None, **options):
    """A training to its end, with the exact weights after each step."""
    import tunesmith.train.loop as loop

    states = {}
    real = loop.train_step

    def spy(engine, batch, step):
        made = real(engine, batch, step)
        states[step + 1] = {name: weight.clone() for name, weight in engine.optimizer.final_weights().items()}
        return made

    config = plan(9, checkpoint_steps=2, final="average", adapter={"dropout": 0.1}, **options)
    loop.train_step = spy
    try:
        made = train(config, model(model_folder), batches(rendered(10), 2, epochs=2), folder, [death(die_at)])
    finally:
        loop.train_step = real
    return made, states


def saved(checkpoint):
    return load_file(checkpoint.path / "adapter_model.safetensors")


def assert_is(found, expected):
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name.replace(".default.", ".")], tensor.float(), rtol=1e-5, atol=1e-7)


def test_the_mean_of_the_last_states_is_the_result(tiny_model_folder, tmp_path):
    made, states = spied(tmp_path, tiny_model_folder, average={"states": 3})
    mean = {name: sum(states[step][name].double() for step in (6, 8, 9)) / 3 for name in states[9]}
    assert_is(saved(made), mean)
    assert made.step == 9
    assert sorted(path.name for path in (tmp_path / "averaged").iterdir()) == ["step-000006", "step-000008"]


def test_the_moving_average_is_the_result(tiny_model_folder, tmp_path):
    """Oracle: the recurrence in float64; LoRA's B begins at 0, its A is that of the first step before it moved."""
    made, states = spied(tmp_path, tiny_model_folder, average={"ema_decay": 0.8})
    found = saved(made)
    for name in states[9]:
        if "lora_B" in name:
            average = torch.zeros_like(states[1][name], dtype=torch.float64)
            for step in range(1, 10):
                decay = min(0.8, (1 + step) / (10 + step))
                average = decay * average + (1 - decay) * states[step][name].double()
            assert_is(found, {name: average})


@settings(max_examples=20, deadline=None)
@given(decay=st.floats(0.1, 0.999), num_steps=st.integers(1, 15))
def test_a_moving_average_of_what_does_not_move_is_itself(decay, num_steps):
    weights = {"a": torch.full((3,), 2.0)}
    ema = Ema(weights, decay)
    for step in range(1, num_steps + 1):
        ema.after_step(step, weights)
    torch.testing.assert_close(ema.result(num_steps, weights)["a"], weights["a"])


@pytest.mark.parametrize("average", [{"ema_decay": 0.8}, {"states": 3}])
@pytest.mark.parametrize("deaths", [(3, 7), (1, 6, 9)])
def test_a_killed_training_has_the_same_average_to_the_last_byte(tiny_model_folder, tmp_path, average, deaths):
    whole, _ = spied(tmp_path / "whole", tiny_model_folder, average=average)
    for die_at in deaths:
        with pytest.raises(KeyboardInterrupt):
            spied(tmp_path / "killed", tiny_model_folder, die_at, average=average)
    again, _ = spied(tmp_path / "killed", tiny_model_folder, average=average)
    assert again.digest == whole.digest


def test_a_stop_between_checkpoints_adds_no_state(tiny_model_folder, tmp_path, monkeypatch):
    """Ctrl-C saves a checkpoint of its own, which must not enter the mean."""
    import signal

    import tunesmith.train.loop as loop
    from tunesmith.errors import Interrupted

    whole, _ = spied(tmp_path / "whole", tiny_model_folder, average={"states": 4})
    real = loop.measure

    def interrupt(probes, step, *arguments):
        if step == 5:
            signal.raise_signal(signal.SIGINT)
        return real(probes, step, *arguments)

    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(loop, "measure", interrupt)
        spied(tmp_path / "stopped", tiny_model_folder, average={"states": 4})
    again, _ = spied(tmp_path / "stopped", tiny_model_folder, average={"states": 4})
    assert again.digest == whole.digest


def test_states_after_the_resumed_step_do_not_count(tmp_path):
    states = LastStates(tmp_path, 3)
    for step in (2, 4, 6):
        states.before_checkpoint(step, {"a": torch.full((2,), float(step))})
    # Resumed from step 2, it reaches its end at step 5: 4 was made anew, 6 is of another life.
    mean = states.result(5, {"a": torch.full((2,), 5.0)})
    assert mean["a"].tolist() == [(4 + 5) / 2] * 2


def test_a_damaged_state_is_named(tmp_path):
    states = LastStates(tmp_path, 3)
    states.before_checkpoint(2, {"a": torch.zeros(2)})
    (tmp_path / "step-000002" / "weights.safetensors").write_bytes(b"torn")
    with pytest.raises(TrainError, match=r"step-000002/weights\.safetensors: cannot be read"):
        states.result(3, {"a": torch.zeros(2)})


def test_an_average_that_nothing_reads_is_refused():
    with pytest.raises(ConfigError, match='read only where final = "average"'):
        TrainConfig.parse({"average": {"ema_decay": 0.9}})
    assert TrainConfig.parse({"average": {"ema_decay": 0.9}, "final": "average"}).average == AverageConfig(
        ema_decay=0.9
    )


def test_the_plan_counts_the_memory_of_a_moving_average(tiny_model_folder, monkeypatch):
    import tunesmith.train.plan as planning
    from tunesmith.model import ModelConfig

    monkeypatch.setattr(planning, "_gb", lambda size: f"{size:.0f}")

    def memory(**options):
        asked = ModelConfig(name=str(tiny_model_folder), dtype="float32")
        made = planning.make_plan(TrainConfig(method="full", **options), asked, tiny_model_folder, batches(rendered(4)))
        return next(line for line in made.lines if line.name == "memory")

    plain, averaged = memory(), memory(final="average", average={"ema_decay": 0.9})
    num_weights = sum(tensor.numel() for tensor in load_file(tiny_model_folder / "model.safetensors").values())
    assert f"the moving average {4 * num_weights}," in averaged.reason
    assert "moving average" not in plain.reason
    totals = [int(line.value.removeprefix("about ")) for line in (plain, averaged)]
    assert totals[1] - totals[0] == 4 * num_weights
