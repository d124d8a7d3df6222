"""The recipe that `tunesmith tune` makes of bare data."""

import json
from pathlib import Path

import pytest

from tunesmith.doors import copy_example, holdout_of, recipe_for_data
from tunesmith.errors import ConfigError, DataError
from tunesmith.recipe import load_recipe, to_toml


def write(path: Path, answer: str = "four", count: int = 50, **last: object) -> Path:
    records = [
        {
            "messages": [
                {"role": "user", "content": f"question {number}"},
                {"role": "assistant", "content": answer, **last},
            ]
        }
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def scorer_of(file: Path) -> str:
    return recipe_for_data([file], "smollm2-135m", None, ()).evaluate.tasks[0].scorer


@pytest.mark.parametrize(
    ("count", "holdout"), [(40, 20), (199, 20), (200, 0.1), (3000, 0.1), (3001, 300), (1_000_000, 300)]
)
def test_a_tenth_is_held_out_within_limits(count: int, holdout: float) -> None:
    assert holdout_of(count) == holdout


def test_too_little_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only 39 conversations"):
        recipe_for_data([write(tmp_path / "few.jsonl", count=39)], "smollm2-135m", None, ())


def test_an_own_holdout_has_the_last_word(tmp_path: Path) -> None:
    recipe = recipe_for_data([write(tmp_path / "few.jsonl", count=10)], "smollm2-135m", None, ["data.holdout=3"])
    assert recipe.data.holdout == 3


def test_short_answers_are_compared_word_for_word(tmp_path: Path) -> None:
    assert scorer_of(write(tmp_path / "short.jsonl")) == "exact"
    assert scorer_of(write(tmp_path / "long.jsonl", answer="so " * 30)) == "likelihood"


def test_tool_calls_are_compared_as_calls(tmp_path: Path) -> None:
    calls = [{"type": "function", "function": {"name": "add", "arguments": "{}"}}]
    assert scorer_of(write(tmp_path / "calls.jsonl", answer="", tool_calls=calls)) == "tool_call"


def test_documents_are_refused_before_training(tmp_path: Path) -> None:
    file = tmp_path / "documents.jsonl"
    file.write_text('{"text": "Once upon a time."}\n' * 50)
    with pytest.raises(DataError, match="document has no last answer"):
        recipe_for_data([file], "smollm2-135m", None, ())


def test_the_name_comes_from_the_file_and_is_the_alias(tmp_path: Path) -> None:
    recipe = recipe_for_data([write(tmp_path / "my data (1).jsonl")], "smollm2-135m", None, ())
    assert recipe.name == recipe.pool.alias == "my-data-1"
    assert recipe_for_data([write(tmp_path / "abc123.jsonl")], "smollm2-135m", None, ()).name == "tuned-abc123"


def test_the_printed_recipe_reproduces_itself_from_anywhere(in_tmp: Path) -> None:
    write(in_tmp / "data.jsonl")
    recipe = recipe_for_data([Path("data.jsonl")], "smollm2-135m", None, ["train.epochs=2"])
    saved = in_tmp / "elsewhere" / "recipe.toml"
    saved.parent.mkdir()
    saved.write_text(to_toml(recipe))
    assert load_recipe(saved) == recipe


def test_the_example_is_copied_once_and_never_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "tunesmith-cron"
    assert copy_example("cron", folder)
    assert (folder / "train.jsonl").is_file()
    (folder / "recipe.toml").write_text("mine")
    assert not copy_example("cron", folder)
    assert (folder / "recipe.toml").read_text() == "mine"


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds no recipe\.toml"):
        copy_example("cron", tmp_path)


def test_sets_have_the_last_word_over_the_default_gate_and_holdout(in_tmp):
    rows = [{"prompt": f"{n} + 1?", "completion": str(n + 1)} for n in range(60)]
    Path("d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = recipe_for_data([Path("d.jsonl")], "m", None, ["gate.keep.general=0.02", "data.holdout=0.5"])
    assert recipe.gate.keep == {"general": 0.02}
    assert recipe.data.holdout == 0.5
