"""The runner: one value an item, whatever interrupts it; and what the vault lets out."""

import itertools
import json
import math
import stat

import pytest
from fakes import Fake, items, task
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.errors import EvaluateError, SkippedError
from tunesmith.evaluate import TaskConfig, evaluate
from tunesmith.evaluate.estimates import pass_at_k
from tunesmith.evaluate.vault import opened
from tunesmith.files import read_json, read_jsonl
from tunesmith.generate import Sampling
from tunesmith.types import Report


def lines(folder):
    return [line for _, line in read_jsonl(folder / "samples.jsonl")]


def test_a_report_has_a_value_an_item_and_says_what_answered(tmp_path):
    report = evaluate([task(about="small sums")], Fake(), tmp_path, "base")
    assert report.task("sums").scores == {"i0": 1.0, "i1": 0.0, "i2": 1.0}
    assert (report.model, report.model_digest, report.engine) == ("base", "d", "fake")
    assert (report.tasks[0].about, report.tasks[0].better, report.tasks[0].group) == ("small sums", "higher", "task")
    assert Report.from_dict(read_json(tmp_path / "report.json")) == report
    assert next((line["item_id"], line["gap"], line["num_tokens"]) for line in lines(tmp_path)) == ("i0", 0.5, 2)


@pytest.mark.parametrize("die_at", range(6))
def test_nothing_finished_is_asked_again(tmp_path, die_at):
    def dying(prompt):
        if len(model.asked) == die_at + 1:
            raise KeyboardInterrupt
        return "4"

    model, drawn = Fake(dying), {"sampling": Sampling(temperature=1.0), "num_samples": 2}
    with pytest.raises(KeyboardInterrupt):
        evaluate([task(**drawn)], model, tmp_path)
    assert len(lines(tmp_path)) == die_at
    again = Fake()
    report = evaluate([task(**drawn)], again, tmp_path)
    assert len(again.asked) == 6 - die_at
    assert report == evaluate([task(**drawn)], Fake(), tmp_path / "whole")
    assert (tmp_path / "samples.jsonl").read_bytes() == (tmp_path / "whole" / "samples.jsonl").read_bytes()


def test_a_torn_or_damaged_line_is_not_counted(tmp_path):
    whole = evaluate([task()], Fake(), tmp_path)
    path = tmp_path / "samples.jsonl"
    path.write_bytes(b'{"task": "sums"}\n\xff\xfe\n' + path.read_bytes()[:-20])
    again = Fake()
    assert evaluate([task()], again, tmp_path) == whole
    assert [prompt.messages[0].content for prompt in again.asked] == ["question 2"]


def test_samples_are_numbered_and_averaged(tmp_path):
    drawn = task(sampling=Sampling(temperature=1.0), num_samples=4)
    report = evaluate([drawn], Fake(lambda prompt: "4" if prompt.sample == 3 else "5"), tmp_path)
    assert report.task("sums").scores == {"i0": 0.25, "i1": 0.75, "i2": 0.25}
    assert [(line["item_id"], line["number"]) for line in lines(tmp_path)] == [
        (f"i{item}", number) for item in range(3) for number in range(4)
    ]


def test_pass_at_k_of_samples(tmp_path):
    drawn = task(sampling=Sampling(temperature=1.0), num_samples=4, pass_at=2)
    report = evaluate([drawn], Fake(lambda prompt: "4" if prompt.sample == 3 else "5"), tmp_path)
    assert report.task("sums").scores == pytest.approx({"i0": 0.5, "i1": 1.0, "i2": 0.5})
    half = task(lambda item, text: (0.5, "half."), sampling=Sampling(temperature=1.0), num_samples=2, pass_at=1)
    with pytest.raises(EvaluateError, match="not 0 or 1"):
        evaluate([half], Fake(), tmp_path / "half")


@given(num_samples=st.integers(1, 7), k=st.integers(1, 7), data=st.data())
def test_pass_at_k_is_the_mean_over_all_choices_of_k_samples(num_samples, k, data):
    """Oracle: every choice of k of the n samples, counted."""
    k = min(k, num_samples)
    right = data.draw(st.integers(0, num_samples))
    outcomes = [1] * right + [0] * (num_samples - right)
    chosen = [max(some) for some in itertools.combinations(outcomes, k)]
    assert pass_at_k(num_samples, right, k) == pytest.approx(sum(chosen) / len(chosen))


def test_a_task_that_cannot_be_judged_here_is_skipped_and_the_others_are_not(tmp_path):
    def no_box(item, completion):
        raise SkippedError("there is no sandbox on this machine")

    report = evaluate([task(no_box, name="code"), task()], Fake(), tmp_path)
    code = report.task("code")
    assert (code.skipped, code.scores) == ("there is no sandbox on this machine", {}) and math.isnan(code.mean)
    assert report.task("sums").mean == pytest.approx(2 / 3)
    assert {line["task"] for line in lines(tmp_path)} == {"sums"}


def test_a_config_that_cannot_work_is_refused():
    for options, words in (
        ({"samples": 3}, "copies"),
        ({"samples": 2, "temperature": 1.0, "pass_at": 3}, "needs that many samples"),
        ({"stride_tokens": 1024}, "less than window_tokens"),
    ):
        with pytest.raises(ValueError, match=words):
            TaskConfig(name="a", path="b", **options)


# The vault

SECRET = "question"


def vaulted(tmp_path, **options):
    golden = tmp_path / "golden.jsonl"
    golden.touch()
    return task(is_sealed=True, golden=golden, **options)


def test_the_vault_lets_nothing_out_but_how_often_it_was_looked_into(tmp_path):
    run = tmp_path / "run"
    report = evaluate([vaulted(tmp_path), task(name="open")], Fake(lambda prompt: "4 or so"), run)
    shown = report.task("sums")
    assert (shown.scores, shown.clusters, shown.is_sealed) == ({}, {}, True)
    assert shown.facts == {"items": 3.0, "looks": 1.0}
    assert {line["task"] for line in lines(run)} == {"open"}
    assert "i1" not in json.dumps([task for task in read_json(run / "report.json")["tasks"] if task["task"] == "sums"])
    kept = (run / "vault" / "samples.jsonl").read_text()
    assert SECRET not in kept and "or so" not in kept
    assert stat.S_IMODE((run / "vault").stat().st_mode) == 0o700


def test_the_gate_reads_the_vault(tmp_path):
    run = tmp_path / "run"
    report = evaluate([vaulted(tmp_path), task(name="open")], Fake(), run)
    full = opened(run, report)
    assert full.task("sums").scores == {"i0": 1.0, "i1": 0.0, "i2": 1.0} and full.task("sums").is_sealed
    assert full.task("open") == report.task("open")
    assert opened(run, Report("m", "d", (report.task("open"),))).tasks == (report.task("open"),)
    (run / "vault" / "report.json").unlink()
    with pytest.raises(EvaluateError, match="evaluate again"):
        opened(run, report)


def test_each_model_that_looks_into_the_vault_is_counted_once(tmp_path):
    looks = []
    for number, digest in enumerate(("a", "b", "a", "c")):
        report = evaluate([vaulted(tmp_path)], Fake(digest=digest), tmp_path / f"run-{number}")
        looks.append(report.tasks[0].facts["looks"])
    assert looks == [1, 2, 2, 3]
    noted = [line for _, line in read_jsonl(tmp_path / "golden.jsonl.looks.jsonl")]
    assert [line["model"] for line in noted] == ["a", "b", "c"]


def test_a_vault_resumes_without_its_answers(tmp_path):
    def dying(prompt):
        if len(model.asked) == 3:
            raise KeyboardInterrupt
        return "4"

    model = Fake(dying)
    with pytest.raises(KeyboardInterrupt):
        evaluate([vaulted(tmp_path)], model, tmp_path / "run")
    again = Fake()
    report = evaluate([vaulted(tmp_path)], again, tmp_path / "run")
    assert len(again.asked) == 1
    assert opened(tmp_path / "run", report).tasks[0].scores == {"i0": 1.0, "i1": 0.0, "i2": 1.0}


# Prices and figures of a whole task


def chosen(judge, cost, right="b c", choices=("a", "b c")):
    asked = items(right, choices=list(choices))
    return task(judge, asked), Fake(cost=lambda prompt, text: cost[text])


@pytest.mark.parametrize(("judge", "right"), [("choice", "a"), ("choice_by_token", "b c"), ("choice_by_byte", "b c")])
def test_the_likeliest_choice_by_length(tmp_path, judge, right):
    """By lm-evaluation-harness's formulas: argmax of the sum, or of the sum over the length."""
    asked, model = chosen(judge, {"a": -2.0, "b c": -3.0}, right)
    report = evaluate([asked], model, tmp_path)
    assert report.tasks[0].scores == {"i0": 1.0}
    assert lines(tmp_path)[0]["completion"] == right


def test_multiple_choice_needs_its_choices(tmp_path):
    asked, model = chosen("choice", {"a": -2.0, "b c": -3.0}, right="d")
    with pytest.raises(EvaluateError, match="one of them"):
        evaluate([asked], model, tmp_path)


def test_bits_per_byte_of_pieces_and_of_the_whole(tmp_path):
    asked = items("ab cd", "efgh ij kl m")
    model = Fake(cost=lambda prompt, text: -2.0 * len(text) * math.log(2) if text[0] == "a" else -6.5)
    report = evaluate([task("bits_per_byte", asked, better="lower")], model, tmp_path)
    part = report.tasks[0]
    second = 6.5 / math.log(2) / 12
    assert part.scores == pytest.approx({"i0": 2.0, "i1": second})
    nats = 10 * math.log(2) + 6.5
    assert part.facts == pytest.approx(
        {
            "bits_per_byte": nats / math.log(2) / 17,
            "perplexity": math.exp(nats / 6),
            "word_perplexity": math.exp(nats / 6),
        }
    )


def test_macro_f1_stands_beside_accuracy(tmp_path):
    """By hand: a is given thrice and right twice, b is given once and right, c is never given."""
    labels = {"choices": ["a", "b", "c"]}
    wanted = ["a", "a", "b", "c", "c"]
    said = ["a", "a", "b", "a", "who knows"]
    asked = tuple(
        each
        for value, each in zip(wanted, items(*wanted, **labels), strict=True)
        if each.record["answer"].update(type="label") is None and value
    )
    answers = {f"question {number}": text for number, text in enumerate(said)}
    report = evaluate([task("label", asked)], Fake(lambda prompt: answers[prompt.messages[0].content]), tmp_path)
    part = report.tasks[0]
    assert part.mean == pytest.approx(3 / 5)
    assert part.facts == pytest.approx({"macro_f1": (2 * 2 / (2 * 2 + 1) + 1.0 + 0.0) / 3})
