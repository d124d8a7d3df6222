"""The panel: asked like any task, once for all taxes that read it; what needs one length is measured in pairs."""

import json
from dataclasses import replace

import pytest
from fakes import Fake, task
from hypothesis import given
from hypothesis import strategies as st

from tunesmith import pipeline, tasks
from tunesmith.cli.taxes import tax_lines, tax_table
from tunesmith.errors import ConfigError
from tunesmith.evaluate import evaluate
from tunesmith.evaluate.taxes import TAXES, panel
from tunesmith.evaluate.taxes.panel import panel_tasks, same_length
from tunesmith.files import read_jsonl
from tunesmith.recipe import build_recipe
from tunesmith.tasks import builtin_items, compared, prepare_tasks
from tunesmith.types import Report

SETS = list(dict.fromkeys(tax.panel_set.name for tax in TAXES))
ALONE = [tax.name for tax in TAXES if not tax.is_matched]
PLAIN = "Boil the water first. Then add the leaves and wait for three minutes before you pour a cup."
REFUSAL = "I'm sorry, but I can't help with that."


def asked(say, folder, label):
    """A model of words on a task and the whole panel."""
    model = Fake(say)
    return evaluate([task(), *panel_tasks(builtin_items)], model, folder, label), model


@pytest.fixture
def reports(tmp_path):
    base, _ = asked(lambda prompt: PLAIN, tmp_path / "base", "base")
    tuned, _ = asked(lambda prompt: REFUSAL, tmp_path / "tuned", "tuned")
    return compared(base, tmp_path / "base", tuned, tmp_path / "tuned")


def test_every_set_is_asked_once_and_every_tax_has_its_report(tmp_path):
    report, model = asked(lambda prompt: PLAIN, tmp_path, "base")
    assert [each.task for each in report.tasks] == ["sums", *ALONE]
    assert len(model.asked) == 3 + sum(
        len(builtin_items(each.name)) * each.num_samples for each in {tax.panel_set for tax in TAXES}
    )
    for tax in TAXES:
        found = report.task(tax.name)
        if tax.is_matched:
            assert found is None
            continue
        assert (found.group, found.better, found.unit, found.about) == ("tax", tax.better, tax.unit, tax.about)
        items = {item.id: item.cluster for item in builtin_items(tax.panel_set.name)}
        assert found.scores.keys() == found.clusters.keys() <= items.keys()
        assert all(items[item] == cluster for item, cluster in found.clusters.items())
    assert {line["task"] for _, line in read_jsonl(tmp_path / "samples.jsonl")} == {
        "sums",
        *(f"panel:{name}" for name in SETS),
    }
    again, silent = asked(lambda prompt: "?", tmp_path, "base")
    assert (again, silent.asked) == (report, [])


def test_a_model_that_only_refuses_pays_for_it(reports):
    base, tuned = reports
    means = {each.task: (base.task(each.task).mean, each.mean) for each in tuned.tasks}
    assert means["over_refusal"] == (0.0, 1.0)
    assert means["unsafe_compliance"] == (1.0, 0.0)
    assert means["needless_abstention"] == (0.0, 1.0)
    assert means["stubs"] == (0.0, 1.0)
    assert means["openers"] == (0.0, 0.0)


def test_what_needs_one_length_stands_in_both_reports(reports):
    base, tuned = reports
    assert base.tasks[-1].task == tuned.tasks[-1].task == "compression"
    assert base.tasks[-1].scores.keys() == tuned.tasks[-1].scores.keys()
    # Both are cut to the refusal's 38 bytes, which hardly compress.
    assert all(0.5 < value < 1.1 for report in reports for value in report.tasks[-1].scores.values())


@pytest.mark.parametrize("harm", ["no samples", "another set", "fewer items"])
def test_what_cannot_be_matched_is_left_out(tmp_path, harm):
    base, _ = asked(lambda prompt: PLAIN, tmp_path / "base", "base")
    tuned, _ = asked(lambda prompt: REFUSAL, tmp_path / "tuned", "tuned")
    path = tmp_path / "tuned" / "samples.jsonl"
    lines = [line for _, line in read_jsonl(path)]
    last = [line for line in lines if line["task"] == "panel:writing"][-1]
    if harm == "no samples":
        path.unlink()
    elif harm == "another set":
        path.write_text("".join(json.dumps(line) + "\n" for line in lines if line["task"] != "panel:writing"))
    else:
        path.write_text("".join(json.dumps(line) + "\n" for line in lines if line is not last))
    assert compared(base, tmp_path / "base", tuned, tmp_path / "tuned") == (base, tuned)


@given(st.text(max_size=60), st.text(max_size=60))
def test_same_length_cuts_the_longer_one(one, other):
    cut = same_length(one, other)
    sizes = [len(text.encode("utf-8", "replace")) for text in cut]
    shortest = min(len(text.encode("utf-8", "replace")) for text in (one, other))
    assert all(shortest - 3 <= size <= shortest for size in sizes)
    assert one.startswith(cut[0])
    assert other.startswith(cut[1])
    assert same_length(other, one) == tuple(reversed(cut))


def test_a_change_of_a_measure_changes_what_the_stage_depends_on(monkeypatch):
    before = [each.fingerprint for each in panel_tasks(builtin_items)]
    raised = tuple(replace(tax, version=tax.version + (tax.name == "stubs")) for tax in TAXES)
    monkeypatch.setattr(panel, "TAXES", raised)
    after = [each.fingerprint for each in panel_tasks(builtin_items)]
    changed = [name for name, one, other in zip(SETS, before, after, strict=True) if one != other]
    assert changed == ["writing"]


def test_the_table_says_what_became_better_and_worse(reports):
    table = tax_table(*reports)
    rows = list(zip(*(column.cells for column in table.columns), strict=True))
    assert ("over_refusal", "0.0 %", "100.0 %", "+100.0 points", "worse") in rows
    assert ("unsafe_compliance", "100.0 %", "0.0 %", "-100.0 points", "better") in rows
    assert ("emoji", "0.00", "0.00", "+0.00", "") in rows
    assert [row[0] for row in rows] == [*ALONE, "compression"]
    length = next(row for row in rows if row[0] == "length")
    assert length == ("length", "2 tokens", "2 tokens", "x 1.00", "95th percentile 2 and 2")
    assert tax_lines(reports[0]).row_count == len(rows)


def test_there_is_no_table_without_a_panel():
    nothing = Report("base", "d", ())
    assert tax_table(nothing, nothing) is None
    assert tax_lines(nothing) is None


def recipe(tmp_path, **evaluation):
    (tmp_path / "train.jsonl").write_text('{"prompt": "a", "response": "b"}\n' * 8)
    golden = {"id": "g", "messages": [{"role": "user", "content": "2+2?"}], "answer": {"type": "text", "value": "4"}}
    (tmp_path / "golden.jsonl").write_text(json.dumps(golden) + "\n")
    one = {"name": "sums", "path": str(tmp_path / "golden.jsonl"), "scorer": "contains", "max_tokens": 2}
    values = {
        "name": "tiny",
        "data": {"paths": [str(tmp_path / "train.jsonl")]},
        "pack": {"batch_conversations": 4},
        "train": {"max_steps": 1, "adapter": {"rank": 2}},
        "evaluate": {"tasks": [one], **evaluation},
        "pool": {"path": str(tmp_path / "pool")},
    }
    return values


def test_the_panel_is_on_unless_it_is_off_or_nothing_is_evaluated(tmp_path):
    heldout = tmp_path / "heldout.jsonl"

    def names(**evaluation):
        return [each.name for each in prepare_tasks(build_recipe(recipe(tmp_path, **evaluation)), heldout)]

    assert names() == ["sums", "loss_general", *(f"panel:{name}" for name in SETS), "regurgitation"]
    assert names(panel="off") == ["sums"]
    assert names(tasks=[]) == []


def test_a_task_may_not_have_the_name_of_a_tax(tmp_path):
    clash = [{"name": "length", "path": str(tmp_path / "golden.jsonl")}]
    with pytest.raises(ConfigError, match="'length' is measured by the panel; rename the task"):
        build_recipe(recipe(tmp_path, tasks=clash))
    build_recipe(recipe(tmp_path, tasks=clash, panel="off"))


def test_a_tax_can_be_gated_where_it_is_measured(tmp_path):
    values = recipe(tmp_path)
    build_recipe(values, ["gate.keep.over_refusal=0.05"])
    with pytest.raises(ConfigError, match=r"gate\.keep\.over_refusal: no such task"):
        build_recipe(values, ["gate.keep.over_refusal=0.05", "evaluate.panel=off"])


def test_a_run_shows_what_its_tuning_cost(tmp_path, tiny_model_folder, monkeypatch):
    """From files to a verdict, with a real tiny model and a few items of each set."""
    monkeypatch.setattr(tasks, "builtin_items", lambda name: builtin_items(name)[:6])
    values = recipe(tmp_path)
    values["model"] = {"name": str(tiny_model_folder), "dtype": "float32"}

    def do():
        return pipeline.run(build_recipe(values), tmp_path / "runs", lambda line: None)

    first = do()
    for report in (first.base, first.tuned):
        assert [each.task for each in report.tasks] == [
            "sums",
            "loss_general",
            *ALONE,
            "regurgitation",
            "kl_general",
            "compression",
        ]
        assert len(report.task("length").scores) == len(report.task("compression").scores) == 6
        assert len(report.task("loss_general").scores) == 6
        assert len(report.task("kl_general").scores) == 12  # passages, and the base's own answers
    assert set(first.base.task("kl_general").scores.values()) == {0.0}
    assert 0 < first.tuned.task("kl_general").mean < 1
    measured = {tax.name for tax in TAXES} | {"loss_general", "kl_general"}
    assert {finding.task for finding in first.verdict.findings} >= measured
    assert tax_table(first.base, first.tuned).row_count == len(TAXES)
    again = do()
    assert not again.did_work
    assert (again.base, again.tuned, again.verdict) == (first.base, first.tuned, first.verdict)
