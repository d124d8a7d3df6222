"""The default policy: what is asked where nobody said what to ask."""

import numpy as np
import pytest
from reports import flipped, measured, models

from tunesmith.gate import GateConfig, gate
from tunesmith.gate.policy import GENERAL_MARGIN, KNOWN


def panel(**changes):
    """A target that improved, a general set that stayed, known continuous measures and taxes; `changes` replace."""
    rng = np.random.default_rng(0)
    zeros, texts = np.zeros(120), rng.normal(2.5, 0.5, 120)
    made = {
        "cron": flipped("cron", 200, lost=2, gained=60),
        "general": flipped("general", 500, lost=20, gained=20),
        "kl_general": measured(
            "kl_general", abs(rng.normal(0.02, 0.01, 120)), zeros, better="lower", group="forgetting"
        ),
        "loss_general": measured(
            "loss_general", texts + rng.normal(0.01, 0.02, 120), texts, better="lower", group="forgetting"
        ),
        "length": measured("length", texts + rng.normal(0, 0.3, 120), texts, better="lower", group="tax"),
        "over_refusal": flipped("over_refusal", 60, gained=1, better="lower", group="tax"),
        "politeness": measured("politeness", texts + rng.normal(0, 0.3, 120), texts, better="lower", group="tax"),
    }
    return [each for each in {**made, **changes}.values() if each is not None]


def judge(**changes):
    return gate(GateConfig(), *models(*panel(**changes)))


def test_without_any_configuration_the_target_improves_and_the_rest_is_kept_or_watched():
    verdict = judge()
    asked = {finding.task: (finding.question, finding.harm) for finding in verdict.findings}
    assert asked == {
        "cron": ("improve", "down"),
        "general": ("keep", "down"),
        "kl_general": ("keep", "up"),
        "loss_general": ("keep", "up"),
        "length": ("keep", "both"),
        "over_refusal": ("alarm", "up"),
        "politeness": ("alarm", "up"),
    }
    assert [finding.question for finding in verdict.findings] == ["improve"] + 4 * ["keep"] + 2 * ["alarm"]
    assert verdict.outcome == "PASS"
    margins = {finding.task: finding.margin for finding in verdict.findings}
    assert margins["general"] == GENERAL_MARGIN
    assert {task: margins[task] for task in KNOWN} == {task: margin for task, (margin, _) in KNOWN.items()}


@pytest.mark.parametrize(
    ("task", "harmed"),
    [
        ("cron", flipped("cron", 200, lost=60, gained=2)),
        ("general", flipped("general", 500, lost=80, gained=20)),
        ("kl_general", measured("kl_general", np.linspace(0.2, 0.6, 120), np.zeros(120), better="lower")),
        ("length", measured("length", np.linspace(1, 2, 120), np.linspace(2, 3, 120), better="lower")),
        ("over_refusal", flipped("over_refusal", 60, gained=14, better="lower", group="tax")),
        (
            "politeness",
            measured("politeness", np.linspace(1, 3, 120), np.linspace(0, 2, 120), better="lower", group="tax"),
        ),
    ],
)
def test_each_planted_harm_fails_and_is_named(task, harmed):
    verdict = judge(**{task: harmed})
    assert verdict.outcome == "FAIL"
    assert [finding.task for finding in verdict.open_findings] == [task]


def test_without_a_general_set_nothing_passes_by_default():
    verdict = judge(general=None)
    assert verdict.outcome == "INCONCLUSIVE"
    assert "evaluate builtin:general too" in verdict.open_findings[0].explanation


def test_a_small_general_set_is_inconclusive():
    assert judge(general=flipped("general", 60, lost=2, gained=2)).outcome == "INCONCLUSIVE"


def test_a_small_shift_of_style_is_no_alarm_and_a_shift_of_the_spread_is():
    base = np.random.default_rng(1).normal(3, 1, 120)
    small, large = (measured("hedging", base + shift, base, better="lower", group="tax") for shift in (0.1, 0.5))
    assert judge(hedging=small).outcome == "PASS"
    assert judge(hedging=large).outcome == "FAIL"


def test_what_a_policy_does_not_name_is_watched():
    harmed = panel(over_refusal=flipped("over_refusal", 60, gained=14, better="lower", group="tax"))
    policy = {"improve": {"cron": 0.0}, "keep": {"general": 0.05}}
    verdict = gate(GateConfig(**policy), *models(*harmed))
    questions = {finding.task: finding.question for finding in verdict.findings}
    assert questions.pop("cron") == "improve" and questions.pop("general") == "keep"
    assert set(questions.values()) == {"alarm"}
    assert verdict.outcome == "FAIL"
    ignored = gate(GateConfig(**policy, others="ignore"), *models(*harmed))
    assert [finding.task for finding in ignored.findings] == ["cron", "general"]
    assert ignored.outcome == "PASS"


def test_an_explicit_policy_needs_no_general_set():
    pairs = panel(general=None)
    assert gate(GateConfig(improve={"cron": 0.0}), *models(*pairs)).outcome == "PASS"
