"""Samples during training: what the model says, and that asking it never changes what it learns."""

import json
from functools import partial

import pytest
import torch
from helpers import batches, death, model, plan, rendered

from tunesmith.errors import ConfigError
from tunesmith.generate import Prompt, Sampling
from tunesmith.generate.local import LocalGenerator
from tunesmith.model import ModelConfig
from tunesmith.model.load import load_model
from tunesmith.render import renderer_for
from tunesmith.train import SamplesConfig, train
from tunesmith.train.samples import Samples, page_of, plain_attention, read_prompts
from tunesmith.types import Message

PROMPTS = ("what is two plus two?", "every day at noon | on <b>Sundays</b>")


def samples(model_folder, folder, every_steps=3, **options):
    config = SamplesConfig(prompts=PROMPTS, every_steps=every_steps, max_tokens=5, **options)
    return Samples(config, renderer_for(model_folder), folder)


def lines_of(folder):
    return [json.loads(line) for line in (folder / "samples.jsonl").open()]


def trained(folder, model_folder, method="lora", die_at=None, ask=True):
    config = plan(7, method=method, checkpoint_steps=2, adapter={"dropout": 0.2}, learning_rate=3e-2)
    asking = [samples(model_folder, folder)] if ask else []
    stream = batches(rendered(8), 2, epochs=2)
    return train(config, model(model_folder), stream, folder, [*asking, death(die_at)])


@pytest.mark.parametrize("method", ["lora", "full"])
def test_sampling_never_changes_training(tiny_model_folder, tmp_path, method):
    with_samples = trained(tmp_path / "with", tiny_model_folder, method)
    without = trained(tmp_path / "without", tiny_model_folder, method, ask=False)
    assert with_samples.digest == without.digest
    lines = lines_of(tmp_path / "with")
    assert [(line["step"], line["prompt"]) for line in lines] == [(s, p) for s in (0, 3, 6, 7) for p in PROMPTS]
    assert not any("samples" in json.loads(line) for line in (tmp_path / "with" / "metrics.jsonl").open())


def test_the_answers_are_those_of_the_base_and_of_the_result(tiny_model_folder, tmp_path):
    """Oracle: both models loaded anew for generation, the adapter merged."""
    result = trained(tmp_path, tiny_model_folder)
    renderer = renderer_for(tiny_model_folder)
    prompts = [Prompt((Message("user", prompt),)) for prompt in PROMPTS]
    found = {step: [line["completion"] for line in lines_of(tmp_path) if line["step"] == step] for step in (0, 7)}
    config = ModelConfig(name=str(tiny_model_folder), dtype="float32")
    for step, adapter in ((0, None), (7, result.path)):
        generator = LocalGenerator(partial(load_model, config, adapter=adapter), renderer, "")
        expected = generator.generate(prompts, Sampling(max_tokens=5))
        assert found[step] == [each.text for each in expected]
    assert found[0] != found[7]


def test_after_a_death_the_lines_are_those_of_a_training_that_never_died(tiny_model_folder, tmp_path):
    trained(tmp_path / "whole", tiny_model_folder)
    for die_at in (1, 4, 7):
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "killed", tiny_model_folder, die_at=die_at)
    trained(tmp_path / "killed", tiny_model_folder)
    for name in ("samples.jsonl", "samples.md"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_page_has_a_section_for_each_prompt_and_a_line_for_each_step(tiny_model_folder, tmp_path):
    asking = samples(tiny_model_folder, tmp_path)
    network = model(tiny_model_folder)
    for step in (0, 3, 6):
        assert asking(step, network) is None
    page = (tmp_path / "samples.md").read_text()
    assert page.count("\n## ") == 2
    assert "## 2. every day at noon \\| on &lt;b\\>Sundays&lt;/b\\>" in page
    assert page.count("\n| 0 | ") == page.count("\n| 3 | ") == page.count("\n| 6 | ") == 2


def test_what_a_model_writes_cannot_break_the_page():
    lines = [{"step": 1, "prompt": "p", "completion": "a\n| 2 | b |\x1b[0m <script>", "stopped": False}]
    page = page_of(["p"], lines)
    (row,) = [line for line in page.splitlines() if line.startswith("| 1 ")]
    assert "\x1b" not in page
    assert "<script>" not in page
    assert row.endswith(" ... |")
    assert "\n| 2 |" not in page


def test_the_attention_of_training_comes_back(tiny_model_folder):
    network = model(tiny_model_folder)
    before = network.config._attn_implementation
    with pytest.raises(KeyboardInterrupt), plain_attention(network):
        assert network.config._attn_implementation == "sdpa"
        raise KeyboardInterrupt
    assert network.config._attn_implementation == before
    with torch.no_grad(), plain_attention(network):
        network(input_ids=torch.arange(3, 9)[None])


def test_prompts_come_from_the_config_and_a_file(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("first\n\n  second \n")
    assert read_prompts(SamplesConfig(prompts=("zero",), path=str(path))) == ("zero", "first", "second")
    path.write_text("\n")
    with pytest.raises(ConfigError, match="holds no prompt"):
        read_prompts(SamplesConfig(path=str(path)))
    with pytest.raises(ConfigError, match=r"train\.samples\.path = .*nowhere.*cannot be read"):
        read_prompts(SamplesConfig(path=str(tmp_path / "nowhere")))
