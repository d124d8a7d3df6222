"""The scorer `label`: one label, named without doubt."""

import pytest

from tunesmith.errors import EvaluateError
from tunesmith.verify.labels import label, read_label

CHOICES = ["date", "pay date", "transfer_money", "oos"]


@pytest.mark.parametrize(
    ("completion", "seen"),
    [
        ("date", "date"),
        ("Pay Date.", "pay date"),
        ("The label is: pay date", "pay date"),
        ("Transfer-money!", "transfer_money"),
        ("transfer money", "transfer_money"),
        ("either date or oos", None),
        ("pay date, or just date", None),
        ("update", None),
        ("", None),
        ("date" + " x" * 5000 + " oos", "date"),
    ],
)
def test_what_an_answer_names(completion, seen):
    assert read_label({"choices": CHOICES}, completion) == seen
    item = {"choices": CHOICES, "answer": {"type": "label", "value": "date"}}
    assert label(item, completion)[0] == float(seen == "date")


def test_a_label_that_is_no_choice_is_an_error():
    with pytest.raises(EvaluateError, match="none of the item's choices"):
        label({"choices": CHOICES, "answer": {"type": "label", "value": "time"}}, "x")
