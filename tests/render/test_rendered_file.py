"""Rendered files: read back by position, too long conversations, broken folders."""

import json

import numpy as np
import pytest

from tunesmith.errors import DataError, RenderError
from tunesmith.files import StageFolder
from tunesmith.render import RenderConfig, render, renderer_for
from tunesmith.render.rendered_file import RenderedFile
from tunesmith.types import Conversation, Message


def conversations(count, words=3):
    return [
        Conversation(
            f"c{index}",
            (Message("user", "hi " * index), Message("assistant", "yes " * words)),
            source=f"f:{index}",
        )
        for index in range(count)
    ]


def write(tmp_path, renderer, config, examples):
    return render(config, renderer, examples, StageFolder(tmp_path, "render"))


@pytest.fixture
def renderer(tiny_tokenizer_folder):
    return renderer_for(tiny_tokenizer_folder)


def test_reads_back_what_was_rendered(tmp_path, renderer):
    examples = conversations(5)
    facts = write(tmp_path, renderer, RenderConfig(), examples)
    read = RenderedFile(tmp_path)
    for example, got in zip(examples, read, strict=True):
        expected = renderer.render(example)
        assert got.conversation_id == example.id
        assert np.array_equal(got.tokens, expected.tokens)
        assert np.array_equal(got.loss_weights, expected.loss_weights)
    assert facts["num_in"] == facts["num_out"] == len(read) == 5
    assert facts["num_tokens"] == sum(each.num_tokens for each in read)
    assert facts["num_supervised"] == sum(each.num_supervised for each in read)


def test_too_long_is_an_error_that_says_where_and_how_to_mend(tmp_path, renderer):
    with pytest.raises(RenderError, match=r"f:3.*render\.max_tokens.*too_long=drop"):
        write(tmp_path, renderer, RenderConfig(max_tokens=30), conversations(5))


def test_dropping_is_counted_and_kept(tmp_path, renderer):
    facts = write(tmp_path, renderer, RenderConfig(max_tokens=30, too_long="drop"), conversations(8))
    dropped = [json.loads(line) for line in (tmp_path / "dropped.jsonl").open()]
    assert facts["num_dropped"] == len(dropped) > 0
    assert facts["num_in"] == facts["num_out"] + facts["num_dropped"]
    assert facts["dropped_by_reason"] == {"too_long": len(dropped)}
    assert dropped[0]["source"].startswith("f:")


def test_dropping_everything_is_an_error(tmp_path, renderer):
    with pytest.raises(RenderError, match="all 3 conversations were dropped"):
        write(tmp_path, renderer, RenderConfig(max_tokens=5, too_long="drop"), conversations(3))


def test_truncated_files_are_noticed(tmp_path, renderer):
    write(tmp_path, renderer, RenderConfig(), conversations(3))
    whole = (tmp_path / "tokens.bin").read_bytes()
    (tmp_path / "tokens.bin").write_bytes(whole[:-8])
    with pytest.raises(DataError, match="render again"):
        RenderedFile(tmp_path)
