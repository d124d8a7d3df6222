"""Tiny models and data for the training tests."""

from pathlib import Path

import numpy as np

from builders import build_model, build_tokenizer
from tunesmith.model import ModelConfig
from tunesmith.model.load import load_model
from tunesmith.pack import PackConfig, pack
from tunesmith.train import FunctionProbe, TrainConfig
from tunesmith.train.attention import NAME
from tunesmith.train.objectives.supervised import Supervised
from tunesmith.train.optim import make_optimizer
from tunesmith.train.plan import Plan
from tunesmith.train.schedule import Schedule
from tunesmith.train.step import Engine, train_step
from tunesmith.types import Batch, Rendered


def rendered(count=12, seed=0, longest=20):
    """Random conversations; the second half of each is trained."""
    generator = np.random.default_rng(seed)
    made = []
    for index in range(count):
        size = int(generator.integers(4, longest))
        weights = (np.arange(size) >= size // 2).astype(np.float32)
        made.append(Rendered(f"c{index}", generator.integers(3, 300, size).astype(np.int32), weights))
    return made


def tree(generator, num_branches=5, longest=12, identifier="tree"):
    """A random tree: branches hang off random earlier tokens, some off nothing; most tokens are trained."""
    sizes = generator.integers(1, longest, num_branches)
    starts = np.cumsum(sizes) - sizes
    parents = [-1 if generator.random() < 0.15 else int(generator.integers(start)) for start in starts[1:]]
    branches = np.stack([starts, [-1, *parents]], axis=1).astype(np.int32)
    num_tokens = int(sizes.sum())
    weights = generator.choice(np.array([0, 0.25, 1], np.float32), num_tokens)
    weights[starts[branches[:, 1] < 0]] = 0
    return Rendered(identifier, generator.integers(3, 300, num_tokens).astype(np.int32), weights, branches)


def trees(count=4, seed=0, **options):
    generator = np.random.default_rng(seed)
    return [tree(generator, identifier=f"t{index}", **options) for index in range(count)]


def contexts(branches, num_tokens):
    """What each token sees, found by walking back one token at a time: the definition, and the tests' oracle."""
    parents = dict(branches.tolist())
    seen = []
    for token in range(num_tokens):
        before = parents.get(token, token - 1)
        seen.append([*(seen[before] if before >= 0 else []), token])
    return seen


def model(folder: Path, dtype="float32", attention=NAME):
    return load_model(ModelConfig(name=str(folder), dtype=dtype), attention=attention)


def fresh_model(tmp_path: Path, **changes):
    build_model(tmp_path, **changes)
    build_tokenizer(tmp_path)
    return model(tmp_path)


def plan(num_steps, learning_rate=1e-2, num_warmup=0, **options):
    return Plan(TrainConfig(**options), num_steps, num_warmup, learning_rate, "float32", ())


def row_loss(network, row):
    """The weighted sum of the loss over a row's supervised tokens."""
    return Supervised().row_loss(network, row).total


def engine(network, folder, objective=None, **options):
    """What the steps of a one-step training of a prepared network use."""
    asked = plan(1, **options)
    schedule = Schedule(asked.config.schedule, asked.num_steps, asked.num_warmup, asked.learning_rate)
    optimizer = make_optimizer(network, asked.config.optimizer)
    return Engine(asked, network, optimizer, schedule, objective or Supervised(), folder)


def one_step(network, rows, folder, step=0, **options):
    """One optimizer step on a prepared network."""
    return train_step(engine(network, folder, **options), Batch(tuple(rows), 0), step)


def death(step):
    """A probe that ends the process's work right after this step; never, for None."""

    def die(now, network):
        if now == step:
            raise KeyboardInterrupt

    return FunctionProbe("death", die, every_steps=1)


def batches(examples, batch=4, row_tokens=64, epochs=1.0):
    return pack(PackConfig(batch_conversations=batch, row_tokens=row_tokens), examples, epochs, "data")
