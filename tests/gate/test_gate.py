"""The gate: a gain must be shown, a loss beyond its margin ruled out, and a small set never passes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.errors import ConfigError, EvaluateError
from tunesmith.gate import GateConfig, gate, read_verdict, write_verdict
from tunesmith.types import Report, TaskReport


def report(scores, digest="tuned", task="general", items="items-1"):
    clusters = dict.fromkeys(scores, "all")
    return Report(f"model-{digest}", digest, (TaskReport(task, items, scores, clusters),))


def pair(n, lost=0, gained=0, right=None):
    """(tuned, base) with this many flips; `right` items are right before."""
    right = n // 2 if right is None else right
    before = {f"item-{index}": float(index < right) for index in range(n)}
    after = dict(before)
    after |= {f"item-{index}": 0.0 for index in range(lost)}
    after |= {f"item-{n - 1 - index}": 1.0 for index in range(gained)}
    return report(after), report(before, "base")


def one(policy, tuned, base):
    verdict = gate(policy, tuned, base)
    assert verdict.outcome == verdict.findings[0].outcome
    return verdict.findings[0]


def keep(margin, *models):
    return one(GateConfig(keep={"general": margin}), *models)


def improve(gain, *models):
    return one(GateConfig(improve={"general": gain}), *models)


def test_a_small_set_without_flips_is_inconclusive_and_says_how_many_items_it_takes():
    finding = keep(0.02, *pair(20))
    assert (finding.outcome, finding.num_needed) == ("INCONCLUSIVE", 149)
    assert "about 149 items would settle it" in finding.explanation
    assert keep(0.02, *pair(148)).outcome == "INCONCLUSIVE"
    assert keep(0.02, *pair(149)).outcome == "PASS"


def test_a_kept_task_passes_when_the_margin_is_ruled_out():
    finding = keep(0.05, *pair(430, lost=3, right=263))
    assert finding.outcome == "PASS"
    assert finding.explanation == (
        "general: 61.2 % -> 60.5 % (3 items lost, 0 gained of 430); a loss of more than 5.0 points is "
        "ruled out (at 95 % confidence the loss is at most 1.8 points)."
    )


def test_significantly_worse_by_less_than_the_margin_passes_and_says_so():
    finding = keep(0.05, *pair(1000, lost=20, gained=2))
    assert finding.outcome == "PASS"
    assert finding.p_value < 0.05
    assert "it did get worse, but a loss of more than 5.0 points is ruled out" in finding.explanation


def test_a_shown_loss_fails():
    finding = keep(0.05, *pair(430, lost=40, gained=2))
    assert (finding.outcome, finding.num_needed) == ("FAIL", None)
    assert "a loss of more than 5.0 points is shown" in finding.explanation
    finding = keep(0.05, *pair(200, lost=10, gained=1))
    assert finding.outcome == "FAIL"
    assert "it got worse, and a loss of more than 5.0 points is not ruled out" in finding.explanation


def test_a_loss_that_may_be_chance_is_inconclusive():
    finding = keep(0.05, *pair(100, lost=4, gained=2))
    assert finding.outcome == "INCONCLUSIVE"
    assert finding.num_needed > 100


def test_many_kept_tasks_do_not_raise_the_false_alarm():
    """p = 0.031 alone is an alarm; as one of five tasks it is not."""
    tuned, base = pair(100, lost=4, gained=0)
    assert keep(0.01, tuned, base).outcome == "FAIL"
    calm = tuple(TaskReport(f"calm-{i}", "x", base.tasks[0].scores, base.tasks[0].clusters) for i in range(4))
    policy = GateConfig(keep={"general": 0.01, **{task.task: 0.05 for task in calm}})
    tuned, base = (Report(model.model, model.model_digest, (*model.tasks, *calm)) for model in (tuned, base))
    finding = gate(policy, tuned, base).findings[0]
    assert finding.outcome == "INCONCLUSIVE"
    assert finding.p_value == pytest.approx(5 * 0.03125)


def test_improve_passes_fails_and_waits():
    assert improve(0.0, *pair(100, gained=20)).outcome == "PASS"
    assert improve(0.05, *pair(100, gained=20)).outcome == "PASS"
    assert improve(0.18, *pair(100, gained=20)).outcome == "INCONCLUSIVE"
    assert improve(0.05, *pair(430, lost=3)).outcome == "FAIL"
    assert improve(0.0, *pair(430, lost=30)).outcome == "FAIL"
    waiting = improve(0.0, *pair(100, gained=3))
    assert waiting.outcome == "INCONCLUSIVE"
    assert "a gain is not shown" in waiting.explanation


def test_a_gain_of_nothing_at_all_cannot_be_settled_by_more_items():
    finding = improve(0.0, *pair(100))
    assert (finding.outcome, finding.num_needed) == ("INCONCLUSIVE", None)
    assert "more items like these would not settle it" in finding.explanation


def test_the_overall_outcome_is_the_worst_finding():
    tuned, base = pair(430, lost=3)
    both = gate(GateConfig(improve={"general": 0.0}, keep={"general": 0.05}), tuned, base)
    assert [finding.outcome for finding in both.findings] == ["INCONCLUSIVE", "PASS"]
    assert both.outcome == "INCONCLUSIVE"
    both = gate(GateConfig(improve={"general": 0.05}, keep={"general": 0.05}), tuned, base)
    assert both.outcome == "FAIL"
    assert (both.model_digest, both.baseline_digest) == ("tuned", "base")


def test_a_model_against_itself_differs_by_zero():
    tuned, _ = pair(500, lost=3)
    verdict = gate(GateConfig(keep={"general": 0.02}), tuned, tuned)
    assert (verdict.outcome, verdict.findings[0].difference) == ("PASS", 0.0)


@given(st.integers(1, 300), st.data(), st.sampled_from([0.0, 0.02, 0.05, 0.2]))
@settings(max_examples=80)
def test_shown_interval_agrees_with_the_decision(n, data, margin):
    lost = data.draw(st.integers(0, n))
    gained = data.draw(st.integers(0, n - lost))
    models = pair(n, lost, gained, right=lost)
    kept, improved = keep(margin, *models), improve(margin, *models)
    assert (kept.outcome == "PASS") == (kept.low > -margin)
    assert (improved.outcome == "PASS") == (improved.low > margin)
    assert (improved.outcome == "FAIL") == (improved.high < margin)
    for finding in (kept, improved):
        assert finding.num_needed is None or finding.num_needed > n
        assert finding.explanation.count("\n") == 0 and "-0.0" not in finding.explanation


@pytest.mark.parametrize(
    ("lost", "gained", "margin"), [(1, 1, 0.05), (4, 2, 0.05), (0, 0, 0.02), (1, 2, 0.03), (3, 0, 0.04)]
)
def test_the_named_number_of_items_does_settle_it(lost, gained, margin):
    n = 60
    finding = keep(margin, *pair(n, lost, gained))
    assert finding.outcome == "INCONCLUSIVE"
    needed = finding.num_needed
    later = pair(needed, round(lost * needed / n), round(gained * needed / n))
    assert keep(margin, *later).outcome != "INCONCLUSIVE"


def log_likelihoods(n, change, spread=0.05):
    rng = np.random.default_rng(3)
    before = rng.normal(-1, 0.3, n)
    after = before + rng.normal(change, spread, n)
    scores = [{str(index): float(value) for index, value in enumerate(values)} for values in (after, before)]
    return report(scores[0]), report(scores[1], "base")


def test_continuous_tasks_show_plain_numbers():
    finding = keep(0.05, *log_likelihoods(400, 0.0))
    assert finding.outcome == "PASS"
    assert "points" not in finding.explanation and "items lost" not in finding.explanation
    assert "a loss of more than 0.05 is ruled out" in finding.explanation
    assert keep(0.05, *log_likelihoods(400, -0.2)).outcome == "FAIL"
    assert improve(0.0, *log_likelihoods(50, 0.2)).outcome == "PASS"
    assert improve(0.1, *log_likelihoods(50, 0.0)).outcome == "FAIL"


def test_a_small_continuous_set_never_decides():
    for change in (-1.0, 0.0, 1.0):
        finding = keep(0.05, *log_likelihoods(19, change, spread=0.001))
        assert (finding.outcome, finding.num_needed) == ("INCONCLUSIVE", 20)


def test_partial_credit_that_never_changed_is_as_uncertain_as_pass_or_fail():
    scores = {str(index): 0.5 * (index % 3) for index in range(30)}
    assert keep(0.02, report(scores), report(dict(scores), "base")).outcome == "INCONCLUSIVE"


def test_reports_of_different_items_are_refused():
    tuned, base = pair(30)
    shorter = report(dict(list(base.tasks[0].scores.items())[:25]), "base")
    with pytest.raises(EvaluateError, match=r"only in the report: item-25, item-26, item-27 and 2 more"):
        keep(0.05, tuned, shorter)
    other = report(dict(base.tasks[0].scores), "base", items="items-2")
    with pytest.raises(EvaluateError, match=r"same ids .*item-0.* but other content"):
        keep(0.05, tuned, other)


def test_a_missing_task_names_the_nearest():
    with pytest.raises(EvaluateError, match=r"gate.keep.generl.*did you mean 'general'"):
        gate(GateConfig(keep={"generl": 0.05}), *pair(30))


def test_scores_that_cannot_be_compared_are_refused():
    tuned, base = pair(30)
    broken = report({**tuned.tasks[0].scores, "item-3": float("nan")})
    with pytest.raises(EvaluateError, match="item-3 is not a finite number"):
        keep(0.05, broken, base)
    with pytest.raises(EvaluateError, match="has no items"):
        keep(0.05, report({}), report({}, "base"))
    with pytest.raises(EvaluateError, match="has 1 item"):
        keep(0.05, report({"a": 0.3}), report({"a": 0.4}, "base"))


def test_a_policy_that_would_rule_nothing_out_says_how_to_write_one():
    for policy in (GateConfig(others="ignore"), GateConfig(others="ignore", alarms={"general": 0.0})):
        with pytest.raises(EvaluateError, match=r"--set gate.improve.TASK=0"):
            gate(policy, *pair(30))


def test_margins_in_percent_or_below_zero_are_refused():
    with pytest.raises(EvaluateError, match=r"five points are written 0.05"):
        keep(5.0, *pair(30))
    with pytest.raises(ConfigError, match=r"keep.general"):
        GateConfig.parse({"keep": {"general": -0.1}})
    with pytest.raises(ConfigError, match="did you mean 'confidence'"):
        GateConfig.parse({"confidance": 0.9})


def test_a_verdict_survives_its_file(tmp_path):
    verdict = gate(GateConfig(keep={"general": 0.05}), *pair(430, lost=3))
    assert read_verdict(write_verdict(tmp_path / "gate", verdict)) == verdict
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(EvaluateError, match="not a verdict"):
        read_verdict(tmp_path / "other.json")
