"""A pool on disk, and checkpoints to put into it."""

import pytest

from tunesmith import pool as pools

PARENT = {"name": "tiny-base", "digest": "b" * 64}


@pytest.fixture
def pool(tmp_path):
    return tmp_path / "pool"


@pytest.fixture
def make_weights(tmp_path):
    """A checkpoint folder with the given content."""

    def make(content, **files):
        folder = tmp_path / f"checkpoint-{content}"
        folder.mkdir(exist_ok=True)
        (folder / "adapter_model.safetensors").write_text(content)
        (folder / "adapter_config.json").write_text("{}")
        for name, text in files.items():
            (folder / name).write_text(text)
        return folder

    return make


@pytest.fixture
def add(pool, make_weights):
    """Add a checkpoint, judged PASS unless told otherwise."""

    def put(content, outcome="PASS"):
        verdict = outcome and {"outcome": outcome, "model_digest": f"model-{content}", "findings": []}
        return pools.add(pool, make_weights(content), {"method": "lora", "parent": PARENT, "verdict": verdict})

    return put
