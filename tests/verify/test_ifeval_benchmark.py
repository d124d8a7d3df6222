"""IFEval's records become items; the four figures are those of the published definitions."""

import json

import pytest

from tunesmith.errors import EvaluateError
from tunesmith.evaluate.estimates import facts_of
from tunesmith.types import Sample
from tunesmith.verify.benchmarks import BENCHMARKS

RECORDS = [
    {
        "key": 7,
        "prompt": "Name a color in one sentence. No commas, and end with: the end.",
        "instruction_id_list": ["punctuation:no_comma", "startend:end_checker"],
        "kwargs": [{"end_phrase": None}, {"end_phrase": "the end.", "num_words": None}],
    },
    {
        "key": 8,
        "prompt": "List two pets.",
        "instruction_id_list": ["detectable_format:number_bullet_lists"],
        "kwargs": [{"num_bullets": 2}],
    },
]


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "input_data.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return file


def sample(item, completion):
    return Sample("ifeval", item, "all", "?", "", completion, 1, True, 0.0, "")


def test_prompts_and_instructions_ask_the_same(path):
    prompts, instructions = BENCHMARKS["ifeval"].read(path), BENCHMARKS["ifeval_instructions"].read(path)
    assert [item.id for item in prompts] == ["ifeval-7", "ifeval-8"]
    assert prompts[0].checker == {
        "instructions": [{"id": "punctuation:no_comma"}, {"id": "startend:end_checker", "end_phrase": "the end."}]
    }
    assert [(item.id, item.cluster) for item in instructions] == [
        ("ifeval-7-1", "ifeval-7"),
        ("ifeval-7-2", "ifeval-7"),
        ("ifeval-8-1", "ifeval-8"),
    ]
    assert {item.messages for item in prompts} == {item.messages for item in instructions}


@pytest.mark.parametrize("judge", ["ifeval_strict", "ifeval_loose"])
def test_four_figures(path, judge):
    """Two instructions of three are followed strictly and all of them loosely: a chatty line is in the way of one."""
    items = BENCHMARKS["ifeval"].read(path)
    answers = [sample("ifeval-7", "Red, sure!\nIt is red. The end."), sample("ifeval-8", "- cat\n- dog")]
    assert facts_of(items, answers, judge) == {
        "prompt_strict": 1 / 2,
        "instruction_strict": 2 / 3,
        "prompt_loose": 1.0,
        "instruction_loose": 1.0,
        "prompt_gap": 1 / 2,
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kwargs": [{}]}, "the same length"),
        ({"kwargs": [{}, 3]}, "objects"),
        ({"kwargs": [{}, {}]}, "needs 'end_phrase'"),
        (
            {"instruction_id_list": ["punctuation:no_comma", "startend:end_cheker"]},
            "did you mean 'startend:end_checker'",
        ),
        ({"prompt": ""}, "prompt must be a text"),
    ],
)
def test_a_broken_record_is_named(tmp_path, change, said):
    file = tmp_path / "broken.jsonl"
    file.write_text(json.dumps({**RECORDS[0], **change}) + "\n")
    with pytest.raises(EvaluateError, match=rf"broken.jsonl:1: .*{said}"):
        BENCHMARKS["ifeval"].read(file)


def test_the_authors_own_file(shared_data):
    path = shared_data / "ifeval" / "input_data.jsonl"
    prompts, instructions = BENCHMARKS["ifeval"].read(path), BENCHMARKS["ifeval_instructions"].read(path)
    assert len(prompts) == len({item.cluster for item in instructions}) >= 540
    assert len(instructions) == sum(len(item.checker["instructions"]) for item in prompts) >= 830
