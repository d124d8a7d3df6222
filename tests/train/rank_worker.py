"""What one rank of the parallel tests runs: `python rank_worker.py JOBS.json`, with torchrun's environment.

Each job is one training on a tiny model, described by plain values; `fault` says how a rank goes wrong on the way.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from helpers import model, plan
from safetensors.torch import save_file

from tunesmith.errors import Interrupted, TunesmithError
from tunesmith.pack import PackConfig, pack
from tunesmith.train import FunctionProbe, train
from tunesmith.train.optim import Optimizer
from tunesmith.train.parallel.ranks import current, joined
from tunesmith.train.parallel.shard import whole
from tunesmith.types import Rendered


def examples(count, seed=0):
    """Conversations of 11 to 20 tokens: each fills a row of 20 tokens by itself."""
    generator = np.random.default_rng(seed)
    made = []
    for index in range(count):
        size = int(generator.integers(11, 21))
        weights = (np.arange(size) >= size // 2).astype(np.float32)
        made.append(Rendered(f"c{index}", generator.integers(3, 300, size).astype(np.int32), weights))
    return made


def pairs(count, seed=0):
    """Pairs of answers to a prompt of four tokens, of 14 to 20 tokens together."""
    generator = np.random.default_rng(seed)
    made = []
    for index in range(count):
        chosen, rejected = (int(size) for size in generator.integers(5, 9, 2))
        tokens = generator.integers(3, 300, 4 + chosen + rejected).astype(np.int32)
        weights = np.repeat(np.array([0, 1, -1], np.float32), [4, chosen, rejected])
        branches = np.array([[0, -1], [4, 3], [4 + chosen, 3]], np.int32)
        made.append(Rendered(f"p{index}", tokens, weights, branches))
    return made


def run_job(job):
    """Train as `job` says; the gradients of the first step are written beside the result."""
    out = Path(job["out"])
    config = PackConfig(batch_conversations=job["rows"], row_tokens=20)
    make = pairs if "objective" in job.get("options", {}) else examples
    stream = pack(config, make(job["rows"] * 3), job["steps"] / 3, "data")
    options = {"method": job["method"], "checkpoint_steps": job.get("checkpoint_steps", 50), **job.get("options", {})}
    rate = job.get("learning_rate", 1e-2)
    with keep_gradients(out):
        return train(
            plan(job["steps"], rate, **options),
            model(job["model"], job.get("dtype", "float32")),
            stream,
            out,
            [FunctionProbe("fault", fault(job.get("fault")), every_steps=1)],
        )


class keep_gradients:
    """Write the gradients that the optimizer's first step takes, gathered, to `gradients.safetensors`."""

    def __init__(self, out):
        self.path = out / "gradients.safetensors"

    def __enter__(self):
        self.real = Optimizer._take_gradients

        def take(optimizer):
            gradients = self.real(optimizer)
            if not current().any(self.path.exists()):
                pairs = zip(optimizer.names, gradients, strict=True)
                tensors = {
                    name: whole(gradient).clone().contiguous() for name, gradient in pairs if gradient is not None
                }
                if current().is_first:
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                    save_file(tensors, self.path)
            return gradients

        Optimizer._take_gradients = take

    def __exit__(self, *error):
        Optimizer._take_gradients = self.real


def fault(asked):
    """After step `asked["step"]`, before a checkpoint, its rank dies, hangs, raises or is interrupted."""

    def act(step, network):
        if asked is None or step != asked["step"] or current().rank != asked["rank"]:
            return
        if asked["kind"] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif asked["kind"] == "hang":
            time.sleep(600)
        elif asked["kind"] == "raise":
            raise ValueError("a defect of this rank alone")
        elif asked["kind"] == "interrupt":
            for _ in range(min(2, current().world_size)):  # the terminal and torchrun each send one
                signal.raise_signal(signal.SIGINT)

    return act


def main():
    jobs = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    try:
        with joined(jobs["timeout_seconds"]):
            for job in jobs["jobs"]:
                try:
                    run_job(job)
                except Interrupted as error:  # on all ranks alike, so that the next job may follow
                    if current().is_first:
                        (Path(job["out"]) / "interrupted").write_text(str(error))
    except TunesmithError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
