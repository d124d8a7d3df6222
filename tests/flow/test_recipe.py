"""One door for recipes: files, inheritance, --set, and errors that name the nearest key."""

from pathlib import Path

import pytest

from tunesmith.errors import ConfigError
from tunesmith.recipe import build_recipe, load_recipe, to_toml

SMALL = {"name": "r", "data": {"paths": ["a.jsonl"]}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train.learning_rat=1", "did you mean 'learning_rate'"),
        ("trian.epochs=1", "did you mean 'train'"),
        ("train.epochs=soon", "valid number"),
        ("train.method=magic", "'lora' or 'full'"),
        ("train.learning_rate", "expected KEY=VALUE"),
        ("name.x=1", "is no table"),
        ("gate.keep.nothing=0.1", "no such task"),
        ("render.max_tokens=4096", "must fit into a row"),
        ("name=../../elsewhere", "pattern"),
        ("name=/elsewhere", "pattern"),
        ("pool.alias=a/b", "pattern"),
        ("pack.batch_conversations=0", "greater than or equal to 1"),
        ("train.epochs=inf", "finite"),
        ("evaluate.tasks=['a']", "dictionary"),
    ],
)
def test_mistakes_are_named(text, words):
    with pytest.raises(ConfigError, match=words):
        build_recipe(SMALL, [text])


def test_all_problems_come_at_once():
    with pytest.raises(ConfigError, match=r"2 problem") as caught:
        build_recipe(SMALL, ["train.epoch=1", "pack.rows=2"])
    assert "train.epoch" in str(caught.value)
    assert "pack.rows" in str(caught.value)


def test_set_reads_toml_values_and_plain_text():
    recipe = build_recipe(SMALL, ["train.learning_rate=2e-5", "data.system=be kind", "data.paths=['b.jsonl']"])
    assert recipe.train.learning_rate == 2e-5
    assert recipe.data.system == "be kind"
    assert recipe.data.paths == (str(Path.cwd() / "b.jsonl"),)


def test_a_file_inherits_and_its_paths_follow_its_folder(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "base.toml").write_text(
        'name = "base"\n[data]\npaths = ["a.jsonl"]\n[train]\nepochs = 3\n[train.adapter]\nrank = 4\n'
    )
    (tmp_path / "deep" / "child.toml").write_text(
        'base = "../base.toml"\nname = "child"\n[train]\nepochs = 1\n'
        '[[evaluate.tasks]]\nname = "t"\npath = "g.jsonl"\nscorer = "own.py:score"\n'
    )
    recipe = load_recipe(tmp_path / "deep" / "child.toml", ["train.seed=7"])
    assert (recipe.name, recipe.train.epochs, recipe.train.adapter.rank, recipe.train.seed) == ("child", 1, 4, 7)
    assert recipe.data.paths == (str(tmp_path / "a.jsonl"),)
    assert recipe.evaluate.tasks[0].path == str(tmp_path / "deep" / "g.jsonl")
    assert recipe.evaluate.tasks[0].scorer == f"{tmp_path / 'deep' / 'own.py'}:score"


def test_a_circle_of_recipes_is_refused(tmp_path):
    (tmp_path / "a.toml").write_text('base = "b.toml"\n')
    (tmp_path / "b.toml").write_text('base = "a.toml"\n')
    with pytest.raises(ConfigError, match="circle"):
        load_recipe(tmp_path / "a.toml")


@pytest.mark.parametrize(("text", "words"), [("name = ", "not valid TOML"), (None, "no such recipe")])
def test_broken_or_missing_files(tmp_path, text, words):
    if text is not None:
        (tmp_path / "r.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_recipe(tmp_path / "r.toml")


def test_toml_reproduces_the_recipe(tmp_path):
    recipe = build_recipe(
        SMALL, ["train.adapter.rank=4", "evaluate.tasks=[{name='t', path='/g.jsonl'}]", "gate.keep.t=0.1"]
    )
    (tmp_path / "again.toml").write_text(to_toml(recipe))
    again = load_recipe(tmp_path / "again.toml", [f"data.paths={list(recipe.data.paths)}"])
    assert again == recipe
    assert "learning_rate" not in to_toml(recipe)


def test_a_teachers_path_is_relative_to_the_recipe(tmp_path):
    (tmp_path / "recipe.toml").write_text(
        'name = "r"\n[data]\npaths = ["a.jsonl"]\n[train.objective]\nkind = "distill"\n'
        '[train.objective.distill.teacher]\nname = "./teacher"\n'
    )
    recipe = load_recipe(tmp_path / "recipe.toml")
    assert recipe.train.objective.distill.teacher.name == str(tmp_path / "teacher")
