"""The learning rate: a function of the step, with torch and transformers as oracles."""

import json
from itertools import pairwise

import pytest
import torch
from helpers import batches, death, model, plan, rendered
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import get_cosine_with_min_lr_schedule_with_warmup, get_linear_schedule_with_warmup, get_wsd_schedule

from tunesmith.errors import ConfigError
from tunesmith.train import ScheduleConfig, TrainConfig, train
from tunesmith.train.schedule import Plateau, Schedule, learning_rate_at
from tunesmith.train.warmup import Warmup, parse_warmup

KINDS = ["cosine", "linear", "constant", "wsd"]


def rates(config, steps=100, warmup=10):
    """The rate of each step, and of the one after the last."""
    return [learning_rate_at(config, step, steps, warmup, 1.0) for step in range(steps + 1)]


def config(kind="cosine", **options):
    return ScheduleConfig(kind=kind, **options)


@settings(max_examples=50, deadline=None)
@given(kind=st.sampled_from(KINDS), steps=st.integers(1, 300), warmup=st.integers(0, 300), final_share=st.floats(0, 1))
def test_it_rises_to_the_peak_and_falls_to_the_floor_without_jumps(kind, steps, warmup, final_share):
    assume(warmup < steps)
    asked = config(kind, **({} if kind == "constant" else {"final_share": final_share}))
    found = rates(asked, steps, warmup)
    assert found[: warmup + 1] == sorted(found[: warmup + 1]) and found[warmup] == 1.0
    assert found[warmup:] == sorted(found[warmup:], reverse=True)
    assert found[-1] == pytest.approx(1.0 if kind == "constant" else final_share)
    falling = steps - warmup if kind != "wsd" else max(1, min(steps - warmup, round(steps * asked.decay_share)))
    steepest = {"cosine": 1.58, "linear": 1.01, "wsd": 1.01, "constant": 0}[kind] * (1 - final_share) / falling
    assert all(abs(a - b) <= max(steepest, 1 / max(warmup, 1)) + 1e-9 for a, b in pairwise(found))


@pytest.mark.parametrize("warmup", [0, 7])
@pytest.mark.parametrize("kind", ["cosine", "linear", "wsd"])
def test_it_is_the_schedule_of_transformers(kind, warmup):
    """After the warmup the same; in it transformers begins at zero, and so is one step behind."""
    steps = 60
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs, final_share = {
        "cosine": (get_cosine_with_min_lr_schedule_with_warmup(optimizer, warmup, steps, min_lr_rate=0.1), 0.1),
        "linear": (get_linear_schedule_with_warmup(optimizer, warmup, steps), 0.0),
        "wsd": (get_wsd_schedule(optimizer, warmup, 15, steps, decay_type="linear", min_lr_ratio=0.0), 0.0),
    }[kind]
    expected = [theirs.lr_lambdas[0](step + (step < warmup)) for step in range(steps)]
    ours = rates(
        config(kind, final_share=final_share, **({"decay_share": 0.25} if kind == "wsd" else {})), steps, warmup
    )
    assert ours[:steps] == pytest.approx(expected)


def test_cosine_falls_to_a_tenth_unless_asked_otherwise():
    assert rates(config())[-2] == pytest.approx(0.1, abs=0.01)


def test_one_step_without_warmup():
    assert learning_rate_at(config(), 0, 1, 0, 3e-4) == pytest.approx(3e-4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (0.05, Warmup(0.05, "share")),
        (0, Warmup(0, "share")),
        ("100 steps", Warmup(100, "steps")),
        ("1 step", Warmup(1, "steps")),
        ("2e6 tokens", Warmup(2e6, "tokens")),
        ("2_000_000 tokens", Warmup(2e6, "tokens")),
        ("1,500 Tokens", Warmup(1500, "tokens")),
    ],
)
def test_a_warmup_is_a_share_steps_or_tokens(text, expected):
    assert parse_warmup(text) == expected


@pytest.mark.parametrize("wrong", [1, 100, -0.1, float("nan"), "0.1", "steps", "ten steps", "1.5 steps", "1..5 tokens"])
def test_a_wrong_warmup_says_what_is_accepted(wrong):
    with pytest.raises(ConfigError, match=r"schedule.warmup: .*100 steps"):
        TrainConfig.parse({"schedule": {"warmup": wrong}})


def test_warmup_in_steps_is_that_many_and_in_tokens_an_expectation():
    assert parse_warmup("7 steps").num_steps(100, 50.0) == 7
    assert parse_warmup("700 steps").num_steps(100, 50.0) == 100
    assert parse_warmup("101 tokens").num_steps(100, 50.0) == 3
    assert parse_warmup(0.1).num_steps(100, 50.0) == 10


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(1, 500), min_size=2, max_size=40), warmup=st.integers(1, 5000))
def test_a_warmup_in_tokens_rises_with_the_tokens_seen(sizes, warmup):
    asked = config("constant", warmup=f"{warmup} tokens")
    schedule, seen = Schedule(asked, len(sizes), 3, 1.0), 0
    for step, size in enumerate(sizes):
        seen += size
        assert schedule.rate(step, size) == pytest.approx(min(1.0, seen / warmup))
        schedule.count(size)
        resumed = Schedule(asked, len(sizes), 3, 1.0)
        resumed.restore(json.loads(json.dumps(schedule.state())))
        assert resumed.rate(step + 1, 5) == schedule.rate(step + 1, 5)


def test_a_killed_run_with_a_warmup_in_tokens_resumes_to_the_same_bytes(tiny_model_folder, tmp_path):
    options = {"checkpoint_steps": 2, "schedule": {"warmup": "300 tokens"}}

    def trained(folder, die_at):
        return train(
            plan(6, **options), model(tiny_model_folder), batches(rendered(8), 3, epochs=3), folder, [death(die_at)]
        )

    whole = trained(tmp_path / "whole", None)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed", 3)
    assert trained(tmp_path / "killed", None).digest == whole.digest
    lines = [json.loads(line) for line in (tmp_path / "killed" / "metrics.jsonl").open()]
    seen = 0
    for line in lines:
        seen += line["num_tokens"]
        assert line["learning_rate"] <= 1e-2 * min(1.0, seen / 300) + 1e-12
    assert lines[0]["learning_rate"] == pytest.approx(1e-2 * lines[0]["num_tokens"] / 300)


@settings(max_examples=60, deadline=None)
@given(
    losses=st.lists(st.floats(0.1, 10), max_size=40),
    patience=st.integers(0, 4),
    factor=st.floats(0.1, 0.9),
    floor=st.floats(0, 0.5),
    cut=st.integers(0, 40),
)
def test_plateau_is_torchs_and_survives_resuming(losses, patience, factor, floor, cut):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=factor, patience=patience, min_lr=floor, eps=0.0
    )
    asked = config("plateau", plateau_factor=factor, plateau_patience=patience, final_share=floor)
    ours = Plateau(asked)
    for index, loss in enumerate(losses):
        if index == cut:
            state = json.loads(json.dumps(ours.state()))
            ours = Plateau(asked)
            ours.restore(state)
        ours.observe(loss)
        theirs.step(loss)
        assert ours.factor == optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [("constant", "final_share", 0.2), ("cosine", "decay_share", 0.3), ("wsd", "plateau_factor", 0.1)],
)
def test_fields_that_nothing_would_read_are_refused(kind, field, value):
    with pytest.raises(ConfigError, match=f"{field} is for .* does not go with kind '{kind}'"):
        TrainConfig.parse({"schedule": {"kind": kind, field: value}})


def test_a_validation_loss_that_is_no_number_is_not_better():
    plateau = Plateau(config("plateau", plateau_patience=0))
    plateau.observe(float("nan"))
    assert plateau.factor == 0.5


def test_only_plateau_heeds_validations():
    for kind, expected in (("plateau", 0.5), ("constant", 1.0)):
        schedule = Schedule(config(kind, warmup=0), 10, 0, 1.0)
        for _ in range(4):
            schedule.observe(1.0)
        assert schedule.rate(5, 1) == expected
