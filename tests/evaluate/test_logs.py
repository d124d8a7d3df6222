"""Logs of lm-evaluation-harness and Inspect, in the shapes that they write, become reports that compare and gate."""

import hashlib
import json
import os
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import pyarrow
import pytest
from typer.testing import CliRunner

from tunesmith.cli import app
from tunesmith.errors import EvaluateError
from tunesmith.evaluate.logs import is_log, read_log
from tunesmith.evaluate.logs.child import Errand, run_harness
from tunesmith.gate import GateConfig, gate

DATE = "2025-06-01T10-00-00.123456"


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def generated(number, value, used="strict-match", **metrics):
    """A line of a task whose answers are generated, as the harness's `save_results_samples` leaves it."""
    metrics = metrics or {"exact_match": value}
    doc = {"question": f"{number} + 1?", "answer": str(number + 1)}
    return {
        "doc_id": number,
        "doc": doc,
        "target": str(number + 1),
        "arguments": {"gen_args_0": {"arg_0": f"Question: {number} + 1?\nAnswer:", "arg_1": {"until": ["\n"]}}},
        "resps": [[f" it is {number + 1}."]],
        "filtered_resps": [str(number + 1)],
        "filter": used,
        "metrics": list(metrics),
        "doc_hash": digest(json.dumps(doc)),
        "prompt_hash": digest(str(number)),
        "target_hash": digest(str(number + 1)),
        **metrics,
    }


def priced(number, value):
    """A line of a multiple-choice task: log-likelihoods as text, for that is what `sanitize_list` makes of them."""
    line = generated(number, 0, "none", acc=value, acc_norm=1.0)
    choices = {f"gen_args_{n}": {"arg_0": "Q:", "arg_1": f" choice {n}"} for n in range(3)}
    prices = [["-3.5", "False"], ["-0.25", "True"], ["-9.0", "False"]]
    return {**line, "arguments": choices, "resps": [[each] for each in prices], "filtered_resps": prices}


def write_harness(folder, lines, task="gsm8k", date=DATE, **results):
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / f"samples_{task}_{date}.jsonl").write_text(text)
    data = {"results": {}, "config": {"model": "hf", "model_args": f"pretrained={folder.name}"}, **results}
    (folder / f"results_{date}.json").write_text(json.dumps(data))
    return folder


def sums(folder, num_right, num=60):
    """A run in which the first answers are right."""
    lines = [generated(number, float(number < num_right)) for number in range(num)]
    return write_harness(folder, lines, model_name=folder.name, lm_eval_version="0.4.13")


def inspect_sample(number, value, epoch=1, **fields):
    score = {"value": value, "answer": "7", "explanation": "it said 7", "metadata": None, "history": []}
    message = {"id": os.urandom(4).hex(), "role": "assistant", "content": "It is 7."}
    return {
        "id": number,
        "epoch": epoch,
        "input": [{"id": os.urandom(4).hex(), "role": "user", "content": f"What is {number}?"}],
        "target": "7",
        "messages": [],
        "output": {"model": "m", "choices": [{"message": message, "stop_reason": "stop"}], "completion": "It is 7."},
        "scores": {"match": score},
        "metadata": {},
        **fields,
    }


def header(model="openai/gpt", status="success", **fields):
    spec = {"created": "2025-06-01T10:00:00+00:00", "task": "inspect_evals/sums", "model": model, "dataset": {}}
    return {"version": 2, "status": status, "eval": {**spec, "packages": {"inspect_ai": "0.3.285"}}, **fields}


def write_archive(path, samples, **fields):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_journal/start.json", "{}")
        for sample in samples:
            archive.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", json.dumps(sample))
        archive.writestr("summaries.json", "[]")
        archive.writestr("header.json", json.dumps(header(**fields)))
    return path


def test_each_metric_under_each_filter_is_a_task(tmp_path):
    lines = [generated(n, float(n % 2)) for n in range(4)] + [generated(n, 1.0, "flexible-extract") for n in range(4)]
    folder = write_harness(tmp_path / "out" / "org__model", lines, model_name="org/model", lm_eval_version="0.4.13")
    assert is_log(tmp_path / "out") and is_log(folder)
    report, samples = read_log(tmp_path / "out")
    assert (report.model, report.engine) == ("org/model", "lm-evaluation-harness 0.4.13, hf")
    assert report.model_digest.startswith("lm-eval:")
    strict, flexible = report.tasks
    assert strict.task == "gsm8k_exact_match_strict-match" and flexible.mean == 1.0
    assert strict.scores == {"0": 0.0, "1": 1.0, "2": 0.0, "3": 1.0} and len(samples) == 8
    assert samples[1].completion == "2" and samples[1].expected == "2" and samples[1].prompt.startswith("Question: 1")
    for path in folder.iterdir():
        assert is_log(path) and read_log(path).report.tasks == report.tasks


def test_choices_directions_and_lists_of_truths_are_read(tmp_path):
    choices = write_harness(tmp_path / "a", [priced(n, float(n)) for n in range(2)], "arc", model_name="m")
    report, samples = read_log(choices)
    assert [task.task for task in report.tasks] == ["arc_acc", "arc_acc_norm"] and samples[0].completion == "choice 1"
    lines = [generated(0, 0, "none", inst_level_strict_acc=[True, False, True, True], prompt_level_strict_acc=False)]
    lower = {"ifeval": {"prompt_level_strict_acc": False}}
    instructions, prompts = read_log(
        write_harness(tmp_path / "b", lines, "ifeval", higher_is_better=lower)
    ).report.tasks
    assert (instructions.mean, instructions.better) == (0.75, "higher")
    assert (prompts.mean, prompts.better) == (0.0, "lower")


def test_what_was_not_scored_is_skipped_and_never_wrong(tmp_path):
    pairs = [generated(n, 0, "none", word_perplexity=[-12.5, 7]) for n in range(3)]
    (task,) = read_log(write_harness(tmp_path / "a", pairs, "wikitext")).report.tasks
    assert task.scores == {} and task.skipped.startswith("3 of 3 items have no score")
    with pytest.raises(EvaluateError, match="predict_only"):
        read_log(write_harness(tmp_path / "b", [generated(0, 0, "none", bypass=999)]))
    broken = [
        inspect_sample(0, "C"),
        inspect_sample(1, "C", error={"message": "died"}),
        inspect_sample(2, float("nan")),
    ]
    path = tmp_path / "log.json"
    path.write_text(json.dumps(header(samples=broken)))
    (task,) = read_log(path).report.tasks
    assert task.scores == {} and "2 of 3 items have no score, such as 1" in task.skipped


def test_of_several_runs_in_a_folder_the_newest_is_read(tmp_path):
    folder = sums(tmp_path / "m", 0)
    write_harness(folder, [generated(0, 1.0)], date="2025-07-01T00-00-00.0", model_name="newer")
    report = read_log(folder).report
    assert report.model == "newer" and report.tasks[0].scores == {"0": 1.0}
    older = read_log(folder / f"samples_gsm8k_{DATE}.jsonl")
    assert len(older.report.tasks[0].scores) == 60


def test_old_lines_without_filter_metrics_and_hashes_are_read(tmp_path):
    line = generated(3, 1.0)
    old = {key: line[key] for key in ("doc_id", "doc", "target", "resps", "filtered_resps", "exact_match")}
    old["arguments"] = [["Question: 3 + 1?", {"until": []}]]
    report, samples = read_log(write_harness(tmp_path / "old", [old]))
    assert report.tasks[0].task == "gsm8k_exact_match" and samples[0].prompt == "Question: 3 + 1?"


def test_runs_of_other_items_do_not_pair(tmp_path):
    first = read_log(sums(tmp_path / "a", 30)).report
    changed = [generated(n, 1.0) | {"doc_hash": "another"} for n in range(60)]
    second = read_log(write_harness(tmp_path / "b", changed)).report
    with pytest.raises(EvaluateError, match="other content"):
        gate(GateConfig(improve={first.tasks[0].task: 0.0}), second, first)


@pytest.mark.parametrize("kind", [".json", ".eval"])
def test_inspect_logs_are_read_with_grades_epochs_and_several_values(tmp_path, kind):
    grades = {0: "C", 1: "I", 2: "P", 3: "N", 4: True, 5: "0.25"}
    samples = [inspect_sample(number, value) for number, value in grades.items()]
    samples += [inspect_sample(number, "C", epoch=2) for number in grades]
    for sample in samples:
        several = {"fluent": 2, "true": False}
        sample["scores"]["grader"] = {"value": several, "answer": None, "explanation": None}
    path = tmp_path / f"log{kind}"
    if kind == ".eval":
        write_archive(path, samples)
    else:
        path.write_text(json.dumps(header(samples=samples)))
    assert is_log(path)
    report, answers = read_log(path)
    assert (report.model, report.engine) == ("openai/gpt", "inspect 0.3.285")
    names = {task.task: task for task in report.tasks}
    assert set(names) == {"sums_match", "sums_grader_fluent", "sums_grader_true"}
    assert names["sums_match"].scores == {"0": 1.0, "1": 0.5, "2": 0.75, "3": 0.5, "4": 1.0, "5": 0.625}
    assert names["sums_grader_fluent"].mean == 2.0 and names["sums_grader_true"].mean == 0.0
    assert len(answers) == 36 and answers[0].completion == "It is 7." and answers[0].explanation == "it said 7"
    assert {answer.number for answer in answers} == {0, 1}


def test_the_ids_of_messages_do_not_make_other_items(tmp_path):
    first, second = (
        read_log(write_archive(tmp_path / f"{name}.eval", [inspect_sample(n, "C") for n in range(3)], model=name))
        for name in ("a", "b")
    )
    assert first.report.tasks[0].items_digest == second.report.tasks[0].items_digest
    assert first.report.model_digest != second.report.model_digest


def zstandard(path):
    """Pack a stored archive again as Inspect does on any Python: method 93, in several frames."""
    codec = pyarrow.Codec("zstd")
    with zipfile.ZipFile(path) as archive:
        members = [(info.filename.encode(), archive.read(info)) for info in archive.infolist()]
    body, directory = b"", b""
    for name, data in members:
        packed = b"".join(codec.compress(part, asbytes=True) for part in (data[:10], data[10:]))
        fields = struct.pack("<5H3I2H", 63, 0, 93, 0, 33, zlib.crc32(data), len(packed), len(data), len(name), 0)
        directory += b"PK\x01\x02" + struct.pack("<H", 63) + fields + struct.pack("<3H2I", 0, 0, 0, 0, len(body)) + name
        body += b"PK\x03\x04" + fields + name + packed
    ending = struct.pack("<4H2IH", 0, 0, len(members), len(members), len(directory), len(body), 0)
    path.write_bytes(body + directory + b"PK\x05\x06" + ending)


def test_archives_of_todays_inspect_are_read(tmp_path):
    path = write_archive(
        tmp_path / "log.eval", [inspect_sample(n, "C", metadata={"long": "x" * 500}) for n in range(3)]
    )
    expected = read_log(path)
    zstandard(path)
    with zipfile.ZipFile(path) as archive:
        assert {info.compress_type for info in archive.infolist()} == {93}
    assert read_log(path) == expected
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"samples/1_epoch_1.json") + 60] ^= 255
    path.write_bytes(whole)
    with pytest.raises(EvaluateError, match=r"samples/1_epoch_1\.json"):
        read_log(path)


def test_what_is_damaged_or_unfinished_is_refused_by_name(tmp_path):
    path = tmp_path / "log.eval"
    path.write_bytes(b"PK no archive")
    with pytest.raises(EvaluateError, match="not a zip file"):
        read_log(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("samples/0_epoch_1.json", "{}")
    with pytest.raises(EvaluateError, match="without header"):
        read_log(path)
    with pytest.raises(EvaluateError, match="ended with 'cancelled'"):
        read_log(write_archive(path, [inspect_sample(0, "C")], status="cancelled"))
    with pytest.raises(EvaluateError, match="input"):
        read_log(write_archive(path, [{"id": 0, "epoch": 1}]))
    with pytest.raises(EvaluateError, match="stands twice"):
        read_log(write_harness(tmp_path / "twice", [generated(0, 1.0), generated(0, 0.0)]))
    with pytest.raises(EvaluateError, match="line 1: KeyError"):
        read_log(write_harness(tmp_path / "short", [{"doc_id": 0}]))
    own = tmp_path / "report.json"
    own.write_text(json.dumps({"model": "m", "tasks": []}))
    assert not is_log(own) and not is_log(tmp_path / "nothing")


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tunesmith.evaluate.logs.inspecting.MOST_BYTES", 10_000)
    path = write_archive(tmp_path / "bomb.eval", [inspect_sample(0, "C", metadata={"zeros": "0" * 50_000})])
    assert path.stat().st_size < 5_000
    with pytest.raises(EvaluateError, match=r"at most 10,000 are read"):
        read_log(path)


def test_old_runs_are_compared_and_gated(tmp_path):
    base, tuned = sums(tmp_path / "base", 20), sums(tmp_path / "tuned", 50)
    shown = CliRunner().invoke(app, ["compare", str(base), str(tuned), "--html", str(tmp_path / "page.html")])
    assert shown.exit_code == 0, shown.output
    assert "+50.0 (" in shown.output and "better" in shown.output and "-0 +30" in shown.output
    page = (tmp_path / "page.html").read_text()
    assert "base → tuned" in page and "Gained: 10 of 30 shown" in page and "Question: 20 + 1?" in page
    task = "gate.improve.gsm8k_exact_match_strict-match=0.1"
    args = ["gate", "--candidate", str(tuned), "--baseline", str(base), "--set", task]
    assert CliRunner().invoke(app, args).exit_code == 0


FAKE = """#!{python}
import json, os, sys
arguments = sys.argv[1:]
assert arguments[:2] == ["-m", "lm_eval"] and "--log_samples" in arguments, arguments
arguments.remove("--log_samples")
given = dict(zip(arguments[2::2], arguments[3::2]))
if given["--tasks"] == "broken":
    sys.exit("no such task")
folder = os.path.join(given["--output_path"], "the__model")
os.makedirs(folder)
lines = {lines}
with open(os.path.join(folder, "samples_sums_{date}.jsonl"), "w") as file:
    file.writelines(json.dumps(line) + "\\n" for line in lines[: int(given.get("--limit", 99))])
seen = {{"model": "hf", "model_args": given["--model_args"], "path": os.environ.get("PYTHONPATH")}}
with open(os.path.join(folder, "results_{date}.json"), "w") as file:
    json.dump({{"results": {{}}, "config": seen, "model_name": given["--include_path"]}}, file)
"""


@pytest.fixture
def child(tmp_path):
    """A program that stands for the python of the harness's environment, and writes what the harness writes."""
    path = tmp_path / "python"
    lines = [generated(n, float(n % 2)) for n in range(4)]
    path.write_text(FAKE.format(python=sys.executable, lines=repr(lines), date=DATE))
    path.chmod(0o755)
    return path


def test_the_harness_runs_as_a_child_in_its_own_environment(tmp_path, child, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "ours")
    errand = Errand(("sums",), tmp_path / "model", tmp_path / "adapter", include=tmp_path, max_items=3)
    report, samples = run_harness(child, errand, tmp_path / "out")
    assert report.model == str(tmp_path) and len(samples) == 3
    told = json.loads((tmp_path / "out" / "the__model" / f"results_{DATE}.json").read_text())["config"]
    assert told["path"] is None
    assert told["model_args"] == f"pretrained={tmp_path}/model,dtype=auto,peft={tmp_path}/adapter"
    with pytest.raises(EvaluateError, match="ended with 1"):
        run_harness(child, Errand(("broken",), tmp_path), tmp_path / "other")
    with pytest.raises(EvaluateError, match="cannot be started"):
        run_harness(tmp_path / "absent", errand, tmp_path / "none")
    with pytest.raises(EvaluateError, match="comma"):
        run_harness(child, Errand(("sums",), Path("a,b")), tmp_path / "none")


def test_the_command_leaves_a_report_of_our_own(tmp_path, child, tiny_model_folder):
    args = ["harness", "sums", "--python", child, "--model", tiny_model_folder, "--include", tmp_path / "tasks"]
    (tmp_path / "tasks").mkdir()
    args = [*map(str, args), "--out", str(tmp_path / "work")]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 0, done.output
    assert "sums_exact_match_strict-match" in done.output and "50.0 %" in done.output
    report = json.loads((tmp_path / "work" / "report.json").read_text())
    assert not report["model_digest"].startswith("lm-eval:") and len(report["model_digest"]) == 64
    assert "Nothing to do" in CliRunner().invoke(app, args).output
    same = [str(tmp_path / "work")] * 2
    assert "-0 +0" in CliRunner().invoke(app, ["compare", *same]).output
