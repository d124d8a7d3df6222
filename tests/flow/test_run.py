"""The whole path on a tiny model: examples in, a judged entry in the pool out; reruns, changes and deaths."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tunesmith import pipeline, preparation
from tunesmith.errors import TunesmithError
from tunesmith.files import MANIFEST
from tunesmith.pipeline import run
from tunesmith.pool import aliases, resolve
from tunesmith.recipe import build_recipe

STAGES = ("data", "render", "pack", "train", "evaluate/base", "evaluate/tuned", "gate", "pool")


@pytest.fixture
def values(tmp_path, tiny_model_folder):
    """A recipe on which two epochs teach the tiny model nothing in particular."""
    examples = [
        {
            "messages": [
                {"role": "user", "content": f"what is {n} plus two?"},
                {"role": "assistant", "content": str(n + 2)},
            ]
        }
        for n in range(24)
    ]
    golden = [
        {
            "id": f"g{n}",
            "split": "gate",
            "cluster": "sums",
            "messages": [{"role": "user", "content": f"{n}+2?"}],
            "answer": {"type": "text", "value": str(n + 2)},
        }
        for n in range(12)
    ]
    for name, rows in (("train", examples), ("golden", golden)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "name": "tiny",
        "model": {"name": str(tiny_model_folder), "dtype": "float32"},
        "data": {"paths": [str(tmp_path / "train.jsonl")]},
        "pack": {"batch_conversations": 4},
        "train": {"epochs": 1.0, "checkpoint_steps": 2, "adapter": {"rank": 2}},
        "evaluate": {
            "panel": "off",
            "certificate_items": 0,
            "tasks": [
                {
                    "name": "sums",
                    "path": str(tmp_path / "golden.jsonl"),
                    "scorer": "contains",
                    "max_tokens": 4,
                }
            ],
        },
        "gate": {"keep": {"sums": 0.5}},
        "pool": {"path": str(tmp_path / "pool"), "alias": "sums"},
    }


def quiet(line):
    pass


def do(values, tmp_path, *sets):
    return run(build_recipe(values, sets), tmp_path / "runs", quiet)


def manifests(tmp_path):
    return {
        stage: (tmp_path / "runs" / "tiny" / stage / MANIFEST).stat().st_mtime_ns
        for stage in STAGES
        if (tmp_path / "runs" / "tiny" / stage / MANIFEST).exists()
    }


def test_examples_in_and_a_judged_entry_out(values, tmp_path):
    result = do(values, tmp_path)
    assert set(manifests(tmp_path)) == set(STAGES)
    assert result.did_work
    assert result.verdict.outcome == "PASS"
    assert result.is_promoted
    entry = resolve(tmp_path / "pool", "sums")
    assert entry.digest == result.entry.digest
    assert entry.manifest["parent"]["digest"] == result.base.model_digest
    assert (entry.path / "weights" / "adapter_model.safetensors").is_file()
    samples = [json.loads(line) for line in (result.folder / "evaluate" / "tuned" / "samples.jsonl").open()]
    assert [sample["item_id"] for sample in samples] == [f"g{n}" for n in range(12)]
    page = (result.folder / "gate" / "report.html").read_text(encoding="utf-8")
    assert f"{result.verdict.outcome}: " in page and result.entry.manifest["lineage"][0]["data"] in page


def test_a_second_run_does_nothing(values, tmp_path):
    do(values, tmp_path)
    before = manifests(tmp_path)
    again = do(values, tmp_path)
    assert not again.did_work
    assert manifests(tmp_path) == before
    assert again.is_promoted


def test_an_emptied_pool_is_filled_again(values, tmp_path):
    import shutil

    first = do(values, tmp_path)
    shutil.rmtree(tmp_path / "pool")
    do(values, tmp_path)
    assert aliases(tmp_path / "pool") == {"sums": first.entry.digest}


def test_a_change_redoes_what_depends_on_it_and_keeps_the_old(values, tmp_path):
    do(values, tmp_path)
    before = manifests(tmp_path)
    do(values, tmp_path, "train.learning_rate=0.01")
    after = manifests(tmp_path)
    changed = {stage for stage in STAGES if before[stage] != after[stage]}
    assert changed == {"train", "evaluate/tuned", "gate", "pool"}
    replaced = tmp_path / "runs" / "tiny" / "replaced"
    assert any(path.name.startswith("train-") and (path / "final").is_dir() for path in replaced.iterdir())


def test_changed_data_redoes_everything_but_the_base(values, tmp_path):
    do(values, tmp_path)
    before = manifests(tmp_path)
    path = Path(values["data"]["paths"][0])
    path.write_text(path.read_text() + path.read_text().splitlines()[0].replace("0 plus", "9 plus") + "\n")
    do(values, tmp_path)
    after = manifests(tmp_path)
    assert {stage for stage in STAGES if before[stage] == after[stage]} == {"evaluate/base"}


@pytest.mark.parametrize("stage", ["write_data", "render", "pack", "train", "evaluate", "gate", "add"])
def test_a_run_that_died_goes_on_to_the_same_weights(values, tmp_path, monkeypatch, stage):
    whole = do({**values, "name": "whole"}, tmp_path)

    def die(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(preparation if stage in ("write_data", "render", "pack") else pipeline, stage, die)
        with pytest.raises(KeyboardInterrupt):
            do(values, tmp_path)
    done = manifests(tmp_path)
    result = do(values, tmp_path)
    assert result.entry.digest == whole.entry.digest
    after = manifests(tmp_path)
    assert all(after[name] == moment for name, moment in done.items())


def test_evaluation_goes_on_item_by_item(values, tmp_path, monkeypatch):
    from tunesmith.generate.local import LocalGenerator

    real, calls = LocalGenerator._completion, []

    def die_at_ninth(self, *answer):
        calls.append(answer)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return real(self, *answer)

    monkeypatch.setattr(LocalGenerator, "_completion", die_at_ninth)
    with pytest.raises(KeyboardInterrupt):
        do(values, tmp_path, "evaluate.batch_prompts=4")
    samples = tmp_path / "runs" / "tiny" / "evaluate" / "base" / "samples.jsonl"
    assert len(samples.read_text().splitlines()) == 8
    samples.write_text(samples.read_text()[:-10])  # the last line torn by the death
    result = do(values, tmp_path, "evaluate.batch_prompts=4")
    # What was finished is not asked again; the torn line's answer is in the ledger.
    assert len(calls) == 9 + 4 + 12
    assert len(result.base.task("sums").scores) == 12


@pytest.mark.parametrize(
    ("change", "words"),
    [({"scorer": "contain"}, "contains"), ({"path": "/nowhere.jsonl"}, "nowhere"), ({"split": "dev"}, "dev")],
)
def test_a_task_that_cannot_be_asked_shows_before_training(values, tmp_path, change, words):
    values["evaluate"]["tasks"][0] |= change
    with pytest.raises(TunesmithError, match=words):
        do(values, tmp_path)
    assert not (tmp_path / "runs" / "tiny" / "train").exists()


def test_after_a_rollback_a_rerun_does_not_claim_the_alias(values, tmp_path):
    from tunesmith.pool import rollback

    do(values, tmp_path)
    second = do(values, tmp_path, "train.learning_rate=0.01")
    rollback(tmp_path / "pool", "sums")
    again = do(values, tmp_path, "train.learning_rate=0.01")
    assert second.is_promoted
    assert not again.is_promoted
    assert not again.did_work


def test_a_failing_gate_keeps_the_entry_and_leaves_the_alias(values, tmp_path):
    result = do(values, tmp_path, "gate.improve.sums=0.9")
    assert result.verdict.outcome != "PASS"
    assert not result.is_promoted
    assert aliases(tmp_path / "pool") == {}
    assert resolve(tmp_path / "pool", result.entry.digest).manifest["verdict"]["outcome"] == result.verdict.outcome


def test_holdout_becomes_a_task(values, tmp_path):
    values["data"]["holdout"] = 6
    values["evaluate"]["tasks"] = [{"name": "heldout", "path": "heldout", "scorer": "likelihood"}]
    values["gate"] = {"improve": {"heldout": 0.0}}
    result = do(values, tmp_path)
    scores = result.tuned.task("heldout").scores
    assert len(scores) == 6
    assert all(value < 0 for value in scores.values())


def test_full_fine_tuning_takes_the_same_path(values, tmp_path):
    result = do(values, tmp_path, "train.method=full")
    assert (result.entry.path / "weights" / "model.safetensors").is_file()
    assert result.tuned.model_digest != result.base.model_digest


def test_any_data_file_serves_as_a_task(values, tmp_path):
    rows = [{"question": f"{n}+1?", "answer": f"so\n#### {n + 1}"} for n in range(5)]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "train2.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 3))
    task = {"name": "q", "path": str(tmp_path / "test.jsonl"), "scorer": "number", "max_tokens": 4}
    result = do(
        {
            **values,
            "evaluate": {"tasks": [task], "panel": "off", "certificate_items": 0},
            "gate": {},
            "data": {"paths": [str(tmp_path / "train2.jsonl")]},
        },
        tmp_path,
        "data.prompt_field=question",
        "data.response_field=answer",
    )
    assert len(result.tuned.task("q").scores) == 5
    assert {finding.task: finding.outcome for finding in result.verdict.findings} == {
        "q": "INCONCLUSIVE",
        "general": "INCONCLUSIVE",
    }, "the default policy: q must improve, and nothing general was looked at"


def test_two_processes_cannot_share_a_run_folder(values, tmp_path):
    from tunesmith.files import RunDir

    with (
        RunDir(tmp_path / "runs" / "tiny").lock(),
        pytest.raises(TunesmithError, match="another tunesmith process"),
    ):
        do(values, tmp_path)


def test_a_finished_run_needs_no_torch(values, tmp_path):
    do(values, tmp_path)
    code = (
        "import sys, json; from pathlib import Path; from tunesmith.pipeline import run; "
        "from tunesmith.recipe import build_recipe; "
        f"result = run(build_recipe(json.loads({json.dumps(values)!r})), Path({str(tmp_path / 'runs')!r})); "
        "assert not result.did_work; assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_of_the_vault_a_run_tells_the_verdict_alone(values, tmp_path):
    path = tmp_path / "golden.jsonl"
    path.write_text(path.read_text().replace('"gate"', '"vault"'))
    values["evaluate"]["tasks"][0] |= {"split": "vault"}
    result = do(values, tmp_path)
    (finding,) = result.verdict.findings
    assert finding.task == "sums" and finding.outcome in ("PASS", "FAIL", "INCONCLUSIVE")
    assert "nothing more is told" in finding.explanation
    assert result.tuned.task("sums").scores == {} and result.tuned.task("sums").facts["looks"] == 2
    shown = [file for file in (tmp_path / "runs").rglob("*") if file.is_file() and "vault" not in file.parts]
    assert not any('"g11"' in file.read_text(errors="replace") for file in shown)
    assert not any('"g11"' in file.read_text(errors="replace") for file in (tmp_path / "pool").rglob("*.json"))


def test_a_benchmarks_path_starts_at_the_recipe(tmp_path):
    from tunesmith.recipe import load_recipe

    (tmp_path / "deep").mkdir()
    recipe = tmp_path / "deep" / "recipe.toml"
    recipe.write_text(
        '[data]\npaths = ["train.jsonl"]\n[evaluate]\nledger = "mine.sqlite"\n'
        '[[evaluate.tasks]]\nname = "maths"\npath = "gsm8k:../gsm8k/test.jsonl"\n'
        '[[evaluate.tasks]]\nname = "general"\npath = "builtin:general"\n'
    )
    evaluate = load_recipe(recipe).evaluate
    maths, general = evaluate.tasks
    assert maths.path.startswith("gsm8k:/") and Path(maths.path[6:]).resolve() == tmp_path / "gsm8k" / "test.jsonl"
    assert general.path == "builtin:general" and evaluate.ledger == str(tmp_path / "deep" / "mine.sqlite")
