"""The study of training: its arms, its data, equal gain, what is done again and what is not, and the pages."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tunesmith.data import data
from tunesmith.errors import DataError
from tunesmith.model import ModelConfig
from tunesmith.phases import phases_of
from tunesmith.render import renderer_for
from tunesmith.stats import mean_interval

FOLDER = Path(__file__).resolve().parents[2] / "studies"
if str(FOLDER) not in sys.path:
    sys.path.insert(0, str(FOLDER))

import training as study  # noqa: E402
import training_data  # noqa: E402
import training_experiments as experiments  # noqa: E402

ARMS = {arm for each in experiments.EXPERIMENTS.values() for arm in each.arms.values()}


@pytest.fixture
def small(tmp_path):
    return study.Study(tmp_path, ModelConfig(), (0, 1), 8, 3, 2.0, 4, 512, tuple(experiments.EXPERIMENTS))


@pytest.fixture
def source(tmp_path):
    """A folder like the shared data, with a few short records."""
    folder = tmp_path / "source"

    def put(name, lines):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("".join(f"{line}\n" for line in lines))

    for part, count in (("train", 20), ("test", 6)):
        asked = [{"question": f"What is {n} plus {n * 7919}?", "answer": f"It is {n * 7920}."} for n in range(count)]
        put(f"gsm8k/{part}.jsonl", map(json.dumps, asked))
    for name, first in (("seed_tasks", 0), ("user_oriented_instructions", 50)):
        tasks = [
            {"id": str(n), "instruction": f"Name {n * 104729}.", "instances": [{"input": "", "output": f"No {n}."}]}
            for n in range(first, first + 10)
        ]
        put(f"self_instruct/{name}.jsonl", map(json.dumps, tasks))
    put("pretrain_text/wiki_demo.txt", [f"{n * 7907}." for n in range(12)])
    pages = [{"text": f"{n * 6271}!"} for n in range(12)]
    put("pretrain_text/c4_demo.jsonl", map(json.dumps, pages))
    return folder


# Arms and runs


def test_arms_change_what_their_names_say_and_nothing_else(small):
    plain = small.recipe("plain", 1)
    assert (plain.train.method, plain.train.learning_rate, plain.pack.layout) == ("lora", 3e-4, "best_fit")
    assert (plain.train.seed, plain.pack.seed, plain.mix.seed, plain.data.seed) == (1, 1, 1, 0)
    for arm, field in (
        ("padding", "pack"),
        ("neftune-10", "train"),
        ("replay-5", "mix"),
        ("full-1e-05", "train"),
        ("mixed", "mix"),
        ("dmt", "phases"),
    ):
        other = small.recipe(arm, 1)
        assert getattr(other, field) != getattr(plain, field)
        assert other.model_copy(update={"name": plain.name, field: getattr(plain, field)}) == plain, arm


def test_noise_and_replay_are_as_strong_as_their_arms_say(small):
    assert [small.recipe(f"neftune-{n}", 0).train.noise.alpha for n in (5, 10)] == [5.0, 10.0]
    assert {small.recipe(f"neftune-{n}", 0).train.noise.kind for n in (5, 10)} == {"uniform"}
    assert [small.recipe(f"replay-{n}", 0).mix.replay.share for n in (5, 10)] == [0.05, 0.1]


def test_the_second_stage_of_dmt_has_general_data_and_a_part_of_the_target(small):
    first, second = phases_of(small.recipe("dmt", 1))
    plain = small.recipe("plain", 1)
    assert (first.main.data, len(first.sources)) == (plain.data, 1)
    assert second.main.data == small.data.trained("general")
    assert [(each.data, each.part.epochs) for each in second.sources[1:]] == [(plain.data, experiments.FRACTION)]
    assert second.mix.seed == 1
    general = phases_of(small.recipe("sequential", 1))[1]
    assert [each.data for each in general.sources] == [small.data.trained("general")]


def test_every_arm_is_known_and_a_shared_one_is_trained_once(small):
    runs = small.runs()
    assert len(runs) == len(set(runs)) == 1 + 2 * len(ARMS)
    assert runs[0] == ("base", 0)
    assert {seed for _, seed in runs[1 : 1 + len(ARMS)]} == {0}, "seed by seed"
    assert sum(arm == "plain" for arm, _ in runs) == 2
    names = {small.recipe(arm, seed).name for arm, seed in runs}
    assert len(names) == len(runs)
    one = replace(small, experiments=("noise",)).runs()
    assert {arm for arm, _ in one} == {"base", "plain", "neftune-5", "neftune-10"}


def test_a_result_is_known_while_nothing_that_it_depends_on_changed(small):
    path = study.result_path(small, "replay-5", 1)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"mark": study.mark_of(small, "replay-5", 1, "abc")}))
    assert study.known_result(small, "replay-5", 1, "abc") is not None
    assert study.known_result(small, "replay-5", 0, "abc") is None
    assert study.known_result(small, "replay-5", 1, "other data") is None
    assert study.known_result(replace(small, epochs=1.0), "replay-5", 1, "abc") is None
    assert study.known_result(replace(small, experiments=("replay",)), "replay-5", 1, "abc") is not None


def test_the_plan_counts_what_is_still_to_do(small, capsys):
    facts = {"digest": "abc", "items": {"target": 3}, "num_dropped": 1, "tokens": {"target": 1000, "general": 500}}
    small = replace(small, experiments=("noise", "dmt"), seeds=(0,))
    study.print_plan(small, facts)
    assert "7 of 7 models to do: 15,000 tokens" in capsys.readouterr().out  # three of 2,000, three of 3,000
    path = study.result_path(small, "dmt", 0)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"mark": study.mark_of(small, "dmt", 0, "abc")}))
    study.print_plan(small, facts)
    said = capsys.readouterr().out
    assert "6 of 7 models to do: 12,000 tokens" in said
    assert "about 2m30s" in said  # 12,000 / 400 + 6 * 20


# Data


def ids(config):
    return [each.id for each in data(config)]


def test_what_is_judged_is_never_trained_on(small, source, tiny_tokenizer_folder):
    renderer = renderer_for(tiny_tokenizer_folder)
    facts = small.data.prepare(source, renderer)
    trained = {name: ids(small.data.trained(name)) for name in training_data.TRAINED}
    judged = {name: ids(config) for name, config in small.data.judged.items()}
    assert {name: len(each) for name, each in trained.items()} == {"target": 8, "general": 8, "text": 21}
    assert facts["items"] == {name: len(each) for name, each in judged.items()} == dict.fromkeys(judged, 3)
    for name in trained:
        assert set(trained[name]).isdisjoint(judged[name])
    assert facts["num_dropped"] == 0
    counted = sum(renderer.render(each).num_tokens for each in data(small.data.trained("target")))
    assert facts["tokens"]["target"] == counted
    assert small.data.prepare(source, renderer) == facts


def test_conversations_that_do_not_fit_a_row_are_dropped_and_kept_apart(small, source, tiny_tokenizer_folder):
    renderer = renderer_for(tiny_tokenizer_folder)
    long = {"id": "long", "instruction": "Sing. " * 200, "instances": [{"input": "", "output": "La."}]}
    with (source / "self_instruct" / "seed_tasks.jsonl").open("a") as file:
        file.write(json.dumps(long) + "\n")
    assert small.data.prepare(source, renderer)["num_dropped"] == 1
    assert json.loads((small.data.out / "dropped.jsonl").read_text())["id"] == "long"


def test_a_text_is_cut_at_the_end_of_a_sentence():
    assert training_data.beginning("One. Two. Three", 40) == "One. Two. Three"
    assert training_data.beginning("One. Two! Three", 12) == "One. Two!"
    assert training_data.beginning("no sentence ends here", 15) == "no sentence"


def test_texts_that_are_not_there_are_named(tmp_path):
    with pytest.raises(DataError, match=r"wiki_demo\.txt: no such file.*--data"):
        training_data.read_texts(tmp_path)


# Equal gain


def result(arm, seed, target, text, **more):
    """A result with two items a measure, of weights 1 and 3, whose weighted means are `target` and `text`."""
    return {
        "arm": arm,
        "seed": seed,
        **{
            key: [{"id": "a", "value": mean + 0.375, "weight": 1}, {"id": "b", "value": mean - 0.125, "weight": 3}]
            for key, mean in (("target", target), ("general", 1.0), ("text", text))
        },
        **more,
    }


def paths(seed, lora, full):
    """Results of both methods at their three learning rates, as (target, text)."""
    return [
        result(experiments.rate_label(method, rate), seed, *point)
        for method, points in (("lora", lora), ("full", full))
        for rate, point in zip(experiments.RATES[method], points, strict=True)
    ]


def test_a_level_is_read_off_between_the_two_models_around_it():
    path = [result("base", 0, 2.0, 3.0), result("x", 0, 1.5, 3.1), result("x", 0, 1.0, 3.5)]
    found = experiments.at_level(path, 1.25)
    assert experiments.weighted_mean(found["target"]) == pytest.approx(1.25)
    assert experiments.weighted_mean(found["text"]) == pytest.approx(3.3)
    assert [each["value"] for each in found["text"]] == pytest.approx([3.675, 3.175])
    assert experiments.weighted_mean(experiments.at_level(path, 2.0)["text"]) == pytest.approx(3.0)
    assert experiments.weighted_mean(experiments.at_level(path, 1.0)["text"]) == pytest.approx(3.5)
    with pytest.raises(ValueError, match=r"never comes to a target loss of 0\.900"):
        experiments.at_level(path, 0.9)


def test_a_path_that_turns_back_counts_where_it_first_comes_to_a_level():
    path = [result("base", 0, 2.0, 3.0), result("x", 0, 1.0, 3.2), result("x", 0, 3.0, 9.0)]
    assert experiments.weighted_mean(experiments.at_level(path, 1.5)["text"]) == pytest.approx(3.1)


def test_forgetting_is_compared_where_both_have_gained_as_much():
    results = [result("base", 0, 2.0, 3.0)]
    results += paths(0, [(1.8, 3.0), (1.4, 3.1), (1.0, 3.2)], [(1.8, 3.1), (1.6, 3.2), (1.2, 3.6)])
    results += paths(1, [(1.8, 3.0), (1.4, 3.2), (1.2, 3.3)], [(1.8, 3.1), (1.4, 3.4), (1.0, 3.5)])
    derived, pairs = experiments.equal_gain(results)
    assert pairs == (
        ("lora at half of the gain", "full at half of the gain"),
        ("lora at the whole gain", "full at the whole gain"),
    )
    by = {(each["arm"], each["seed"]): each for each in derived}
    # The whole gain of both seeds is 0.8: target losses 1.2, and 1.6 at half.
    for (arm, _), each in by.items():
        assert experiments.target_loss(each) == pytest.approx(1.6 if "half" in arm else 1.2)
    text = {key: experiments.weighted_mean(each["text"]) for key, each in by.items()}
    assert text["lora at half of the gain", 0] == pytest.approx(3.05)
    assert text["full at half of the gain", 0] == pytest.approx(3.2)
    assert text["lora at the whole gain", 0] == pytest.approx(3.15)
    assert text["full at the whole gain", 0] == pytest.approx(3.6)
    assert text["lora at half of the gain", 1] == pytest.approx(3.1)
    assert text["full at half of the gain", 1] == pytest.approx(3.25)
    differences = experiments.EXPERIMENTS["adapter"].differences(results)
    whole = next(each for each in differences if each.measure.key == "text" and "whole" in each.arm)
    assert whole.by_seed == pytest.approx((-0.45, 3.3 - 3.45))
    assert whole.over_seeds == pytest.approx(mean_interval([-0.45, -0.15]))
    assert len(differences) == 4
    text = experiments.page(experiments.EXPERIMENTS["adapter"], results, differences, facts())
    assert "| full at half of the gain | 1.600 ± 0.000 | 1.000 ± 0.000 | 3.225 ± 0.035 |" in text


def test_without_a_gain_of_both_there_is_no_level():
    results = [result("base", 0, 1.0, 3.0), *paths(0, [(0.9, 3.0)] * 3, [(1.1, 3.0)] * 3)]
    assert experiments.equal_gain(results) == ([], ())
    assert experiments.EXPERIMENTS["adapter"].differences(results) == []


# Pages


def facts():
    return {"note": study.note("smollm2-135m", 2), "seeds": (0, 1), "how": {"cpu": "one"}}


def test_an_experiment_calls_shared_arms_by_its_own_names():
    results = [result("base", 0, 2.0, 3.0), *(result("plain", seed, 1.0, 3.5) for seed in (0, 1))]
    results += [result("replay-5", 0, 1.0, 3.2), result("neftune-5", 0, 1.0, 3.2)]
    labeled = experiments.EXPERIMENTS["replay"].labeled(results)
    assert [(each["arm"], each["seed"]) for each in labeled] == [("base", 0), ("0 %", 0), ("0 %", 1), ("5 %", 0)]


def test_the_page_tells_the_numbers_and_what_they_cannot_say():
    replay = experiments.EXPERIMENTS["replay"]
    results = [result("base", 0, 2.0, 3.0)]
    for seed in (0, 1):
        texts = {"plain": 3.5 + seed / 10, "replay-5": 3.25, "replay-10": 3.125}
        results += [result(arm, seed, 1.0, text) for arm, text in texts.items()]
    labeled = replay.labeled(results)
    text = experiments.page(replay, labeled, replay.differences(labeled), facts())
    assert "| base | 2.000 | 1.000 | 3.000 |" in text
    assert "| 0 % | 1.000 ± 0.000 | 1.000 ± 0.000 | 3.550 ± 0.071 |" in text
    assert "| text loss | 5 % − 0 % | -0.300 | -0.935 to +0.335 |" in text
    assert "- text loss, 5 % minus 0 %: -0.300; not shown: the interval over seeds includes zero." in text
    assert "9 comparisons; the intervals are not widened" in text
    assert "tuned to follow instructions" in text
    assert "- cpu: one" in text
    assert "## Speed" not in text


def test_speed_is_told_beside_the_first_arm():
    def timed(arm, seed, seconds):
        return result(arm, seed, 1.0, 3.0, num_steps=14, num_tokens=1200, seconds={"train": seconds, "judge": 9.0})

    results = [timed("best_fit", 0, 1.0), timed("best_fit", 1, 1.0), timed("padding", 0, 2.0), timed("padding", 1, 4.0)]
    table = experiments.speed_table(results, ["best_fit", "padding"]).splitlines()
    assert table[2] == "| best_fit | 14 | 1.0 | 1,200 | 1.00 | no spread |"
    low, high = mean_interval([math.log(1 / 2), math.log(1 / 4)])
    expected = f"{math.exp(-math.log(8) / 2):.2f} | {math.exp(low):.2f} to {math.exp(high):.2f} |"
    assert table[3] == f"| padding | 14 | 3.0 | 450 | {expected}"


def test_smoke_is_next_to_nothing_and_goes_elsewhere():
    options = study.parse(["--smoke"])
    assert (options.model, options.conversations, options.items, options.seeds) == ("new:llama-1m", 8, 3, [0])
    assert options.out != study.parse([]).out
    assert study.parse([]).model == ModelConfig().name
    assert study.parse(["--experiment", "noise", "dmt"]).experiment == ["noise", "dmt"]


# The frame


def test_models_are_trained_once_and_every_experiment_gets_its_page(small, source, monkeypatch, capsys):
    """The stages stand aside: each model's result is made up."""
    made = []

    def tell(asked, arm, seed, digest):
        known = study.known_result(asked, arm, seed, digest)
        if known is None:
            made.append((arm, seed))
            figures = {"num_steps": 2, "num_tokens": 10, "seconds": {"train": 1.0, "judge": 1.0}}
            known = result(arm, seed, 2.0 if arm == "base" else 1.5 + seed / 10, 3.0, **figures)
            known["mark"] = study.mark_of(asked, arm, seed, digest)
            study.write_json(study.result_path(asked, arm, seed), known)
        return known

    monkeypatch.setattr(study, "result_of", tell)
    monkeypatch.setattr(study, "machine", lambda model: {"cpu": "one"})
    monkeypatch.setattr(study, "tokenizer_folder", lambda model: small.out)
    monkeypatch.setattr(study, "renderer_for", lambda folder, config: Counter())
    study.run_study(replace(small, experiments=("noise", "replay")), source)
    assert len(made) == 1 + 2 * 5
    said = capsys.readouterr().out
    for name in ("noise", "replay"):
        written = json.loads((small.out / name / "results.json").read_text())
        assert len(written["differences"]) == len(experiments.EXPERIMENTS[name].pairs) * 3
        assert (small.out / name / "results.md").read_text() in said
    study.run_study(replace(small, experiments=("noise",)), source)
    assert len(made) == 1 + 2 * 5


class Counter:
    """A renderer that finds every conversation ten tokens long."""

    num_tokens = 10

    def render(self, conversation):
        return self


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_smoke_walks_the_whole_path(source, tmp_path, tiny_tokenizer_folder, monkeypatch):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    asked = ["--smoke", "--data", str(source), "--out", str(out), "--model", f"new:llama-1m@{tiny_tokenizer_folder}"]
    asked += ["--row-tokens", "128", "--dtype", "float32"]
    study.main(asked)
    for name in experiments.EXPERIMENTS:
        assert (out / name / "results.md").is_file()
        models = json.loads((out / name / "results.json").read_text())["models"]
        assert [each["num_steps"] > 0 for each in models] == [False] + [True] * (len(models) - 1)
    results = {path.parent.name: json.loads(path.read_text()) for path in out.glob("models/*/result.json")}
    assert set(results) == {study.run_name(arm, 0) for arm in ARMS | {"base"}}
    assert results["base"]["num_steps"] == 0
    assert results["dmt-seed0"]["num_tokens"] > results["sequential-seed0"]["num_tokens"]
    assert results["replay-10-seed0"]["num_tokens"] > results["plain-seed0"]["num_tokens"]
    assert results["padding-seed0"]["num_tokens"] == results["plain-seed0"]["num_tokens"]
    target = {name: experiments.target_loss(each) for name, each in results.items()}
    assert target["plain-seed0"] != target["base"]
    assert target["padding-seed0"] == pytest.approx(target["plain-seed0"], abs=1e-3)
    assert target["neftune-5-seed0"] != target["plain-seed0"]
    assert not (out / "models" / "full-1e-05-seed0" / "train").exists()
    stamp = (out / "models" / "dmt-seed0" / "result.json").stat().st_mtime_ns
    study.main([*asked, "--experiment", "dmt"])
    assert (out / "models" / "dmt-seed0" / "result.json").stat().st_mtime_ns == stamp
