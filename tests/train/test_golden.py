"""Golden numbers: the losses of the first steps in three settings, so that a refactoring that changes them shows.

After a change that is meant to move them: `PYTHONPATH=src:tests python tests/train/test_golden.py`, and say in the
commit why they moved. Weights come from numpy's frozen RandomState, so that only training itself is measured.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import batches, model, plan, rendered, trees

from builders import build_model, build_tokenizer
from tunesmith.train import train

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "step_losses.json"
NOISE = {"kind": "uniform", "where": "layers", "over_layers": "falling", "over_steps": "linear"}
SETTINGS = {
    "full": {"method": "full"},
    "lora": {"method": "lora"},
    "lora, noise, trees": {"method": "lora", "noise": NOISE},
}
NUM_STEPS = 8


def losses_of(name, folder):
    """The losses of a tiny Llama's first steps in float32."""
    build_model(folder / "model")
    build_tokenizer(folder / "model")
    network, numbers = model(folder / "model"), np.random.RandomState(0)
    with torch.no_grad():
        for _, parameter in sorted(network.named_parameters()):
            if parameter.ndim > 1:
                parameter.copy_(torch.from_numpy(0.1 * numbers.standard_normal(tuple(parameter.shape))))
    examples = [*rendered(8), *(trees(4) if "trees" in name else [])]
    schedule = {"kind": "cosine"}
    asked = plan(NUM_STEPS, learning_rate=2e-3, num_warmup=2, schedule=schedule, **SETTINGS[name])
    train(asked, network, batches(examples, 4, 120, 10), folder / "train")
    return [json.loads(line)["loss"] for line in (folder / "train" / "metrics.jsonl").open()]


@pytest.mark.parametrize("name", SETTINGS)
def test_step_losses_are_the_golden_ones(name, tmp_path):
    """The tolerance is for other processors and releases of torch; a wrong token or weight moves losses far more."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert list(golden) == list(SETTINGS)
    assert losses_of(name, tmp_path) == pytest.approx(golden[name], rel=2e-5)


if __name__ == "__main__":
    made = {}
    for setting in SETTINGS:
        with tempfile.TemporaryDirectory() as made_in:
            made[setting] = [round(loss, 7) for loss in losses_of(setting, Path(made_in))]
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
