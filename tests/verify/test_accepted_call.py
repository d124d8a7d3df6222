"""BFCL's simple calls: the rules on small cases, and its own answers on its own items."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.errors import EvaluateError
from tunesmith.verify.accepted_call import accepted_call
from tunesmith.verify.benchmarks import bfcl

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "tool_calls" / "bfcl_simple_python.jsonl"
needs_data = pytest.mark.skipif(not DATA.is_file(), reason="no BFCL data beside the project")
PROPERTIES: dict[str, Any] = {
    "base": {"type": "integer"},
    "height": {"type": "number"},
    "unit": {"type": "string"},
    "exact": {"type": "boolean"},
    "points": {"type": "array", "items": {"type": "number"}},
    "options": {"type": "object"},
    "rows": {"type": "array", "items": {"type": "object"}},
    "anything": {},
}
ACCEPTED: dict[str, list[Any]] = {
    "base": [10],
    "height": [5.0, 5.5],
    "unit": ["square meters", "m^2", ""],
    "exact": [True, ""],
    "points": [[1, 2], ""],
    "options": [{"color": ["Red", "red wine"], "size": [3, ""]}, ""],
    "rows": [[{"name": ["A"]}, {"name": ["B", "C"]}], ""],
    "anything": ["x", 7, ""],
}


def item(**changes: Any) -> dict[str, Any]:
    function = {
        "name": "geometry.area",
        "parameters": {"type": "object", "properties": PROPERTIES, "required": ["base", "height"]},
    }
    checker = {"accepted": {"geometry.area": ACCEPTED}}
    return {"id": "a", "tools": [{"type": "function", "function": function}], "checker": checker, **changes}


def said(call: Any) -> str:
    return f"<tool_call>{json.dumps(call)}</tool_call>"


def judge(arguments: dict[str, Any], name: str = "geometry.area") -> tuple[float, str, str]:
    return accepted_call(item(), said({"name": name, "arguments": {"base": 10, "height": 5.5, **arguments}}))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"height": 5},
        {"unit": "Square Meters"},
        {"unit": "square-meters"},
        {"unit": "M2"},
        {"exact": True},
        {"points": [1.0, 2]},
        {"options": {"color": "RED"}},
        {"options": {"color": "redwine", "size": 3}},
        {"rows": [{"name": "a"}, {"name": "c"}]},
        {"anything": "X"},
        {"anything": 7},
    ],
)
def test_accepted_arguments(arguments: dict[str, Any]) -> None:
    assert judge(arguments) == (1.0, "it calls geometry.area with accepted arguments.", "passed")


@pytest.mark.parametrize(
    ("arguments", "rule", "sentence"),
    [
        ({"base": 11}, "value", "'base' is 11, not 10."),
        ({"base": 10.0}, "type", "'base' is 10.0, which is no integer."),
        ({"base": "10"}, "type", "'base' is '10', which is no integer."),
        ({"base": True}, "type", "'base' is True, which is no integer."),
        ({"height": 6}, "value", "'height' is 6, not 5.0 or 5.5."),
        ({"height": None}, "type", "'height' is None, which is no number."),
        ({"unit": "feet"}, "value", "'unit' is 'feet', not 'square meters' or 'm^2'."),
        ({"unit": 2}, "type", "'unit' is 2, which is no string."),
        ({"exact": False}, "value", "'exact' is False, not True."),
        ({"exact": 1}, "type", "'exact' is 1, which is no boolean."),
        ({"points": [2, 1]}, "value", "'points' is [2, 1], not [1, 2]."),
        ({"points": ["1", "2"]}, "type", "which is no array."),
        ({"points": [1, 2, 3]}, "value", "not [1, 2]."),
        ({"options": {"color": "blue"}}, "value", "'options' is {'color': 'blue'}"),
        ({"options": {"size": 3}}, "value", "'options' is {'size': 3}"),
        ({"options": {"color": "red", "more": 1}}, "value", "'options' is"),
        ({"rows": [{"name": "B"}, {"name": "A"}]}, "value", "'rows' is"),
        ({"depth": 1}, "unknown", "there is no argument 'depth' to be given."),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], rule: str, sentence: str) -> None:
    value, explanation, fired = judge(arguments)
    assert (value, fired) == (0.0, rule)
    assert sentence in explanation


def test_what_must_be_there() -> None:
    assert accepted_call(item(), said({"name": "geometry.area", "arguments": {"base": 10}})) == (
        0.0,
        "the required argument 'height' is missing.",
        "missing",
    )
    stricter = item(checker={"accepted": {"geometry.area": {**ACCEPTED, "unit": ["m"]}}})
    call = said({"name": "geometry.area", "arguments": {"base": 10, "height": 5}})
    assert accepted_call(stricter, call) == (0.0, "the argument 'unit' is missing, which must be 'm'.", "missing")


def test_a_name_of_a_variable_does_where_one_is_accepted() -> None:
    named = item(checker={"accepted": {"geometry.area": {"base": [10, "width"], "height": [5.0]}}})
    assert accepted_call(named, said({"name": "geometry.area", "arguments": {"base": "width", "height": 5}}))[0] == 1.0


@pytest.mark.parametrize(
    ("completion", "rule"),
    [
        ("The area is 50.", "text"),
        ("", "text"),
        (said({"name": "geometry.volume", "arguments": {}}), "name"),
        (said({"name": "geometry.area", "arguments": {}}) * 2, "count"),
        ("<tool_call>{", "broken"),
        ("<tool_call>not JSON</tool_call>", "broken"),
        (said({"arguments": {}}), "broken"),
        (said({"name": "geometry.area"}), "missing"),
    ],
)
def test_what_is_no_right_call(completion: str, rule: str) -> None:
    value, explanation, fired = accepted_call(item(), completion)
    assert (value, fired) == (0.0, rule)
    assert explanation.endswith(".")


def test_a_dot_in_a_name_may_be_an_underscore() -> None:
    """Several chat templates and endpoints allow no dots in names."""
    assert judge({}, "geometry_area")[0] == 1.0


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_no_argument_is_too_strange(value: Any) -> None:
    for name in PROPERTIES:
        assert judge({name: value})[0] in (0.0, 1.0)


def test_deep_arguments_are_no_harm() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    call = f'<tool_call>{{"name": "geometry.area", "arguments": {{"base": {deep}, "height": 5}}}}</tool_call>'
    assert accepted_call(item(), call)[0] == 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checker": None}, "needs a checker with one function"),
        ({"checker": {"accepted": {}}}, "needs a checker with one function"),
        ({"checker": {"accepted": {"geometry.area": {"base": 10}}}}, "needs a checker with one function"),
        ({"tools": []}, "not among the item's tools"),
    ],
)
def test_a_broken_item_is_an_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(EvaluateError, match=message):
        accepted_call(item(**changes), said({"name": "geometry.area", "arguments": {}}))


# --- the benchmark


def write(folder: Path, answers: str, **changes: Any) -> Path:
    properties = {"r": {"type": "float"}, "x": {"type": "any"}}
    question = {
        "id": "q",
        "question": [[{"role": "user", "content": "Area?"}]],
        "function": [
            {"name": "area", "parameters": {"type": "dict", "properties": properties}},
        ],
        **changes,
    }
    path = folder / "questions.jsonl"
    path.write_text(json.dumps(question))
    place = folder / answers
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps({"id": "q", "ground_truth": [{"area": {"r": [2.0], "x": [""]}}]}))
    return path


@pytest.mark.parametrize("answers", ["questions_answers.jsonl", "possible_answer/questions.jsonl"])
def test_questions_and_answers_become_items(answers: str, tmp_path: Path) -> None:
    (item,) = bfcl.read(write(tmp_path, answers))
    assert item.messages[0].content == "Area?"
    parameters = item.tools[0]["function"]["parameters"]
    assert parameters == {"type": "object", "properties": {"r": {"type": "number"}, "x": {}}}
    assert accepted_call(dict(item.record), said({"name": "area", "arguments": {"r": 2}}))[0] == 1.0


def test_missing_and_broken_answers_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, "elsewhere.jsonl")
    with pytest.raises(EvaluateError, match=r"accepted answers are missing.*questions_answers\.jsonl"):
        bfcl.read(path)
    path = write(tmp_path, "questions_answers.jsonl", id="other")
    with pytest.raises(EvaluateError, match="no answers for 'other'"):
        bfcl.read(path)
    path = write(tmp_path, "questions_answers.jsonl", function=[])
    with pytest.raises(EvaluateError, match="exactly one function"):
        bfcl.read(path)


@needs_data
def test_every_accepted_answer_of_the_400_items_is_right_and_a_changed_one_is_wrong() -> None:
    items = bfcl.read(DATA)
    assert len(items) == 400
    for item in items:
        ((name, accepted),) = item.checker["accepted"].items()
        for turn in range(max(map(len, accepted.values()), default=1)):
            arguments = _chosen(accepted, turn)
            record = dict(item.record)
            assert accepted_call(record, said({"name": name, "arguments": arguments}))[0] == 1.0, item.id
        required = item.tools[0]["function"]["parameters"]["required"]
        for argument in required:
            without = {key: value for key, value in arguments.items() if key != argument}
            assert accepted_call(record, said({"name": name, "arguments": without}))[2] == "missing", item.id
            other = {**arguments, argument: [[["nothing like it"]]]}
            assert accepted_call(record, said({"name": name, "arguments": other}))[0] == 0.0, item.id
        assert accepted_call(record, said({"name": name, "arguments": {**arguments, "zz": 1}}))[2] == "unknown"


def _chosen(accepted: Any, turn: int = 0) -> Any:
    """One accepted value for each argument, the `turn`-th where there are as many; what may be left out is."""
    chosen = {}
    for name, options in accepted.items():
        given = [option for option in options if option != ""]
        if given:
            chosen[name] = _plain(given[turn % len(given)])
    return chosen


def _plain(option: Any) -> Any:
    if isinstance(option, dict):
        return _chosen(option)
    return [_plain(each) for each in option] if isinstance(option, list) else option
