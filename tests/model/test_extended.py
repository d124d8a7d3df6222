"""Models with added tokens: the tokenizer finds them, their rows begin as a mean, and an adapter trains them."""

import json

import pytest
import torch
from transformers import AutoTokenizer

from builders import build_model, build_tokenizer
from tunesmith.errors import ModelError
from tunesmith.model import ModelConfig, model_digest, model_folder, tokenizer_folder
from tunesmith.model.extended import pieces_of
from tunesmith.model.load import load_model
from tunesmith.model.tokenizer import Tokenizer
from tunesmith.recipe import build_recipe

ADDED = ("<cron>", "[noon]")


@pytest.fixture(params=[True, False], ids=["tied", "head of its own"])
def base(request, tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "base"
    build_tokenizer(folder)
    size = Tokenizer.load(folder).backend.get_vocab_size()
    build_model(folder, tie_word_embeddings=request.param, vocab_size=size)
    return folder


def extended(base, tokens=ADDED):
    return ModelConfig(name=str(base), dtype="float32", add_tokens=tokens)


def test_an_added_string_is_one_token_and_the_rest_is_split_as_before(base):
    before, after = Tokenizer.load(base), Tokenizer.load(tokenizer_folder(extended(base)))
    first = before.backend.get_vocab_size()
    text = "every day <cron> at [noon]"
    assert [token for token in after.encode(text) if token >= first] == [first, first + 1]
    assert after.encode("every day at noon") == before.encode("every day at noon")
    assert after.decode(after.encode(text)) == text
    theirs = AutoTokenizer.from_pretrained(model_folder(extended(base)))
    assert theirs.encode(text, add_special_tokens=False) == after.encode(text)


def test_new_rows_begin_as_the_mean_of_their_pieces_and_old_ones_stay(base):
    before, after = (load_model(config) for config in (ModelConfig(name=str(base), dtype="float32"), extended(base)))
    for table in ("get_input_embeddings", "get_output_embeddings"):
        old, new = (getattr(model, table)().weight.detach() for model in (before, after))
        assert torch.equal(old, new[: len(old)]) and len(new) == len(old) + 2
        for index, pieces in pieces_of(base, ADDED).items():
            torch.testing.assert_close(new[index], old[pieces].mean(0))
    is_tied = before.config.tie_word_embeddings
    assert (after.get_input_embeddings().weight is after.get_output_embeddings().weight) == is_tied


def test_a_table_with_room_is_not_made_larger(base):
    build_model(base, vocab_size=400)
    assert load_model(extended(base)).config.vocab_size == 400


def test_made_once_and_named_by_content(base):
    first = model_folder(extended(base))
    assert model_folder(extended(base)) == first != model_folder(extended(base, ("<cron>",)))
    build_model(base, seed=1)
    assert model_folder(extended(base)) != first


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (("<|im_end|>",), "in the vocabulary"),
        (("a ",), "white space"),
        (("",), "empty"),
        (("<a>", "<a>"), "twice"),
        (("§x",), "spell the token in ASCII"),
    ],
)
@pytest.mark.parametrize("find", [model_folder, tokenizer_folder])
def test_what_cannot_be_added_is_refused(base, find, tokens, words):
    with pytest.raises(ModelError, match=words):
        find(extended(base, tokens))


def test_an_adapter_trains_the_rows_through_a_recipe(base, tmp_path):
    from tunesmith.pipeline import run

    rows = [{"prompt": f"what is {n} plus two?", "completion": f"<cron> {n + 2}"} for n in range(8)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {
        "name": "added",
        "model": {"name": str(base), "dtype": "float32", "add_tokens": ["<cron>"]},
        "data": {"paths": [str(tmp_path / "train.jsonl")]},
        "train": {"adapter": {"new_tokens": ["<cron>"], "rank": 2}, "learning_rate": 1e-2},
        "pool": {"path": str(tmp_path / "pool")},
    }
    result = run(build_recipe(values), tmp_path / "runs", lambda line: None)
    config = extended(base, ("<cron>",))
    assert result.entry.manifest["parent"]["digest"] == model_digest(model_folder(config))
    (row,) = pieces_of(base, ["<cron>"])
    before, after = (load_model(config, adapter=adapter) for adapter in (None, result.weights))
    changed = (before.get_input_embeddings().weight != after.get_input_embeddings().weight).any(-1)
    assert changed.nonzero().flatten().tolist() == [row]
