"""Tiny models and data for the training tests."""

from pathlib import Path

import numpy as np

from builders import build_model, build_tokenizer
from tunesmith.model import ModelConfig
from tunesmith.model.load import load_model
from tunesmith.pack import PackConfig, pack
from tunesmith.train import TrainConfig
from tunesmith.train.attention import NAME
from tunesmith.train.plan import Plan
from tunesmith.types import Rendered


def rendered(count=12, seed=0, longest=20):
    """Random conversations; the second half of each is trained."""
    generator = np.random.default_rng(seed)
    made = []
    for index in range(count):
        size = int(generator.integers(4, longest))
        weights = (np.arange(size) >= size // 2).astype(np.float32)
        made.append(Rendered(f"c{index}", generator.integers(3, 300, size).astype(np.int32), weights))
    return made


def model(folder: Path, dtype="float32"):
    return load_model(ModelConfig(name=str(folder), dtype=dtype), attention=NAME)


def fresh_model(tmp_path: Path, **changes):
    build_model(tmp_path, **changes)
    build_tokenizer(tmp_path)
    return model(tmp_path)


def plan(num_steps, learning_rate=1e-2, num_warmup=0, **options):
    return Plan(TrainConfig(**options), num_steps, num_warmup, learning_rate, "float32", ())


def batches(examples, batch=4, row_tokens=64, epochs=1.0):
    return pack(PackConfig(batch_conversations=batch, row_tokens=row_tokens), examples, epochs, "data")
