"""Rendered files: read back by position, trees and parts included; broken, unfinished and old folders are noticed."""

import tracemalloc

import numpy as np
import pytest
from word_renderer import WordRenderer, examples, same

from tunesmith.errors import DataError
from tunesmith.files import StageFolder
from tunesmith.render import RenderConfig, render
from tunesmith.render.bulk import chunks, rendered_file
from tunesmith.render.bulk.rendered_file import INDEX, SHARDS, RenderedFile, is_rendered, open_arrays, write_arrays
from tunesmith.types import LINEAR, Rendered


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "MEAN_CONVERSATIONS", 8)
    monkeypatch.setattr(chunks, "MIN_CONVERSATIONS", 2)
    monkeypatch.setattr(chunks, "MIN_BYTES", 1 << 30)


class TreeRenderer(WordRenderer):
    """Every third conversation becomes a tree, with fractional weights."""

    def render(self, conversation):
        plain = super().render(conversation)
        if plain.tokens.sum() % 3:
            return plain
        branches = np.array([[0, -1], [3, 1], [5, -1]], np.int32)
        return Rendered(plain.conversation_id, plain.tokens, plain.loss_weights / 4, branches, plain.parts)


def write(folder, conversations, renderer=None):
    return render(RenderConfig(), renderer or WordRenderer(), conversations, StageFolder(folder, "render"))


@pytest.mark.parametrize("make", [WordRenderer, TreeRenderer])
def test_reads_back_what_was_rendered(tmp_path, make):
    given = examples(60)
    facts = write(tmp_path, given, make())
    read = RenderedFile(tmp_path)
    expected = [make().render(each) for each in given]
    assert len(read) == 60
    assert facts["num_shards"] > 3
    assert all(map(same, read, expected))
    assert all(same(read[index], expected[index]) for index in (59, 0, 31, 30, -1, -60))
    assert all(map(same, read[10:13], expected[10:13]))
    assert read.lengths.tolist() == [each.num_tokens for each in expected]
    assert read.supervised.tolist() == [each.num_supervised for each in expected]
    assert (read.lengths.dtype, read.supervised.dtype) == (np.int64, np.int64)
    assert any(not each.is_linear for each in read) == (make is TreeRenderer)


def test_types_are_those_of_a_renderer(tmp_path):
    write(tmp_path, examples(3))
    read = RenderedFile(tmp_path)[1]
    assert (read.tokens.dtype, read.loss_weights.dtype, read.parts.dtype) == (np.int32, np.float32, np.uint8)
    assert read.messages is None
    assert read.branches is LINEAR


def test_a_renderer_without_parts_has_none_afterwards(tmp_path):
    class Bare(WordRenderer):
        def render(self, conversation):
            whole = super().render(conversation)
            return Rendered(whole.conversation_id, whole.tokens, whole.loss_weights)

    write(tmp_path, examples(3), Bare())
    assert RenderedFile(tmp_path)[1].parts is None


@pytest.mark.parametrize("index", [5, -6])
def test_an_index_out_of_range_is_an_index_error(tmp_path, index):
    write(tmp_path, examples(5))
    with pytest.raises(IndexError, match="5"):
        RenderedFile(tmp_path)[index]


def test_more_shards_than_may_be_open(tmp_path, monkeypatch):
    monkeypatch.setattr(rendered_file, "MAX_OPEN_SHARDS", 2)
    write(tmp_path, examples(60))
    read = RenderedFile(tmp_path)
    order = np.random.default_rng(0).permutation(60)
    expected = [WordRenderer().render(each) for each in examples(60)]
    held = [read[int(index)] for index in order]
    assert all(same(each, expected[index]) for each, index in zip(held, order, strict=True))


def test_what_was_read_cannot_be_changed_on_disk(tmp_path):
    write(tmp_path, examples(3))
    with pytest.raises(ValueError, match="read-only"):
        RenderedFile(tmp_path)[0].tokens[0] = 1


def test_opening_reads_neither_ids_nor_tokens(tmp_path):
    count = 100_000
    arrays = {
        "starts": np.zeros(1, np.int64),
        "lengths": np.full(count, 100),
        "supervised": np.full(count, 10),
        "id_ends": np.arange(8, 8 * count + 8, 8),
        "ids": np.frombuffer(b"".join(b"%08d" % number for number in range(count)), np.uint8),
    }
    write_arrays(tmp_path / SHARDS / "a.shard", {}, {})
    size = (tmp_path / SHARDS / "a.shard").stat().st_size
    write_arrays(tmp_path / INDEX, {"shards": ["a"], "sizes": [size], "num_pairs": 0}, arrays)
    tracemalloc.start()
    read = RenderedFile(tmp_path)
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(read), read.conversation_id(0), read.conversation_id(count - 1)) == (count, "00000000", "00099999")
    assert used < 1_000_000


def test_a_folder_that_holds_none_is_told(tmp_path):
    assert not is_rendered(tmp_path)
    with pytest.raises(DataError, match=r"index\.bin missing\); render again"):
        RenderedFile(tmp_path)


def test_a_missing_shard_is_noticed_when_the_folder_is_opened(tmp_path):
    write(tmp_path, examples(20))
    next((tmp_path / SHARDS).iterdir()).unlink()
    with pytest.raises(DataError, match="missing; render again"):
        RenderedFile(tmp_path)


def test_a_truncated_shard_is_noticed_when_the_folder_is_opened(tmp_path):
    write(tmp_path, examples(20))
    shard = next((tmp_path / SHARDS).iterdir())
    shard.write_bytes(shard.read_bytes()[:-64])
    with pytest.raises(DataError, match="in place of"):
        RenderedFile(tmp_path)


@pytest.mark.parametrize("content", [b"", b"x", b"x" * 100])
def test_another_file_in_place_of_the_index_is_noticed(tmp_path, content):
    write(tmp_path, examples(20))
    (tmp_path / INDEX).write_bytes(content)
    with pytest.raises(DataError, match=r"index\.bin: not a whole file of rendered conversations"):
        RenderedFile(tmp_path)


# The file of arrays

ARRAYS = {
    "a": np.arange(5, dtype=np.int32),
    "empty": np.zeros((0, 3), np.int64),
    "b": np.ones((4, 2), np.float32),
    "last": np.zeros(0, np.uint8),
}


def test_arrays_come_back_with_type_and_shape(tmp_path):
    write_arrays(tmp_path / "file", {"x": "é"}, ARRAYS)
    facts, arrays = open_arrays(tmp_path / "file", check=True)
    assert facts == {"x": "é"}
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert np.array_equal(arrays[name], array)
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)


def test_any_changed_byte_and_any_cut_is_noticed(tmp_path):
    path = tmp_path / "file"
    write_arrays(path, {}, ARRAYS)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(DataError, match="render again"):
            open_arrays(path, check=True)
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="render again"):
            open_arrays(path)


def test_arrays_of_objects_are_refused(tmp_path):
    path = tmp_path / "file"
    write_arrays(path, {}, {"a": np.zeros(8, np.uint64)})
    path.write_bytes(path.read_bytes().replace(b'"<u8"', b'"|O8"'))
    with pytest.raises(DataError, match="header cannot be read"):
        open_arrays(path)
