"""Killed at any instant, a training goes on to the same bytes as one that never was; a full disk and a damaged
checkpoint are no loss."""

import json
import os
import random
import signal
import subprocess
import time

import pytest
import torch
from helpers import batches, model, plan, rendered
from lives import FULL_DISK, NUM_STEPS, OPTIONS, PLACES, live, train_here

from tunesmith.errors import TrainError
from tunesmith.train import train
from tunesmith.train.checkpoint import checkpoints, load_newest, save_checkpoint
from tunesmith.train.environment import environment, what_changed

WEIGHTS = "final/adapter_model.safetensors"


@pytest.fixture(scope="module")
def whole(tiny_model_folder, tmp_path_factory):
    """A training that nothing disturbed, and how many seconds it took."""
    folder = tmp_path_factory.mktemp("whole")
    began = time.monotonic()
    assert live(folder, tiny_model_folder) == 0
    return folder, time.monotonic() - began


def assert_same(folder, other):
    assert (folder / WEIGHTS).read_bytes() == (other / WEIGHTS).read_bytes()
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").open()]
    assert steps == list(range(1, NUM_STEPS + 1))
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert names == ["step-000008", "step-000010"], "nothing half-made is left behind"


def die_until_done(folder, model_folder, seconds, dice):
    """Begin again after each death until the training is done; two deaths of three come whenever they come, the
    others in the middle of a write. Returns how often it died."""
    for deaths in range(50):
        if dice.random() < 1 / 3:
            code = live(folder, model_folder, dice.choice(PLACES), dice.choice((1, 2, 3)))
        else:
            code = live(folder, model_folder, seconds=dice.uniform(0, seconds))
        if code == 0:
            return deaths
        assert code == -signal.SIGKILL
    raise AssertionError("it never gets to its end")


def assert_deaths_change_nothing(whole, model_folder, tmp_path, num_deaths):
    dice = random.Random(0)
    deaths = lives = 0
    while deaths < num_deaths:
        deaths += die_until_done(tmp_path / str(lives), model_folder, whole[1], dice)
        assert_same(tmp_path / str(lives), whole[0])
        lives += 1


def test_killed_a_few_times_it_ends_with_the_same_bytes(whole, tiny_model_folder, tmp_path):
    assert_deaths_change_nothing(whole, tiny_model_folder, tmp_path, 3)


@pytest.mark.slow
def test_killed_twenty_times_it_ends_with_the_same_bytes(whole, tiny_model_folder, tmp_path):
    """SIGKILL at seeded random instants, and in the middle of the writes of checkpoints and of the result."""
    assert_deaths_change_nothing(whole, tiny_model_folder, tmp_path, 20)


@pytest.mark.parametrize("place", PLACES)
def test_killed_in_the_middle_of_a_write(whole, tiny_model_folder, tmp_path, place):
    assert live(tmp_path, tiny_model_folder, place, 2) == -signal.SIGKILL
    assert not (tmp_path / "final").exists()
    assert checkpoints(tmp_path / "checkpoints")
    assert live(tmp_path, tiny_model_folder) == 0
    assert_same(tmp_path, whole[0])


def test_a_full_disk_is_said_and_nothing_is_lost(whole, tiny_model_folder, tmp_path):
    """The operating system refuses to let the third checkpoint grow."""
    assert live(tmp_path, tiny_model_folder, "full disk", 3) == FULL_DISK
    message = (tmp_path / "error.txt").read_text()
    assert message.startswith("the disk is full: ")
    assert "step-000006 could not be written" in message
    assert "Last good checkpoint: " in message and "step-000004. Make room" in message
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] != []
    assert not list((tmp_path / "checkpoints").glob(".*"))
    assert live(tmp_path, tiny_model_folder) == 0
    assert_same(tmp_path, whole[0])


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.parametrize("kilobytes", [90, 140, 200])
def test_a_disk_that_is_really_full(whole, tiny_model_folder, tmp_path, kilobytes):
    """A file system of so many kilobytes, full at one checkpoint or another; then room is made."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with pytest.raises(TrainError, match="the disk is full"):
            train_here(disk, tiny_model_folder)
        subprocess.run(["mount", "-o", "remount,size=10m", str(disk)], check=True)
        train_here(disk, tiny_model_folder)
        assert_same(disk, whole[0])
    finally:
        subprocess.run(["umount", str(disk)], check=True)


DAMAGES = {
    "torn": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "flipped": lambda path: path.write_bytes(path.read_bytes()[:-9] + b"x" + path.read_bytes()[-8:]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    whole, tiny_model_folder, tmp_path, capsys, monkeypatch, name, damage
):
    import tunesmith.train.loop as loop

    def no_end(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(loop, "save_final", no_end)
        train_here(tmp_path, tiny_model_folder)
    DAMAGES[damage](tmp_path / "checkpoints" / "step-000010" / name)
    train_here(tmp_path, tiny_model_folder)
    said = capsys.readouterr().err
    assert "damaged, so step-000008 is taken in its place: step-000010 (" in said
    assert (tmp_path / "checkpoints" / "damaged-step-000010").is_dir()
    assert (tmp_path / WEIGHTS).read_bytes() == (whole[0] / WEIGHTS).read_bytes()


def test_when_every_checkpoint_is_damaged_it_says_so_before_it_starts_anew(tmp_path):
    for step in (5, 10):
        path = save_checkpoint(tmp_path, step, {"a": torch.zeros(3)}, {}, keep=2)
        (path / "state.safetensors").write_bytes(b"")
    with pytest.raises(TrainError, match=r"no checkpoint in .* is whole: step-000010 .*; step-000005 .*beginning"):
        load_newest(tmp_path)
    assert load_newest(tmp_path) is None


@pytest.mark.parametrize("keep", [1, 3])
def test_the_newest_few_checkpoints_are_kept(tmp_path, keep):
    for step in range(1, 6):
        save_checkpoint(tmp_path, step, {"a": torch.full((2,), float(step))}, {"fact": step}, keep)
    assert [path.name for path in checkpoints(tmp_path)] == [f"step-00000{n}" for n in range(6 - keep, 6)]
    saved = load_newest(tmp_path)
    assert (saved.step, saved.facts["fact"], saved.damaged) == (5, 5, ())
    assert saved.tensors["a"].tolist() == [5.0, 5.0]


def test_another_environment_is_told_in_one_line(tiny_model_folder, tmp_path, capsys, monkeypatch):
    import tunesmith.train.loop as loop

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(loop, "save_final", lambda *a, **o: (_ for _ in ()).throw(KeyboardInterrupt))
        train_here(tmp_path, tiny_model_folder)
    real = environment(torch.device("cpu"), "torch")
    monkeypatch.setattr(loop, "environment", lambda device, kernels: {**real, "threads": 64, "ranks": 2})
    capsys.readouterr()
    train_here(tmp_path, tiny_model_folder)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "resumed" in line]
    assert f"threads {real['threads']} -> 64, ranks 1 -> 2" in line
    assert "no longer bit-equal" in line


def test_the_same_environment_says_nothing():
    now = environment(torch.device("cpu"), "torch")
    assert what_changed(json.loads(json.dumps(now)), now) is None
    assert set(now) == {"torch", "device", "processor", "kernels", "threads", "ranks"}


def test_other_data_or_packing_cannot_be_resumed(tiny_model_folder, tmp_path):
    train(plan(4, **OPTIONS), model(tiny_model_folder), batches(rendered(10), 2), tmp_path)
    with pytest.raises(ValueError, match="made from other data or another pack config"):
        train(plan(4, **OPTIONS), model(tiny_model_folder), batches(rendered(10), 3), tmp_path)
