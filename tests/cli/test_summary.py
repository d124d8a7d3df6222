"""The summary at the end of a run, from made-up reports and samples."""

from dataclasses import replace
from pathlib import Path

import pytest

from tunesmith.cli.summary import print_summary
from tunesmith.files import write_jsonl
from tunesmith.gate import GateConfig, gate
from tunesmith.pipeline import RunResult
from tunesmith.recipe import Recipe, build_recipe
from tunesmith.types import Entry, Report, Sample, TaskReport

NUM_ITEMS = 40


def task(name: str, right: range, clusters: int = 2) -> TaskReport:
    ids = [f"item-{number}" for number in range(NUM_ITEMS)]
    scores = {item: float(number in right) for number, item in enumerate(ids)}
    return TaskReport(name, "same", scores, {item: f"c{number % clusters}" for number, item in enumerate(ids)})


def sample(report: TaskReport, item: str, answer: str) -> Sample:
    prompt = f"question {item}\nsecond line"
    cluster = report.clusters[item]
    return Sample(report.task, item, cluster, prompt, "expected", answer, 3, True, report.scores[item], "why")


@pytest.fixture
def recipe() -> Recipe:
    tasks = [{"name": "cron", "path": "golden.jsonl"}, {"name": "general", "path": "builtin:general"}]
    policy = {"improve": {"cron": 0.0}, "keep": {"general": 0.05}}
    values = {"name": "cron", "data": {"paths": ["a"]}, "evaluate": {"tasks": tasks}, "gate": policy}
    return build_recipe({**values, "pool": {"alias": "cron"}})


@pytest.fixture
def result(in_tmp: Path, recipe: Recipe) -> RunResult:
    base = Report("base", "b", (task("cron", range(0)), task("general", range(20), clusters=9)))
    tuned = Report("tuned", "t", (task("cron", range(36)), task("general", range(6, 20), clusters=9)))
    folder = Path("runs/cron")
    for report in (base, tuned):
        samples = [sample(part, item, f"{report.model} answer") for part in report.tasks for item in part.scores]
        write_jsonl(folder / "evaluate" / report.model / "samples.jsonl", samples)
    verdict = gate(GateConfig(improve={"cron": 0.0}, keep={"general": 0.05}), tuned, base)
    entry = Entry("3fa12bc09d4e" + "0" * 52, Path("pool/entries") / "3fa12bc09d4e", {})
    return RunResult(folder, base, tuned, verdict, entry, "cron", False, True, folder / "train" / "final")


def printed(capsys: pytest.CaptureFixture[str], recipe: Recipe, result: RunResult) -> str:
    print_summary(recipe, result, 61.0, "examples/cron/recipe.toml")
    return capsys.readouterr().out


def test_before_and_after_with_intervals(capsys: pytest.CaptureFixture[str], recipe: Recipe, result: RunResult) -> None:
    lines = printed(capsys, recipe, result).splitlines()
    cron = next(line for line in lines if line.startswith("cron"))
    assert " ".join(cron.split()) == "cron 40 0.0 % (0 to 9) 90.0 % (77 to 96) +90.0 points"
    below = lines[lines.index(cron) + 1 :]
    assert [line.split()[0] for line in below[:3]] == ["c0", "c1", "general"]  # nine clusters teach nothing


def test_it_says_what_was_lost_and_gained(
    capsys: pytest.CaptureFixture[str], recipe: Recipe, result: RunResult
) -> None:
    text = printed(capsys, recipe, result)
    assert "What was lost: 6 items that the base got right, 5 of them" in text
    assert text.count("    expected expected\n    base     base answer\n    tuned    tuned answer") == 8
    assert "What was gained: 36 items" in text
    assert "general: question item-0 / second line" in text


def test_an_alias_that_stayed_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], recipe: Recipe, result: RunResult
) -> None:
    text = " ".join(printed(capsys, recipe, result).split())
    assert "FAIL: the evidence is against this model." in text
    assert "The alias cron was not moved: the verdict is FAIL, because of general (see above)." in text
    assert "tunesmith pool promote cron 3fa12bc09d4e --force --why" in text


def test_the_next_commands_name_this_run(capsys: pytest.CaptureFixture[str], recipe: Recipe, result: RunResult) -> None:
    text = printed(capsys, recipe, replace(result, is_promoted=True))
    assert "  tunesmith chat cron --against base\n" in text
    assert "tunesmith run examples/cron/recipe.toml --set train.epochs=2 --set name=cron-longer\n" in text
    assert "alias    cron points to this entry now" in text
    assert "Done in 1m01s." in text


def test_another_pool_is_named(capsys: pytest.CaptureFixture[str], recipe: Recipe, result: RunResult) -> None:
    elsewhere = replace(result, entry=replace(result.entry, path=Path("/my pool/entries/3fa12bc09d4e")))
    assert "tunesmith chat 3fa12bc09d4e --pool '/my pool'" in printed(capsys, recipe, elsewhere)


def test_a_piped_summary_is_plain_and_narrow(
    capsys: pytest.CaptureFixture[str], recipe: Recipe, result: RunResult
) -> None:
    text = printed(capsys, recipe, result)
    assert "\x1b" not in text
    assert not set(text) & set("│─┃━╭╰")
    prose = [line for line in text.splitlines() if "tunesmith " not in line]
    assert max(map(len, prose)) <= 80
    assert all(line == line.rstrip() for line in text.splitlines())


def test_a_second_run_says_that_there_was_nothing_to_do(
    capsys: pytest.CaptureFixture[str], recipe: Recipe, result: RunResult
) -> None:
    lines = printed(capsys, recipe, replace(result, did_work=False)).splitlines()
    assert lines[0] == "Nothing to do: every stage of runs/cron is done on these inputs."
    assert lines[1].startswith("FAIL: ")
    assert len(lines) == 3


def test_answers_cut_short_are_counted_for_both(
    capsys: pytest.CaptureFixture[str], recipe: Recipe, result: RunResult
) -> None:
    path = result.folder / "evaluate" / "base" / "samples.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0].replace('"stopped": true', '"stopped": false'), *lines[1:]]) + "\n")
    text = printed(capsys, recipe, result)
    assert "answers cut at" in text
    assert "base 1, tuned 0 of" in " ".join(text.split())
