"""A training in a process of its own that can be killed: at any instant, or at a chosen place."""

import multiprocessing
import os
import resource
import signal
import time
from pathlib import Path

import torch
from helpers import batches, model, plan, rendered

import tunesmith.train.adapter as adapter
import tunesmith.train.checkpoint as checkpoint
from tunesmith.errors import TrainError
from tunesmith.train import train

NUM_STEPS = 12
FULL_DISK = 3
OPTIONS = {"checkpoint_steps": 2, "adapter": {"dropout": 0.1, "rank": 4}}
PLACES = ("in the middle of a checkpoint", "before an older checkpoint goes", "in the middle of the result")


def train_here(folder: Path, model_folder: Path, **options):
    """One life of the training, to its end."""
    return train(
        plan(NUM_STEPS, **{**OPTIONS, **options}), model(model_folder), batches(rendered(10), 2, epochs=3), folder
    )


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


def _after(count, act, then):
    """`then`, but its call number `count` (from 1) is `act` in its place."""
    calls = []

    def wrapped(*arguments, **options):
        calls.append(None)
        return (act if len(calls) == count else then)(*arguments, **options)

    return wrapped


def _torn(tensors, path, **options):
    Path(path).write_bytes(b"half of what was to be written")
    _die()


def _no_room(save):
    """From here on no file may grow beyond 5,000 bytes, as the operating system has it."""

    def limited(*arguments):
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        return save(*arguments)

    return limited


def _tamper(place, count):
    """Make this process die at a place; `count` says at which visit to it."""
    if place == PLACES[0]:
        checkpoint.save_file = _after(count, _torn, checkpoint.save_file)
    elif place == PLACES[1]:
        checkpoint.shutil.rmtree = _after(count, lambda *a, **o: _die(), checkpoint.shutil.rmtree)
    elif place == PLACES[2]:
        adapter.save_file = _after(1, _torn, adapter.save_file)
    elif place == "full disk":
        checkpoint.save_file = _after(count, _no_room(checkpoint.save_file), checkpoint.save_file)


def _child(folder, model_folder, place, count, options):
    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    _tamper(place, count)
    try:
        train_here(folder, model_folder, **options)
    except TrainError as error:
        (folder / "error.txt").write_text(str(error))
        os._exit(FULL_DISK)


def live(folder: Path, model_folder: Path, place=None, count=1, seconds=None, **options) -> int:
    """Train in a child until it ends, dies at `place`, or is killed after `seconds`; its exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_child, args=(folder, model_folder, place, count, options))
    child.start()
    if seconds is not None:
        time.sleep(seconds)
        child.kill()
    child.join(120)
    assert child.exitcode is not None, "the training hangs"
    return child.exitcode
