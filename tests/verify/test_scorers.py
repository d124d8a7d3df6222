"""The built-in scorers, as tables of what is right and what is not."""

import time

import pytest

from tunesmith.errors import EvaluateError
from tunesmith.verify.scorers import BUILT_IN, contains, exact, number, tool_call


def item(value, kind="text", **more):
    return {"id": "one", "answer": {"type": kind, "value": value, **more}}


@pytest.mark.parametrize(
    ("answer", "completion", "right"),
    [
        ("Paris", " paris.\n", True),
        ("Paris", "PARIS!", True),
        ("Straße", "STRASSE", True),
        ("ﬁne  print", "fine\tprint", True),
        ("Paris", "It is Paris", False),
        ("Paris", "", False),
        ("...", "?!", False),
        ("5", "5.0", False),
        (5, "5", True),
        ("0 9 * * 1-5", "0 9 * * 1-5", True),
    ],
)
def test_exact(answer, completion, right):
    value, explanation = exact(item(answer), completion)
    assert value == right and explanation.endswith(".")


def test_exact_takes_any_alias():
    assert exact(item("Paris", aliases=["City of Light"]), "city of light")[0] == 1.0


@pytest.mark.parametrize(
    ("answer", "completion", "right"),
    [
        ("Paris", "The capital is PARIS, of course.", True),
        ("Paris", "Parisian food", False),
        ("cat", "concatenate", False),
        ("New York", "in new\n york city", True),
        ("C++", "I like c++ a lot", True),
        ("5", "5.3", False),
        ("5", "1.5", False),
        ("5", "it is 5.", True),
        ("東京", "日本の首都は東京です。", True),
        ("Paris", "", False),
    ],
)
def test_contains(answer, completion, right):
    assert contains(item(answer), completion)[0] == right


@pytest.mark.parametrize(
    ("answer", "completion", "right"),
    [
        ("42", "The answer is 42.", True),
        ("42", "so 6 * 7 = 42", True),
        ("42", "42 of the 50", False),
        ("42", "#### 42\nI am 100 % sure", True),
        ("work it out\n#### 1,234", "1234", True),
        ("1234.5", "It costs $1,234.50.", True),
        ("-5", "the result: -5", True),
        ("-5", "−5", True),
        ("-5", "-$5", True),
        ("5", "-5", False),
        ("3", "10-3", True),
        ("5", "+5", True),
        ("26%", "26", False),
        ("26", "26%", False),
        ("26%", "26 percent", True),
        ("26%", "it is 26 %.", True),
        ("0.5", ".5", True),
        ("1000", "1e3", True),
        ("4", "GPT4", False),
        ("42", "４２", True),
        ("42", "forty-two", False),
        ("42", "", False),
        (42, "42.0", True),
        ("10000000000000000000000000000001", "10000000000000000000000000000002", False),
        ("3", "version 3.5.2", False),
    ],
)
def test_number(answer, completion, right):
    assert number(item(answer, "number"), completion)[0] == right


def test_number_tolerance_and_aliases():
    assert number(item("3.14", "number", tolerance=0.01), "3.15")[0] == 1.0
    assert number(item("3.14", "number", tolerance=0.01), "3.16")[0] == 0.0
    assert number(item("50%", "number", aliases=["0.5"]), "0.5")[0] == 1.0
    with pytest.raises(EvaluateError, match="holds no number"):
        number(item("many", "number"), "3")
    with pytest.raises(EvaluateError, match="tolerance"):
        number(item("3", "number", tolerance=-1), "3")


def call(arguments, name="add"):
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


EXPECTED = [{"name": "add", "arguments": {"a": 1, "b": [2.0, {"c": True}]}}]


@pytest.mark.parametrize(
    ("completion", "right", "said"),
    [
        (call('{"b": [2, {"c": true}], "a": 1.0}'), True, "expected arguments"),
        ("Let me see. " + call('{"a": 1, "b": [2, {"c": true}]}'), True, "expected arguments"),
        (call('{"a": 1, "b": [2, {"c": 1}]}'), False, "not with"),
        (call('{"a": "1", "b": [2, {"c": true}]}'), False, "not with"),
        (call("{}", "sub"), False, "calls sub, not add"),
        (call('{"a": 1, "b": [2, {"c": true}]}') * 2, False, "calls add, add, not add"),
        ("The sum is 3.", False, "replies with text where a call of add is expected"),
        ("<tool_call>{oops}</tool_call>", False, "not valid JSON"),
        ('<tool_call>{"name": "add"', False, "not closed"),
        ("<tool_call>[1]</tool_call>", False, "has no name"),
        (call('"{}"'), False, "not an object"),
    ],
)
def test_tool_call(completion, right, said):
    value, explanation = tool_call(item(EXPECTED, "tool_calls"), completion)
    assert value == right and said in explanation


def test_tool_calls_are_equal_in_any_order():
    calls = [{"name": "add", "arguments": {"a": 1}}, {"name": "now", "arguments": {}}]
    completion = '<tool_call>{"name": "now"}</tool_call>' + call('{"a": 1}')
    assert tool_call(item(calls, "tool_calls"), completion)[0] == 1.0


def test_where_no_call_is_expected_only_that_is_checked():
    value, explanation = tool_call(item("Hello!"), "Good day")
    assert value == 1.0 and "only this is checked" in explanation
    value, explanation = tool_call(item("Hello!"), call("{}"))
    assert value == 0.0 and "where no call is expected" in explanation


@pytest.mark.parametrize("scorer", [exact, contains, number])
def test_an_answer_of_another_type_is_refused(scorer):
    with pytest.raises(EvaluateError, match="needs answers that are texts or numbers"):
        scorer(item(EXPECTED, "tool_calls"), "x")


HOSTILE = {
    "letters": "a" * 1_000_000,
    "digits": "1" * 1_000_000,
    "groups": "1" + ",111" * 250_000,
    "points": "1." * 500_000,
    "signs": "-" * 1_000_000,
    "marks": "####" * 250_000,
    "exponents": "1e" * 500_000,
    "big exponent": "1e" + "9" * 1_000_000,
    "spaces": " " * 1_000_000 + "x",
    "almost": "a a " * 250_000,
    "open calls": "<tool_call>" * 100_000,
    "deep call": "<tool_call>" + '{"name":"a","arguments":{"x":' + "[" * 300_000 + "</tool_call>",
    "deep valid call": "<tool_call>" + '{"name":"add","arguments":{"x":' + "[" * 900 + "]" * 900 + "}}</tool_call>",
    "huge number call": '<tool_call>{"name":"add","arguments":{"x":' + "9" * 100_000 + "}}</tool_call>",
    "many calls": '<tool_call>{"name":"add","arguments":{}}</tool_call>' * 10_000,
    "combining": "a" + "\u0301" * 200_000,
    "nul": "\0" * 1_000_000,
    "surrogate": "\ud800" * 1000,
}


# The items of scorers that do not take any answer.
CHECKED = {"checker": {"instructions": [{"id": "own:one_of", "options": ["yes"]}]}}
SUITED = {
    "tool_call": item(EXPECTED, "tool_calls"),
    "refusal": item("refuse", "refusal"),
    "label": {"choices": ["7", "8"], **item("7", "label")},
    "accepted_call": {"checker": {"accepted": {"f": {"x": [1]}}}, "tools": [{"function": {"name": "f"}}]},
    "ifeval_strict": CHECKED,
    "ifeval_loose": CHECKED,
    "continues": {"checker": {"begins_with": ["yes"]}},
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("scorer", sorted(set(BUILT_IN) - {"python_tests"}))  # runs programs: a test of its own
def test_hostile_text_neither_hangs_nor_crashes(scorer, name):
    function, _ = BUILT_IN[scorer]
    began = time.monotonic()
    value, explanation, *_ = function(SUITED.get(scorer, item("7")), HOSTILE[name])
    assert time.monotonic() - began < 3
    # What says nothing declines to answer, and words are only counted.
    assert (value == 0.0 or scorer in ("refusal", "words")) and len(explanation) < 400
