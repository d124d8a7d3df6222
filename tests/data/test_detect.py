import pytest

from tunesmith.data.detect import detect
from tunesmith.errors import DataError


def test_detection_counts_and_ignores_what_it_cannot_read():
    records = [3, {"instruction": "q", "output": "a"}, {"x": 1}, {"instruction": "q", "output": "a"}]
    layout = detect(records, "here")
    assert layout.evidence == "2 of the first 4 records have 'instruction' and 'output'"


@pytest.mark.parametrize(
    ("record", "parts"),
    [
        (
            {"question": "q", "answer": "a"},
            [
                "columns are: question, answer",
                "--set data.prompt_field=question --set data.response_field=answer",
            ],
        ),
        ({"instruction": "q", "context": "c", "response": "a"}, ["data.prompt_field=instruction"]),
        ({"title": "t"}, ["columns are: title", "--set data.prompt_field=COLUMN"]),
        ({"text": 3}, ["columns are: text"]),
        (["a"], ["a record must be an object, not ['a']"]),
    ],
)
def test_what_is_not_recognized_is_told_how_to_be(record, parts):
    with pytest.raises(DataError) as caught:
        detect([record], "train.jsonl:1")
    assert str(caught.value).startswith("train.jsonl:1: ")
    assert all(part in str(caught.value) for part in parts)


@pytest.mark.parametrize(
    ("record", "format"),
    [
        ({"messages": "not json", "text": "x"}, "text"),
        ({"messages": None, "conversations": [{"from": "human", "value": "q"}]}, "sharegpt"),
        ({"messages": [], "prompt": "q", "completion": "a"}, "prompt_completion"),
        ({"instruction": "q", "output": "a", "prompt": "x", "response": "y"}, "alpaca"),
    ],
)
def test_only_columns_that_hold_a_conversation_count(record, format):
    assert detect([record], "here").format == format
