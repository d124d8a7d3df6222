"""Several ranks train what one process trains: gloo on the CPU, in processes of their own."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import plan
from hypothesis import given
from hypothesis import strategies as st
from rank_worker import run_job
from safetensors.torch import load_file
from typer.testing import CliRunner

from tunesmith.cli import app
from tunesmith.errors import Interrupted, TrainError
from tunesmith.pack import pack_rows
from tunesmith.pipeline import run
from tunesmith.recipe import build_recipe, to_toml
from tunesmith.train import Start
from tunesmith.train.parallel.ranks import ALONE, Ranks
from tunesmith.train.parallel.shard import check_supported
from tunesmith.train.parallel.share import share
from tunesmith.types import Rendered

CASES = {
    **{f"{method} {rows}": {"method": method, "rows": rows} for method in ("full", "lora") for rows in (1, 3, 5)},
    # The kernels serve one process and round in their own way; here both must do the same operations.
    "bfloat16": {"dtype": "bfloat16", "options": {"kernels": "off"}},
    "frozen": {"dtype": "bfloat16", "options": {"kernels": "off", "freeze": ["layers.0.mlp"]}},
    "dora": {"method": "lora", "options": {"adapter": {"kind": "dora"}}},
    "schedule free": {"options": {"optimizer": {"kind": "schedule_free"}, "schedule": {"kind": "constant"}}},
    "dpo": {"options": {"objective": {"kind": "dpo"}}},
    "noise": {"options": {"noise": {"kind": "gaussian", "where": "layers"}}},
    "average": {"options": {"final": "average", "average": {"ema_decay": 0.5}}},
    "recomputed": {"options": {"gradient_checkpointing": True}},
}
WORKER = Path(__file__).with_name("rank_worker.py")
FULL_WEIGHTS, ADAPTER = "model.safetensors", "adapter_model.safetensors"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(world_size, jobs, folder, timeout_seconds=60):
    """Start the ranks without torchrun; gives the processes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"jobs-{world_size}.json"
    path.write_text(json.dumps({"timeout_seconds": timeout_seconds, "jobs": jobs}))
    common = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(WORKER.parent), str(WORKER.parents[1]), *sys.path]),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": str(world_size),
        "OMP_NUM_THREADS": "1",
    }
    return [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(path)],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world_size)
    ]


def finish(processes, seconds=300):
    """Wait for all ranks; gives their exit codes and what they complained of."""
    try:
        said = [process.communicate(timeout=seconds)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], said


def run_ranks(world_size, jobs, folder):
    codes, said = finish(start(world_size, jobs, folder))
    assert codes == [0] * world_size, "\n".join(said)


def job(folder, out, **changes):
    return {"model": str(folder), "out": str(out), "method": "full", "rows": 3, "steps": 3, **changes}


def saved(out, method="full"):
    return load_file(Path(out) / "final" / (ADAPTER if method == "lora" else FULL_WEIGHTS))


def assert_close(one, other, tolerance=1e-5):
    """Equal but for rounding, on the scale of each tensor's largest value."""
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        difference = (tensor.double() - other[name].double()).abs().max()
        assert difference <= tolerance * tensor.abs().max().clamp(min=1e-6), (name, float(difference))


# Sharing rows


def rows_of(sizes, silent=()):
    made = []
    for index, size in enumerate(sizes):
        weights = np.full(size, 0 if index in silent else 1, np.float32)
        weights[0] = 0
        made += pack_rows([Rendered(f"c{index}", np.arange(size, dtype=np.int32), weights)], 1000)
    return made


@given(
    sizes=st.lists(st.integers(2, 40), min_size=1, max_size=30),
    world_size=st.integers(1, 40),
    silent=st.sets(st.integers(0, 29)),
)
def test_each_row_that_trains_counts_on_exactly_one_rank(sizes, world_size, silent):
    rows = rows_of(sizes, silent)
    shares = [share(rows, rank, world_size) for rank in range(world_size)]
    counted = sorted(one.number for passes in shares for one in passes if one.counts)
    training = [index for index, row in enumerate(rows) if row.loss_weights.any()]
    assert [number for number in counted if number in training] == training
    assert counted == (list(range(len(rows))) if world_size == 1 else training)
    assert len({len(passes) for passes in shares}) == 1, "a collective operation needs every rank"
    assert all(one.row is rows[one.number] for passes in shares for one in passes)


@given(sizes=st.lists(st.integers(2, 40), min_size=1, max_size=30), world_size=st.integers(2, 9))
def test_the_rows_of_a_pass_are_as_alike_as_they_can_be(sizes, world_size):
    """The time of a step is the sum of the longest row of each pass; dealing by length makes it smallest."""
    rows = rows_of(sizes)
    shares = [share(rows, rank, world_size) for rank in range(world_size)]
    time = sum(max(one.row.num_tokens for one in one_pass) for one_pass in zip(*shares, strict=True))
    assert time == sum(sorted(sizes, reverse=True)[::world_size])


# The same training


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory, tiny_model_folder):
    """One launch of two ranks does the jobs of all fast tests, for starting takes longest."""
    folder = tmp_path_factory.mktemp("two-ranks")
    jobs = [job(tiny_model_folder, folder / name, **changes) for name, changes in CASES.items()]
    longer = {"method": "lora", "steps": 6, "checkpoint_steps": 2, "options": {"adapter": {"dropout": 0.1}}}
    whole, again = (job(tiny_model_folder, folder / name, **longer) for name in ("whole", "resumed"))
    stop = {**again, "fault": {"kind": "interrupt", "rank": 1, "step": 5}}
    run_ranks(2, [*jobs, whole, stop, again], folder)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_have_the_gradients_and_weights_of_one_process(two_ranks, tiny_model_folder, tmp_path, case):
    """In bfloat16 too: a row's gradient is rounded as in one process, and the sum over rows is made in float32. Later
    steps may then round otherwise, and so Adam may turn the smallest gradients around."""
    changes = CASES[case]
    run_job(job(tiny_model_folder, tmp_path, **changes))
    tolerance = 0.1 if changes.get("dtype") == "bfloat16" else 1e-3
    assert_same_training(tmp_path, two_ranks / case, changes.get("method", "full"), tolerance)


def assert_same_training(one, other, method, tolerance=1e-3):
    assert_close(load_file(one / "gradients.safetensors"), load_file(other / "gradients.safetensors"))
    assert_close(saved(one, method), saved(other, method), tolerance)
    for line, another in zip(metrics(one), metrics(other), strict=True):
        for name, value in line.items():
            assert another[name] == (value if isinstance(value, str) else pytest.approx(value, rel=tolerance, abs=1e-5))


def metrics(folder):
    """The lines of metrics.jsonl, without what depends on the clock and the machine."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if not re.search("second|matmul|memory", key)} for line in lines]


def test_control_c_on_one_rank_saves_on_all_and_resuming_gives_the_same_bytes(two_ranks):
    """With dropout, whose random state each rank keeps for itself."""
    assert (two_ranks / "resumed" / "interrupted").read_text().startswith("stopped at step 5 of 6")
    files = [two_ranks / name / "final" / ADAPTER for name in ("whole", "resumed")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert metrics(two_ranks / "whole") == metrics(two_ranks / "resumed")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizer": {"kind": "muon"}}, "muon"),
        ({"optimizer": {"kind": "adamw_8bit"}}, "adamw_8bit"),
        ({"adapter": {"new_tokens": ["a"]}}, "new_tokens"),
        ({"adapter": {"quantize": "int8"}}, "quantize"),
        ({"samples": {"prompts": ["Hello"]}}, "samples"),
        ({"final": "average"}, "average"),
        ({"optimizer": {"precision": "stochastic_rounding"}}, "stochastic_rounding"),
    ],
)
def test_what_several_ranks_do_not_do_is_refused_by_name(options, words):
    asked = plan(1, **options)
    check_supported(asked, ALONE)
    with pytest.raises(TrainError, match=f"not done on 2 ranks: .*{words}"):
        check_supported(asked, Ranks(0, 2))


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"learning_rate": None}, "range test"), ({"keeps_state": True}, "phase"), ({"start": Start(Path("a"))}, "phase")],
)
def test_range_tests_and_chains_of_phases_are_refused_on_several_ranks(changes, words):
    with pytest.raises(TrainError, match=f"not done on 2 ranks: .*{words}"):
        check_supported(replace(plan(1), **changes), Ranks(0, 2))


# Four ranks, and other numbers of ranks after a checkpoint


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_four_ranks_have_the_gradients_and_weights_of_one_process(tiny_model_folder, tmp_path):
    """More ranks than rows, adapters with fewer rows than ranks, and a whole copy of the weights in each half."""
    layouts = ((1, None), (3, None), (5, None), (5, 2))
    cases = [(method, rows, shards) for method in ("full", "lora") for rows, shards in layouts]
    jobs = [
        job(
            tiny_model_folder, tmp_path / f"{method}-{rows}-{shards}", method=method, rows=rows,
            options={"parallel": {"shard_ranks": shards}, "adapter": {"rank": 2}},
        )
        for method, rows, shards in cases
    ]  # fmt: skip
    run_ranks(4, jobs, tmp_path)
    for method, rows, shards in cases:
        name = f"{method}-{rows}-{shards}"
        options = {"adapter": {"rank": 2}}
        run_job(job(tiny_model_folder, tmp_path / "one" / name, method=method, rows=rows, options=options))
        assert_same_training(tmp_path / "one" / name, tmp_path / name, method)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_checkpoint_is_read_by_any_number_of_ranks(tiny_model_folder, tmp_path, method, capsys):
    """Two ranks, then one process, then four ranks: the same data order, and the weights of one process to rounding."""

    def until(step, out):
        fault = {"kind": "interrupt", "rank": 0, "step": step} if step else None
        return job(tiny_model_folder, out, method=method, steps=9, checkpoint_steps=2, fault=fault)

    moved = tmp_path / "moved"
    run_ranks(2, [until(2, moved)], tmp_path)
    with pytest.raises(Interrupted):
        run_job(until(4, moved))
    assert "ranks 2 -> 1): the data come in the same order" in capsys.readouterr().err
    run_ranks(4, [until(None, moved)], tmp_path)
    run_job(until(None, tmp_path / "one"))
    assert_same_training(tmp_path / "one", moved, method)


# When a rank goes


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("kind", "rank", "words"),
    [
        ("kill", 1, "lost another rank"),
        ("kill", 0, "lost another rank"),
        ("hang", 1, "lost another rank"),
        ("raise", 1, "rank 1 failed: ValueError: a defect of this rank alone"),
        ("raise", 0, "lost another rank"),  # the words die with the first rank, which keeps them; torchrun would
    ],
)
def test_when_a_rank_goes_all_stop_say_why_and_resume(tiny_model_folder, tmp_path, kind, rank, words):
    again = job(tiny_model_folder, tmp_path / "out", steps=6, checkpoint_steps=2)
    processes = start(2, [{**again, "fault": {"kind": kind, "rank": rank, "step": 5}}], tmp_path, timeout_seconds=20)
    other = processes[1 - rank]
    said = other.communicate(timeout=200)[1]
    assert words in said
    assert other.returncode == 1
    processes[rank].kill()
    assert max(path.name for path in (tmp_path / "out" / "checkpoints").iterdir()) == "step-000004"
    run_ranks(2, [again, {**again, "out": str(tmp_path / "whole")}], tmp_path)
    files = [tmp_path / name / "final" / FULL_WEIGHTS for name in ("out", "whole")]
    assert files[0].read_bytes() == files[1].read_bytes()


# The command line under torchrun


def torchrun(*arguments, world_size=2, seconds=400):
    """Run a module under torchrun; gives the finished process."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(world_size), "--master-port"]
    return subprocess.run(
        [*command, str(free_port()), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(WORKER.parent), str(WORKER.parents[1]), *sys.path])},
        capture_output=True,
        text=True,
        timeout=seconds,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_command_trains_under_torchrun_and_run_goes_on_from_there(tiny_model_folder, tmp_path, monkeypatch):
    rows = [{"prompt": f"what is {n} plus two?", "completion": str(n + 2)} for n in range(12)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {
        "name": "run",
        "model": {"name": str(tiny_model_folder), "dtype": "float32"},
        "data": {"paths": [str(tmp_path / "data.jsonl")]},
        "render": {"max_tokens": 64},
        "pack": {"batch_conversations": 4, "row_tokens": 64},
        "pool": {"path": str(tmp_path / "pool")},
    }
    recipe = build_recipe(values)
    (tmp_path / "recipe.toml").write_text(to_toml(recipe))
    arguments = ["-m", "tunesmith", "train", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "two" / "run")]
    done = torchrun(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("result ") == 1, "the first rank alone speaks"
    result = run(recipe, tmp_path / "two", lambda line: None)
    one = run(recipe, tmp_path / "one", lambda line: None)
    assert result.weights == tmp_path / "two" / "run" / "train" / "final"
    assert_close(load_file(one.weights / ADAPTER), load_file(result.weights / ADAPTER), 1e-3)
    started = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    refused = CliRunner().invoke(app, ["run", str(tmp_path / "recipe.toml"), "--runs", str(tmp_path / "two")])
    assert refused.exit_code == 2
    assert "of all commands only `train` is for several" in refused.output


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["kill", "raise"])
def test_torchrun_ends_all_when_one_rank_goes(tiny_model_folder, tmp_path, kind):
    changes = {"steps": 6, "checkpoint_steps": 2, "fault": {"kind": kind, "rank": 1, "step": 5}}
    jobs = {"timeout_seconds": 300, "jobs": [job(tiny_model_folder, tmp_path / "out", **changes)]}
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    began = time.monotonic()
    done = torchrun(str(WORKER), str(tmp_path / "jobs.json"))
    assert done.returncode != 0
    assert time.monotonic() - began < 250, "they waited for the timeout"
    assert max(path.name for path in (tmp_path / "out" / "checkpoints").iterdir()) == "step-000004"
