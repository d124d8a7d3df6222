"""Every command on files, with a two-layer model: thin faces that reach the functions behind them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tunesmith.cli import app

Tunesmith = Callable[..., Result]
WITHOUT_TORCH = 'import sys; sys.modules["torch"] = None; from tunesmith.cli import main; main()'
SMALL = ("--set", "train.max_steps=1", "--set", "pack.batch_conversations=2")


@pytest.fixture
def tunesmith(in_tmp: Path) -> Tunesmith:
    """Run a command in an empty folder that holds `data.jsonl`; fails unless the exit code is as expected."""
    write_data(in_tmp / "data.jsonl")

    def run(*arguments: str, code: int = 0, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(app, list(arguments), input=stdin)
        assert result.exit_code == code, (arguments, result.output, result.exception)
        return result

    return run


def write_data(path: Path, count: int = 48) -> None:
    words = ("noon", "dawn", "dusk", "one", "two", "three", "four", "five")
    with path.open("w") as file:
        for number in range(count):
            question = f"{words[number % 8]} {words[number // 8]} what is {number} plus {number * 7}?"
            answer = {"role": "assistant", "content": str(number * 8)}
            file.write(json.dumps({"messages": [{"role": "user", "content": question}, answer]}) + "\n")


def test_data_render_pack(tunesmith: Tunesmith, tiny_tokenizer_folder: Path) -> None:
    model = ("--model", str(tiny_tokenizer_folder))
    done = tunesmith("data", "data.jsonl", "--out", "work/data", "--set", "data.holdout=8")
    assert "48 records in, 40 conversations out, 8 held out" in done.output
    assert "Nothing to do" in tunesmith("data", "data.jsonl", "--out", "work/data", "--set", "data.holdout=8").output
    done = tunesmith("render", "work/data/conversations.jsonl", "--out", "work/render", *model)
    assert "of them trained" in done.output
    done = tunesmith("pack", "work/render", "--out", "work/pack", "--set", "pack.batch_conversations=10")
    assert "4 steps of 10 conversations (40 in all)" in done.output
    assert len(Path("work/pack/batches.jsonl").read_text().splitlines()) == 4


def test_out_never_moves_a_folder_of_other_things(tunesmith: Tunesmith) -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("precious")
    done = tunesmith("data", "data.jsonl", "--out", "mine", code=2)
    assert "holds other files" in done.stderr
    assert Path("mine/notes.txt").read_text() == "precious"


def test_out_never_replaces_the_result_of_another_stage(tunesmith: Tunesmith, tiny_tokenizer_folder: Path) -> None:
    tunesmith("data", "data.jsonl", "--out", "work")
    model = ("--model", str(tiny_tokenizer_folder))
    done = tunesmith("render", "work/conversations.jsonl", "--out", "work", *model, code=2)
    assert "the result of `data`" in done.stderr
    assert Path("work/conversations.jsonl").is_file()


def test_set_is_refused_where_it_would_do_nothing(tunesmith: Tunesmith) -> None:
    done = tunesmith("data", "data.jsonl", "--out", "work", "--set", "train.epochs=2", code=2)
    assert "reads only data.*" in done.stderr
    done = tunesmith("data", "data.jsonl", "--out", "work", "--set", "data.holdot=2", code=2)
    assert "did you mean 'holdout'?" in done.stderr


def test_show_counts(tunesmith: Tunesmith, tiny_tokenizer_folder: Path) -> None:
    done = tunesmith("show", "data.jsonl", "--model", str(tiny_tokenizer_folder), "--limit", "2")
    assert "⟦0<|im_end|>⟧" in done.output
    assert "2 conversations, " in done.output


def test_train_evaluate_gate_pool_chat(tunesmith: Tunesmith, tiny_model_folder: Path) -> None:
    model = ("--model", str(tiny_model_folder))
    done = tunesmith("train", "data.jsonl", *model, "--out", "work/t", *SMALL)
    assert "# The recipe, saved as work/t/recipe.toml:" in done.output
    assert "holds a training already" in tunesmith("train", "data.jsonl", *model, "--out", "work/t", code=2).stderr
    done = tunesmith("train", "data.jsonl", *model, "--out", "work/t", *SMALL, "--resume")
    assert "Nothing to do" in done.output

    ask = ("evaluate", "data.jsonl", *model, "--max-items", "20", "--max-tokens", "2", "--scorer", "likelihood")
    tunesmith(*ask, "--out", "work/base")
    tunesmith(*ask, "--adapter", "work/t/train/final", "--out", "work/tuned")
    compare = ("gate", "--candidate", "work/tuned", "--baseline", "work/base", "--out", "verdict.json")
    assert "PASS" in tunesmith(*compare, "--set", "gate.keep.data=5").output
    tunesmith(*compare, "--set", "gate.improve.data=5", code=4)
    tunesmith("gate", "--candidate", "work/base", "--baseline", "work/base", "--set", "gate.improve.data=0", code=3)
    tunesmith(*compare, "--set", "gate.keep.data=5")

    tunesmith("pool", "add", "work/t/train/final", *model, "--verdict", "verdict.json")
    digest = next(path.name for path in Path("pool/entries").iterdir())
    assert "no alias points to a model yet" in tunesmith("chat", "--once", "Hi", code=1).stderr
    tunesmith("pool", "promote", "sums", digest[:12])
    assert "sums" in tunesmith("pool", "list").output
    assert "promote" in tunesmith("pool", "history", "sums").output
    assert "is what was added" in tunesmith("pool", "verify", "sums").output
    assert digest in tunesmith("pool", "show", "sums").output
    assert "nothing before it" in tunesmith("pool", "rollback", "sums", code=1).stderr

    short = ("--max-tokens", "2")
    tunesmith("chat", "--once", "Hi", *short)
    done = tunesmith("chat", "sums", "--against", "base", *short, "--once", "-", stdin="Hi\n")
    assert "sums> " in done.stdout
    assert "base> " in done.stdout
    done = tunesmith("chat", "sums", *short, stdin="Hi\nand you?\n/new\n/system Be brief.\nHi\n/quit\n")
    assert done.stdout.count("sums> ") == 3
    tunesmith("evaluate", "data.jsonl", "--model", "pool:sums", "--max-items", "2", "--out", "work/pooled", *short)


def test_a_dry_run_leaves_nothing_behind(tunesmith: Tunesmith, tiny_model_folder: Path) -> None:
    model = ("--model", str(tiny_model_folder))
    done = tunesmith("tune", "data.jsonl", *model, "--dry-run")
    assert "learning rate" in done.output
    assert "This was a dry run" in done.output
    tunesmith("train", "data.jsonl", *model, "--out", "work", "--dry-run")
    assert sorted(path.name for path in Path().iterdir()) == ["data.jsonl"]


def test_tune_then_run_its_recipe(tunesmith: Tunesmith, tiny_model_folder: Path) -> None:
    tasks = 'evaluate.tasks=[{name="heldout", path="heldout", max_tokens=2}]'
    limits = (
        "--set",
        tasks,
        "--set",
        "evaluate.panel=off",
        "--set",
        "evaluate.certificate_items=0",
        "--set",
        "gate.keep={}",
        *SMALL,
    )
    done = tunesmith("tune", "data.jsonl", "--model", str(tiny_model_folder), "--name", "sums", *limits)
    assert "# The recipe, saved as runs/sums/recipe.toml:" in done.output
    assert "INCONCLUSIVE" in done.output
    assert "What to try next" in done.output
    again = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, "run", "runs/sums/recipe.toml"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Nothing to do: every stage of runs/sums is done" in again.stdout


def test_quickstart_plans_the_shipped_example(tunesmith: Tunesmith, tiny_model_folder: Path) -> None:
    sets = (f"model.name={tiny_model_folder}", "data.max_conversations=8")
    done = tunesmith("quickstart", "--dry-run", *(word for each in sets for word in ("--set", each)))
    assert "8 conversations (messages)" in done.output
    assert not Path("tunesmith-cron").exists()
