"""Lines of each kind: either direction of harm, clusters, noise, seeds, skipped and sealed tasks, early stops."""

import json
from dataclasses import replace

import numpy as np
import pytest
from reports import flipped, measured, models, skipped

from tunesmith.errors import EvaluateError
from tunesmith.gate import GateConfig, gate
from tunesmith.types import Verdict


def judge(policy, *pairs, **more):
    return gate(GateConfig(others="ignore", **policy), *models(*pairs, **more))


def one(policy, *pairs, **more):
    return judge(policy, *pairs, **more).findings[0]


def shifted(task, shift, n=200, spread=0.05, **fields):
    rng = np.random.default_rng(3)
    before = rng.normal(1, 0.3, n)
    return measured(task, before + rng.normal(shift, spread, n), before, **fields)


def test_where_lower_is_better_a_rise_is_the_harm():
    refused = flipped("over_refusal", 200, gained=60, better="lower")
    finding = one({"keep": {"over_refusal": 0.05}}, refused)
    assert (finding.outcome, finding.harm, finding.lost, finding.gained) == ("FAIL", "up", 60, 0)
    assert finding.difference == pytest.approx(0.3) and finding.low > 0.05
    assert "a rise of more than 5.0 points is shown" in finding.explanation
    assert finding.lost_items[0] == "item-00140"
    fewer = flipped("over_refusal", 200, lost=60, better="lower")
    assert one({"keep": {"over_refusal": 0.05}}, fewer).outcome == "PASS"
    finding = one({"improve": {"over_refusal": 0.1}}, fewer)
    assert finding.outcome == "PASS" and "a fall of more than 10.0 points is shown" in finding.explanation
    assert one({"improve": {"over_refusal": 0.1}}, refused).outcome == "FAIL"


@pytest.mark.parametrize(
    ("shift", "outcome", "both"),
    [(-0.5, "PASS", "FAIL"), (0.0, "PASS", "PASS"), (0.5, "FAIL", "FAIL")],
)
def test_a_change_either_way_is_harm_only_where_a_field_says_so(shift, outcome, both):
    length = shifted("length", shift, better="lower", unit="log ratio")
    assert one({"keep": {"length": 0.2}}, length).outcome == outcome
    finding = one({"keep": {"length": 0.2}, "both_ways": ("length",)}, length)
    assert (finding.outcome, finding.harm) == (both, "both")
    assert "a change of more than 0.2 log ratio" in finding.explanation
    if both == "PASS":
        assert -0.2 < finding.low < finding.high < 0.2


def test_a_change_either_way_of_pass_or_fail_tasks():
    policy = {"keep": {"t": 0.06}, "both_ways": ("t",)}
    assert one(policy, flipped("t", 400, lost=60, gained=2)).outcome == "FAIL"
    assert one(policy, flipped("t", 400, lost=2, gained=60)).outcome == "FAIL"
    assert one(policy, flipped("t", 400, lost=8, gained=8)).outcome == "PASS"
    finding = one(policy, flipped("t", 60, lost=2, gained=2))
    assert finding.outcome == "INCONCLUSIVE" and finding.num_needed > 60


def test_a_task_cannot_improve_by_changing_either_way():
    with pytest.raises(EvaluateError, match=r"gate\.both_ways"):
        judge({"improve": {"t": 0.0}, "both_ways": ("t",)}, flipped("t", 100))


def test_a_continuous_measure_fails_when_harm_beyond_the_margin_is_shown():
    """Any training moves a precise measure a little: that alone is no failure."""
    moved = shifted("loss", 0.045, spread=0.2, n=100, better="lower", unit="nats")
    finding = one({"keep": {"loss": 0.05}}, moved)
    assert finding.low > 0, "the rise is shown"
    assert finding.outcome == "INCONCLUSIVE"
    assert one({"keep": {"loss": 0.05}}, shifted("loss", 0.02, better="lower")).outcome == "PASS"
    assert one({"keep": {"loss": 0.05}}, shifted("loss", 0.1, better="lower")).outcome == "FAIL"


def test_every_flip_is_named_lost_first():
    finding = one({"keep": {"t": 0.05}}, flipped("t", 300, lost=2, gained=1))
    assert finding.lost_items == ("item-00000", "item-00001")
    assert finding.gained_items == ("item-00299",)
    fields = list(
        json.loads(json.dumps(judge({"keep": {"t": 0.05}}, flipped("t", 300, lost=2)).to_dict()))["findings"][0]
    )
    assert fields.index("lost_items") < fields.index("gained_items")


def test_clusters_count_as_clusters():
    """40 items lost as 8 groups of five, or as 40 apart: the same share, another certainty."""
    alone = one({"keep": {"t": 0.1}}, flipped("t", 500, lost=25))
    grouped = one({"keep": {"t": 0.1}}, flipped("t", 500, lost=25, size=5))
    assert (alone.num_clusters, grouped.num_clusters) == (None, 100)
    assert alone.difference == grouped.difference
    assert grouped.low < alone.low
    assert grouped.resolvable > alone.resolvable
    assert "in 100 clusters" in grouped.explanation
    themes = one({"keep": {"t": 0.1}}, flipped("t", 500, lost=25, size=50))
    assert (themes.num_clusters, themes.low) == (None, alone.low)


def test_clusters_raise_the_number_of_items_that_is_named():
    alone = one({"keep": {"t": 0.03}}, flipped("t", 200, lost=8, gained=8))
    grouped = one({"keep": {"t": 0.03}}, flipped("t", 200, lost=8, gained=8, size=4))
    assert alone.outcome == grouped.outcome == "INCONCLUSIVE"
    assert grouped.num_needed > alone.num_needed


def test_an_engine_that_flips_answers_widens_the_interval_where_it_matters():
    task = flipped("t", 500, lost=8, gained=8)
    calm, noisy = one({"keep": {"t": 0.05}}, task), one({"keep": {"t": 0.05}}, task, noise={"flip_rate": 0.5})
    assert noisy.low < calm.low and noisy.high > calm.high
    assert (calm.outcome, noisy.outcome) == ("PASS", "INCONCLUSIVE")
    assert any("noise" in each for each in noisy.remedies)
    little = one({"keep": {"t": 0.05}}, task, noise={"flip_rate": 0.01})
    assert (little.low, little.outcome) == (calm.low, "PASS"), "its deviation is below a quarter of the margin"
    lost = flipped("t", 500, lost=35, gained=15)
    assert one({"keep": {"t": 0.05}}, lost).outcome == "FAIL"
    assert one({"keep": {"t": 0.05}}, lost, noise={"flip_rate": 0.3}).outcome == "INCONCLUSIVE"


def test_several_seeds_make_a_claim_about_the_recipe():
    steady, base = models(shifted("t", 0.1))
    scores = steady.tasks[0].scores

    def seed(change):
        moved = replace(steady.tasks[0], scores={item: value + change for item, value in scores.items()})
        return replace(steady, tasks=(moved,), model_digest=f"seed{change}")

    policy = GateConfig(improve={"t": 0.0}, others="ignore")
    assert gate(policy, [seed(0.0), seed(0.01), seed(-0.01)], base).outcome == "PASS"
    loose = gate(policy, [seed(0.0), seed(0.15), seed(-0.15)], base)
    assert loose.outcome == "INCONCLUSIVE"
    assert loose.findings[0].difference == pytest.approx(gate(policy, seed(0.0), base).findings[0].difference)
    assert loose.model_digest == "seed0.0 | seed0.15 | seed-0.15"
    with pytest.raises(EvaluateError, match="there is none"):
        gate(policy, [], base)


def test_a_skipped_line_is_inconclusive_with_its_reason_and_a_skipped_alarm_holds_nothing_back():
    code = skipped("code", "no sandbox on this machine")
    verdict = judge({"keep": {"t": 0.05, "code": 0.05}}, flipped("t", 400), code)
    assert [finding.outcome for finding in verdict.findings] == ["PASS", "INCONCLUSIVE"]
    assert verdict.findings[1].explanation == "code: not judged, no sandbox on this machine."
    assert (verdict.outcome, verdict.open_findings) == ("INCONCLUSIVE", verdict.findings[1:])
    verdict = judge({"keep": {"t": 0.05}, "alarms": {"code": 0.0}}, flipped("t", 400), code)
    assert verdict.outcome == "PASS" and not verdict.open_findings


def test_a_sealed_task_tells_its_outcome_and_no_figure():
    verdict = judge({"keep": {"t": 0.05}}, flipped("t", 400, lost=40, is_sealed=True))
    finding = verdict.findings[0]
    assert verdict.outcome == "FAIL"
    told = {key: value for key, value in verdict.to_dict()["findings"][0].items() if value not in (None, (), 0, "")}
    assert set(told) == {"task", "question", "outcome", "explanation", "margin", "harm"}
    assert not any(character.isdigit() for character in finding.explanation)
    unread = tuple(replace(each, scores={}) for each in flipped("t", 400, is_sealed=True))
    assert "sealed" in one({"keep": {"t": 0.05}}, unread).explanation


def test_alarms_fail_only_when_harm_is_shown_after_holm():
    def panel(lost):
        calm = [flipped(f"calm-{index}", 60, lost=1, gained=1) for index in range(14)]
        return [flipped("t", 400, lost=2, gained=2), flipped("tax", 60, lost=lost), *calm]

    def watch(lost):
        pairs = panel(lost)
        policy = {"keep": {"t": 0.05}, "alarms": {each.task: 0.0 for each, _ in pairs[1:]}}
        return judge(policy, *pairs)

    assert watch(4).outcome == "PASS", "p = 0.031 alone, among sixteen nothing"
    raised = watch(12)
    assert (raised.outcome, [each.task for each in raised.open_findings]) == ("FAIL", ["tax"])
    assert raised.findings[1].remedies
    quiet = raised.findings[2]
    assert (quiet.outcome, quiet.num_needed) == ("PASS", None) and "no alarm" in quiet.explanation


def test_an_alarm_may_tolerate_a_small_harm():
    tax = flipped("tax", 400, lost=30, gained=10)
    kept = flipped("t", 400)
    assert judge({"keep": {"t": 0.05}, "alarms": {"tax": 0.0}}, kept, tax).outcome == "FAIL"
    assert judge({"keep": {"t": 0.05}, "alarms": {"tax": 0.04}}, kept, tax).outcome == "PASS"
    with pytest.raises(EvaluateError, match="name it once"):
        judge({"keep": {"t": 0.05}, "alarms": {"t": 0.0}}, kept)


def scattered(task, n, lost, gained, seed=0, **fields):
    """Flips at random places, as the items of a real set have them."""
    rng = np.random.default_rng(seed)
    before = np.ones(n)
    places = rng.permutation(n)
    before[places[lost : lost + gained]] = 0
    after = before.copy()
    after[places[:lost]], after[places[lost : lost + gained]] = 0, 1
    return measured(task, after, before, **fields)


def test_stopping_early_says_after_how_many_items_it_was_settled():
    policy = {"keep": {"t": 0.05}, "early_stop": True}
    finding = one(policy, scattered("t", 1500, 15, 15))
    assert finding.outcome == "PASS" and 60 < finding.num_used < 1000
    assert f"ruled out by the first {finding.num_used:,}" in finding.explanation
    finding = one(policy, scattered("t", 1500, 300, 20))
    assert finding.outcome == "FAIL" and finding.num_used < 400
    finding = one(policy, scattered("t", 60, 1, 1))
    assert (finding.outcome, finding.num_used) == ("INCONCLUSIVE", 60) and finding.num_needed > 60
    rise = scattered("t", 1500, 20, 300, better="lower")
    assert one(policy, rise).outcome == "FAIL"
    better = {"improve": {"t": 0.05}, "early_stop": True}
    assert one(better, scattered("t", 1500, 20, 300)).outcome == "PASS"
    assert one(better, scattered("t", 1500, 20, 20)).outcome == "FAIL"


def test_unbounded_scores_are_judged_at_their_full_size():
    assert one({"keep": {"t": 0.05}, "early_stop": True}, shifted("t", 0.0)).num_used is None


def test_remedies_name_what_can_be_done():
    worse = one({"keep": {"length": 0.05}}, shifted("length", -1.0))
    assert "training answers whose length" in worse.remedies[0]
    assert any("tunesmith merge" in each for each in worse.remedies)
    few = one({"keep": {"t": 0.02}}, flipped("t", 60))
    assert few.remedies[0] == f"more items: about {few.num_needed} in all"
    assert one({"keep": {"t": 0.05}}, flipped("t", 400)).remedies == ()


def test_fields_that_remedies_name_exist():
    from tunesmith.gate import remedies
    from tunesmith.recipe import Recipe

    named = [each for each in (*remedies.KEEPS_OLD_ABILITIES, *remedies.TEACHES_MORE) if "(" in each]
    assert len(named) == 6
    for each in named:
        stage, field = each.rsplit("(", 1)[1].rstrip(")").split(" ")[0].split(".")
        assert field in Recipe.model_fields[stage].annotation.model_fields


def test_a_full_verdict_survives_json():
    verdict = judge({"keep": {"t": 0.05}}, flipped("t", 300, lost=40, gained=3, size=5))
    assert Verdict.from_dict(json.loads(json.dumps(verdict.to_dict()))) == verdict
