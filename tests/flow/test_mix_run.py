"""A recipe with several sources: one folder for each, exact shares on the way to training, sources in the batches."""

import json
from collections import Counter

import pytest
from typer.testing import CliRunner

from tunesmith.cli import app
from tunesmith.errors import ConfigError
from tunesmith.files import read_json
from tunesmith.pipeline import Run, run
from tunesmith.recipe import build_recipe, load_recipe, to_toml


def quiet(line):
    pass


@pytest.fixture
def values(tmp_path, tiny_model_folder):
    """Conversations with a difficulty, and documents to replay."""
    rows = [{"prompt": f"what is {n} plus two?", "completion": str(n + 2), "hard": (7 * n) % 30} for n in range(30)]
    documents = [{"text": f"every day at noon, {n} times"} for n in range(60)]
    for name, lines in (("train", rows), ("documents", documents)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {
        "name": "mixed",
        "model": {"name": str(tiny_model_folder), "dtype": "float32"},
        "data": {"paths": [str(tmp_path / "train.jsonl")]},
        "mix": {"replay": {"paths": [str(tmp_path / "documents.jsonl")], "share": 0.25}},
        "pack": {"batch_conversations": 8},
        "train": {"adapter": {"rank": 2}},
        "pool": {"path": str(tmp_path / "pool")},
    }


def test_replay_is_a_share_of_the_supervised_tokens_that_are_trained(values, tmp_path):
    recipe = build_recipe(values, ["train.epochs=2.0"])
    result = run(recipe, tmp_path / "runs", quiet)
    this = Run(recipe, tmp_path / "runs", quiet)
    batches = this.prepare(this.phases[0]).batches()
    trained, conversations = Counter(), Counter()
    for number in range(len(batches)):
        for row in batches[number].rows:
            for segment, source in enumerate(row.sources):
                trained[source] += int((row.loss_weights[row.segments == segment] > 0).sum())
                conversations[source, row.conversation_ids[segment]] += 1
    longest = max(trained.values()) / 60
    assert trained["replay"] == pytest.approx(0.25 * trained.total(), abs=longest)
    assert {count for (source, _), count in conversations.items() if source == "main"} == {2}
    assert sum(source == "main" for source, _ in conversations) == 30
    tree = read_json(result.folder / "mix" / "mix.json")
    assert [branch["num_supervised"] for branch in tree["branches"]] == [trained["main"], trained["replay"]]
    assert not this.did_work


def test_documents_beside_conversations_are_trained_whole(values, tmp_path):
    this = Run(build_recipe(values), tmp_path / "runs", quiet)
    this.data()
    sequence = this.prepare(this.phases[0]).sequence
    for each in sequence:
        share = each.num_supervised / each.num_tokens
        assert share > 0.9 if each.source == "replay" else share < 0.6


def test_a_source_may_be_rendered_in_its_own_way(values, tmp_path):
    paths = values["data"]["paths"]
    values["mix"] = {"sources": [{"name": "whole", "data": {"paths": paths}, "render": {"train_on": "all"}}]}
    this = Run(build_recipe(values), tmp_path / "runs", quiet)
    this.data()
    sequence = this.prepare(this.phases[0]).sequence
    trained = {(each.source, each.conversation_id): each.num_supervised for each in sequence}
    assert len(trained) == 60
    assert all(
        number > trained["main", name.removeprefix("whole/")]
        for (source, name), number in trained.items()
        if source == "whole"
    )
    with pytest.raises(ConfigError, match=r"(?s)mix\.sources\.whole\.render.*train_on"):
        build_recipe(values, ["mix.sources.whole.render.train_on=some"])
    with pytest.raises(ConfigError, match=r"there are whole"):
        build_recipe(values, ["mix.sources.other.weight=2"])
    assert build_recipe(values, ["mix.sources.whole.weight=2"]).mix.sources[0].weight == 2


def test_a_new_share_redoes_nothing_before_the_mix(values, tmp_path):
    run(build_recipe(values), tmp_path / "runs", quiet)
    folder = tmp_path / "runs" / "mixed"
    stages = ("data", "data/replay", "render", "render/replay", "mix", "pack", "train")
    before = {stage: (folder / stage / "manifest.json").stat().st_mtime_ns for stage in stages}
    run(build_recipe(values, ["mix.replay.share=0.1"]), tmp_path / "runs", quiet)
    after = {stage: (folder / stage / "manifest.json").stat().st_mtime_ns for stage in stages}
    assert {stage for stage in stages if before[stage] != after[stage]} == {"mix", "pack", "train"}


def test_a_curriculum_follows_a_field_of_the_data(values, tmp_path):
    del values["mix"]["replay"]
    sets = ["data.number_field=hard", "mix.curriculum.by=number", "mix.curriculum.direction=descending"]
    this = Run(build_recipe(values, sets), tmp_path / "runs", quiet)
    this.data()
    order = [each.conversation_id for each in this.prepare(this.phases[0]).sequence]
    assert order == [f"train:{n + 1}" for n in sorted(range(30), key=lambda n: -((7 * n) % 30))]
    with pytest.raises(ConfigError, match=r"data\.number_field"):
        again = Run(build_recipe(values, sets[1:]), tmp_path / "runs", quiet)
        again.data()
        again.prepare(again.phases[0])


def test_toml_reproduces_a_mix(values, tmp_path):
    recipe = build_recipe(values)
    (tmp_path / "again.toml").write_text(to_toml(recipe))
    assert load_recipe(tmp_path / "again.toml") == recipe


def test_paths_of_a_mix_follow_the_recipe(tmp_path):
    (tmp_path / "r.toml").write_text(
        '[data]\npaths = ["a.jsonl"]\n[mix.replay]\npaths = ["b.jsonl"]\n'
        '[[mix.sources]]\nname = "c"\ndata.paths = ["c.jsonl"]\nrender.template = "t.jinja"\n'
    )
    mix = load_recipe(tmp_path / "r.toml").mix
    assert mix.replay.paths == (str(tmp_path / "b.jsonl"),)
    assert mix.sources[0].data.paths == (str(tmp_path / "c.jsonl"),)
    assert mix.sources[0].render["template"] == str(tmp_path / "t.jinja")


def test_the_command_prints_the_tree_and_leaves_nothing_behind(values, in_tmp):
    (in_tmp / "r.toml").write_text(to_toml(build_recipe(values)))
    before = sorted(in_tmp.rglob("*"))
    done = CliRunner().invoke(app, ["mix", "r.toml", "--set", "mix.replay.share=0.5"])
    assert done.exit_code == 0, done.output
    assert "├─ main" in done.output and "share 0.5" in done.output
    assert sorted(in_tmp.rglob("*")) == before
    values.pop("mix")
    (in_tmp / "r.toml").write_text(to_toml(build_recipe(values)))
    assert CliRunner().invoke(app, ["mix", "r.toml"], catch_exceptions=True).exit_code != 0


@pytest.mark.parametrize(
    ("mix", "words"),
    [
        ({"sources": [{"name": "main", "data": {"paths": ["a"]}}]}, "two sources are named 'main'"),
        ({"sources": [{"name": "a", "data": {"paths": ["a"]}, "weight": 1, "share": 0.1}]}, "keep one"),
        ({"replay": {"paths": ["a"], "share": 1.5}}, "less than 1"),
        ({"temprature": 2.0}, "did you mean 'temperature'"),
    ],
)
def test_mistakes_are_named(values, mix, words):
    with pytest.raises(ConfigError, match=words):
        build_recipe({**values, "mix": mix})
