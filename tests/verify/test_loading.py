"""Finding scorers by name or file, and calling what others wrote with care."""

import sys
from pathlib import Path

import pytest

from tunesmith.errors import EvaluateError, SkippedError
from tunesmith.types import Message, Score
from tunesmith.verify import Item, apply_scorer, load_scorer

RECORD = {"id": "one", "answer": {"type": "text", "value": "Paris"}}
ITEM = Item("one", "all", "gate", (), (Message("user", "?"),), (), RECORD["answer"], RECORD)


def write(folder, body, name="scorer.py"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(body)
    return folder


def test_built_in_scorers_have_versions():
    scorer, fingerprint = load_scorer("exact", Path())
    assert fingerprint == "exact@2"
    assert apply_scorer(scorer, ITEM, "paris") == Score(1.0, "it is 'paris', as expected.")


@pytest.mark.parametrize(("name", "said"), [("exakt", "did you mean 'exact'"), ("xyz", "built in: exact, contains")])
def test_unknown_names_list_what_there_is(name, said):
    with pytest.raises(EvaluateError, match=said):
        load_scorer(name, Path())


def test_a_user_function_is_loaded_with_its_siblings(tmp_path):
    write(tmp_path, "VALUE = 0.5\n", "helpers_of_mine.py")
    body = "import helpers_of_mine\n\ndef score(item, completion):\n    return helpers_of_mine.VALUE, 'half.'\n"
    scorer, fingerprint = load_scorer("scorer.py:score", write(tmp_path, body))
    assert apply_scorer(scorer, ITEM, "x") == Score(0.5, "half.")
    assert fingerprint.startswith("scorer.py:score@")
    assert "helpers_of_mine" not in sys.modules and str(tmp_path) not in sys.path
    assert not (tmp_path / "__pycache__").exists()


def test_two_scorers_may_have_siblings_of_the_same_name(tmp_path):
    body = "from helper import VALUE\n\ndef score(item, completion):\n    return VALUE, 'x.'\n"
    values = []
    for number in (0.0, 1.0):
        folder = write(tmp_path / str(number), f"VALUE = {number}\n", "helper.py")
        scorer, _ = load_scorer("scorer.py:score", write(folder, body))
        values.append(apply_scorer(scorer, ITEM, "x").value)
    assert values == [0.0, 1.0]


def test_the_fingerprint_follows_the_source_and_its_siblings(tmp_path):
    body = "import helper\n\ndef score(item, completion):\n    return 1.0, 'x.'\n"
    write(tmp_path, "A = 1\n", "helper.py")
    first = load_scorer("scorer.py:score", write(tmp_path, body))[1]
    assert load_scorer("scorer.py:score", tmp_path)[1] == first
    assert load_scorer("scorer.py:score", write(tmp_path, body + "# changed\n"))[1] != first
    write(tmp_path, body)
    write(tmp_path, "A = 2\n", "helper.py")
    assert load_scorer("scorer.py:score", tmp_path)[1] != first


def test_what_cannot_be_loaded_says_why(tmp_path):
    with pytest.raises(EvaluateError, match="there is no file"):
        load_scorer("absent.py:score", tmp_path)
    write(tmp_path, "def scores(item, completion):\n    return 1.0, ''\n")
    with pytest.raises(EvaluateError, match="no function 'score' in it; did you mean 'scores'"):
        load_scorer("scorer.py:score", tmp_path)
    with pytest.raises(EvaluateError, match="loading it raised SyntaxError"):
        load_scorer("scorer.py:score", write(tmp_path, "def score(:\n"))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise KeyError('gold')", "it raised KeyError: 'gold'"),
        ("return 1.0", r"it must return \(value, explanation\[, rule\]\), not 1.0"),
        ("return 1.0, None", "it must return"),
        ("return 1.0, 'x', 2", "it must return"),
        ("return 'good', 'x'", "the value must be a finite number, not 'good'"),
        ("return float('nan'), 'x'", "the value must be a finite number"),
        ("return '1', 'x'", "the value must be a finite number"),
    ],
)
def test_a_failing_function_is_named_with_its_item(tmp_path, body, said):
    source = f"def score(item, completion):\n    {body}\n"
    scorer, _ = load_scorer("scorer.py:score", write(tmp_path, source))
    with pytest.raises(EvaluateError, match=said) as raised:
        apply_scorer(scorer, ITEM, "x")
    assert "'score'" in str(raised.value) and "item 'one'" in str(raised.value)
    assert "scorer.py" in str(raised.value)


def test_a_function_cannot_change_the_item(tmp_path):
    source = "def score(item, completion):\n    item['answer']['value'] = completion\n    return True, 'x'\n"
    scorer, _ = load_scorer("scorer.py:score", write(tmp_path, source))
    assert apply_scorer(scorer, ITEM, "x") == Score(1.0, "x")
    assert RECORD["answer"]["value"] == "Paris"


def test_the_shipped_scorer_judges_its_own_golden_items():
    pytest.importorskip("croniter")
    from tunesmith.verify import read_items

    folder = Path(__file__).parents[2] / "examples" / "cron"
    scorer, _ = load_scorer("scorer.py:score", folder)
    items = [item for item in read_items(folder / "golden.jsonl", "gate") if item.answer["type"] == "cron"][:20]
    assert all(apply_scorer(scorer, item, item.answer["value"]).value == 1.0 for item in items)


def test_a_scorer_may_name_its_rule_and_may_skip_the_task(tmp_path):
    body = "def score(item, completion):\n    return 1.0, 'equal.', 'roman numeral'\n"
    scorer, _ = load_scorer("scorer.py:score", write(tmp_path, body))
    assert apply_scorer(scorer, ITEM, "x") == Score(1.0, "equal.", "roman numeral")
    body = "from tunesmith.errors import SkippedError\ndef score(item, completion):\n    raise SkippedError('no box')\n"
    scorer, _ = load_scorer("scorer.py:score", write(tmp_path, body))
    with pytest.raises(SkippedError, match="no box"):
        apply_scorer(scorer, ITEM, "x")
