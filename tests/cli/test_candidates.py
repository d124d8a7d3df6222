"""`gate` and `merge` on checkpoints that any tool may have made: asked on the recipe's tasks, judged, merged back."""

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from builders import build_model
from tunesmith.cli import app
from tunesmith.pool import entries

RECIPE = """
name = "strange things that gate never reads"
[model]
name = "no-such-model"
[evaluate]
panel = "off"
certificate_items = 0
[[evaluate.tasks]]
name = "words"
path = "golden.jsonl"
scorer = "likelihood"
[gate.keep]
words = 9.0
"""


@pytest.fixture
def work(in_tmp, tiny_tokenizer_folder):
    """A folder with a base, an adapter of it, a whole tuned model, a recipe and its golden items."""
    import shutil

    for name, seed in (("base", 0), ("tuned", 1)):
        shutil.copytree(tiny_tokenizer_folder, in_tmp / name)
        build_model(in_tmp / name, seed)
    model = AutoModelForCausalLM.from_pretrained("base", dtype=torch.float32)
    lora = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, each in lora.named_parameters():
            each.add_(0.1 * ("lora_B" in name))
    lora.save_pretrained("adapter")
    rows = [
        {
            "id": f"i{number}",
            "messages": [{"role": "user", "content": f"{number}?"}],
            "answer": {"type": "text", "value": f"so {number}"},
        }
        for number in range(25)
    ]
    Path("golden.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("recipe.toml").write_text(RECIPE)
    return in_tmp


def tunesmith(*arguments, code=0):
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == code, (arguments, done.output, done.exception)
    return done.output


def test_checkpoints_of_any_tool_are_asked_once_and_judged(work):
    command = ("gate", "--baseline", "base", "--policy", "recipe.toml", "--out", "verdict.json")
    assert "PASS" in tunesmith(*command, "--candidate", "adapter")
    verdict = json.loads(Path("verdict.json").read_text())
    assert verdict["findings"][0]["task"] == "words" and "+" in verdict["model_digest"]
    kept = {path: path.stat().st_mtime_ns for path in Path("work/gate").rglob("report.json")}
    assert len(kept) == 2
    tunesmith(*command, "--candidate", "adapter")
    assert {path: path.stat().st_mtime_ns for path in Path("work/gate").rglob("report.json")} == kept
    tunesmith(*command, "--candidate", "tuned", "--set", "gate.improve.words=9", "--set", "gate.keep.words=9", code=4)


def test_several_candidates_are_seeds_of_one_recipe(work):
    tunesmith(
        *("gate", "--baseline", "base", "--policy", "recipe.toml", "--out", "verdict.json"),
        *("--candidate", "adapter", "--candidate", "tuned"),
    )
    assert " | " in json.loads(Path("verdict.json").read_text())["model_digest"]


def test_a_merge_goes_to_a_folder_and_into_the_pool_with_its_lineage(work):
    assert "0.5 of the way" in tunesmith("merge", "adapter", "--alpha", 0.5, "--out", "half", "--add")
    assert (work / "half" / "adapter_model.safetensors").is_file()
    (entry,) = entries(Path("pool"))
    (step,) = entry.manifest["lineage"]
    assert (step["phase"], step["alpha"], entry.manifest["method"]) == ("merge", 0.5, "lora")
    assert entry.manifest["parent"]["digest"] == step["parent"]
    assert "holds files" in tunesmith("merge", "adapter", "--alpha", 0.5, "--out", "half", code=2)
    assert "name its base with --base" in tunesmith("merge", "tuned", "--alpha", 0.5, "--out", "whole", code=2)
    tunesmith("merge", "tuned", "--base", "base", "--alpha", 0.5, "--out", "whole")
    assert (work / "whole" / "model.safetensors").is_file()
    tunesmith("merge", f"pool:{entry.digest[:12]}", "--alpha", 0.5, "--out", "quarter")


def test_a_sweep_shows_gains_and_losses_side_by_side(work):
    shown = tunesmith("merge", "adapter", "--sweep", "0.5,0.25", "--policy", "recipe.toml", "--out", "sweep")
    lines = shown.splitlines()
    (start,) = (number for number, line in enumerate(lines) if line.startswith("task"))
    heading, words, verdict = lines[start : start + 3]
    assert heading.split() == ["task", "base", "alpha", "0.25", "alpha", "0.5", "alpha", "1"]
    assert words.startswith("words") and words.count("(") == 3
    assert verdict.split() == ["verdict", "PASS", "PASS", "PASS"]
    assert json.loads((work / "sweep" / "verdict-0.25.json").read_text())["outcome"] == "PASS"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "either --alpha"),
        (("--alpha", "0.5", "--sweep", "0.5"), "either --alpha"),
        (("--sweep", "0,2"), "between 0 and 1"),
        (("--sweep", "0.5", "--add"), "goes with --alpha"),
        (("--alpha", "0.5", "--policy", "recipe.toml"), "measures nothing"),
    ],
)
def test_what_does_not_go_together_is_refused(work, options, message):
    assert message in " ".join(tunesmith("merge", "adapter", *options, "--out", "x", code=2).split())


def test_two_models_are_compared_on_a_page_without_a_verdict(work):
    shown = tunesmith("compare", "base", "tuned", "--policy", "recipe.toml", "--html", "page.html")
    (line,) = (each for each in shown.splitlines() if each.startswith("words (nats per token)"))
    assert "page  page.html" in shown
    assert "PASS" not in shown and "FAIL" not in shown
    text = Path("page.html").read_text(encoding="utf-8")
    assert "base → tuned" in text and "<svg" in text
    again = tunesmith("compare", *(path.parent for path in sorted(Path("work/gate").glob("*/report.json"))))
    assert line in again.splitlines()
