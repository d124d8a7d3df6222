import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from tunesmith.config import Config
from tunesmith.data import DataConfig, Format, data, iter_conversations, write_data
from tunesmith.data.checks import problem_of
from tunesmith.data.detect import detect
from tunesmith.data.formats import convert
from tunesmith.errors import ConfigError


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({}, "paths"),
        ({"paths": []}, "at least 1"),
        ({"paths": ["a"], "format": "csv"}, "format"),
        ({"paths": ["a"], "prompt_field": "q"}, "prompt_field and response_field go together"),
        ({"paths": ["a"], "prompt_field": "q", "response_field": "a", "format": "text"}, "do not go with"),
        ({"paths": ["a"], "holdout": -1}, "holdout"),
        ({"paths": ["a"], "holdout": 1.5}, "a fraction below 1 or a whole count"),
        ({"paths": ["a"], "max_conversations": 0}, "max_conversations"),
        ({"paths": ["a"], "holdut": 1}, "did you mean 'holdout'?"),
    ],
)
def test_bad_configurations(values, part):
    with pytest.raises(ConfigError) as caught:
        DataConfig.parse(values)
    assert part in str(caught.value)


def test_every_field_has_its_sentence():
    assert issubclass(DataConfig, Config)
    for name, field in DataConfig.model_fields.items():
        assert field.description and field.description.endswith("."), name


def test_what_is_written_is_what_the_stream_gives(write_file, tmp_path):
    path = write_file("pairs.jsonl", [{"prompt": f"q{n}", "completion": f"a{n}"} for n in range(5)])
    config = DataConfig(paths=(str(path),))
    write_data(config, tmp_path / "out")
    assert list(iter_conversations(tmp_path / "out" / "conversations.jsonl")) == list(data(config))


def test_importing_the_stage_is_light():
    heavy = ("torch", "pyarrow", "rensa")
    code = f"import sys, tunesmith.data.write; print([name for name in {heavy} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_the_page_tells_every_field_and_format_in_the_words_of_the_code():
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    for name, field in DataConfig.model_fields.items():
        assert f"| `{name}` |" in page and f"| {field.description} |" in page, name
    for format in set(get_args(Format)) - {"auto"}:
        block = page.split(f"\n### {format}\n")[1].split("```json\n")[1].split("```")[0]
        records = [json.loads(line) for line in block.splitlines()]
        layout = detect(records, "page")
        assert layout.format == format
        assert [problem_of(convert(record, layout, "page", "x")) for record in records] == [None] * len(records)
