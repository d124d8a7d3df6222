"""A chosen and a rejected answer: one tree, each side as if rendered alone, never cut and never apart."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_renderer import HISTORY, trained

from builders import CHATML, build_tokenizer
from tunesmith.branches import sequences
from tunesmith.errors import ConfigError, MaskError, RenderError
from tunesmith.files import StageFolder
from tunesmith.pack import PackConfig, pack
from tunesmith.pack.pieces import pieces_of
from tunesmith.render import RenderConfig, Renderer, render, renderer_for
from tunesmith.render.bulk.rendered_file import RenderedFile
from tunesmith.render.show import branches, plain_text
from tunesmith.render.show.tokens import Reader
from tunesmith.render.show.views import views
from tunesmith.types import Conversation, Message, ToolCall

ASKED = (Message("system", "Be kind."), Message("user", "what is two plus two?"))
GOOD, BAD = Message("assistant", "four, every day"), Message("assistant", "four at noon")
PAIR = Conversation("p", (*ASKED, GOOD), source="pairs.jsonl:1", rejected=(*ASKED, BAD))
LONG = (Message("user", "Hi"), Message("assistant", "Hello, you!"), *ASKED[1:])


@pytest.fixture
def make(tmp_path: Path) -> Any:
    def build(template: str = CHATML, **changes: Any) -> Renderer:
        folder = tmp_path / f"model-{len(list(tmp_path.iterdir()))}"
        build_tokenizer(folder, template)
        return renderer_for(folder, RenderConfig(**changes))

    return build


def sides(rendered):
    """(tokens, weights) of each sequence from root to leaf."""
    return [
        (rendered.tokens[row].tolist(), rendered.loss_weights[row].tolist())
        for row in sequences(rendered.branches, rendered.num_tokens)
    ]


def alone(renderer, messages):
    """The tokens of a conversation whose last answer is trained, and their weights."""
    found = renderer.render(Conversation("c", messages))
    assert found.is_linear
    return found.tokens.tolist(), found.loss_weights.tolist()


@pytest.mark.parametrize("template", [CHATML, HISTORY])
@pytest.mark.parametrize("layout", ["shared_prefix", "split"])
@pytest.mark.parametrize("asked", [ASKED, LONG])
def test_each_side_is_what_it_would_be_alone(make, template, layout, asked):
    """Answers that begin with the same tokens keep them on both sides, and earlier answers are context."""
    renderer = make(template, layout=layout)
    found = renderer.render(replace(PAIR, messages=(*asked, GOOD), rejected=(*asked, BAD)))
    chosen, (tokens, weights) = sides(found)
    single = make(template, train_on="last_turn")
    assert chosen == alone(single, (*asked, GOOD))
    assert (tokens, [-weight for weight in weights]) == alone(single, (*asked, BAD))
    assert found.is_pair and len(found.branches) == 2


def test_the_prompt_stands_once(make):
    renderer = make()
    found = renderer.render(PAIR)
    prompt = renderer.prompt(ASKED).size
    sizes = [len(tokens) for tokens, _ in sides(found)]
    assert found.num_tokens == sum(sizes) - prompt
    assert found.branches.tolist() == [[0, -1], [sizes[0], prompt - 1]]
    assert found.messages[-1] == len(PAIR.messages)


def test_tails_of_several_messages_are_trained_where_the_assistant_speaks(make):
    call = (Message("assistant", "", tool_calls=(ToolCall("now", {}),)), Message("tool", "12"), GOOD)
    renderer = make()
    found = renderer.render(replace(PAIR, messages=(*ASKED, *call)))
    assert len(trained(renderer, found)) == 2
    assert renderer.text(found.tokens[found.loss_weights < 0].tolist()) == BAD.content


def test_a_side_that_cannot_be_rendered_refuses_the_pair(make):
    hostile = "{% for m in messages %}{{ m.content if m.content != 'x' else raise_exception('no x') }}{% endfor %}"
    renderer = make(hostile + "{% if add_generation_prompt %}>{% endif %}", refused="drop")
    with pytest.raises(RenderError, match=r"pairs.jsonl:1"):
        renderer.render(replace(PAIR, rejected=(*ASKED, Message("assistant", "x"))))


@pytest.mark.parametrize("train_on", ["all", "response_only"])
def test_only_answers_behind_their_prompt_can_be_compared(make, train_on):
    with pytest.raises(MaskError, match="take assistant, last_turn or per_message"):
        make(train_on=train_on).render(PAIR)


@pytest.mark.parametrize("policy", ["drop", "split_turns", "truncate_prompt_head", "truncate_response"])
def test_a_pair_that_is_too_long_is_left_out_whole(make, tmp_path, policy):
    renderer = make()
    longest = max(len(tokens) for tokens, _ in sides(renderer.render(PAIR)))
    short = replace(PAIR, id="short", messages=(ASKED[1], GOOD), rejected=(ASKED[1], BAD))
    config = RenderConfig(max_tokens=longest - 1, too_long=policy)
    facts = render(config, renderer, [PAIR, short], StageFolder(tmp_path / "out", "render"))
    assert (facts["num_out"], facts["num_pairs"], facts["dropped_by_reason"]) == (1, 1, {"too_long": 1})
    assert "a pair of answers is never cut" in (tmp_path / "out" / "dropped.jsonl").read_text()


def test_shards_keep_the_signs(make, tmp_path):
    renderer = make()
    weighted = replace(PAIR, id="w", messages=(*ASKED, replace(GOOD, train=0.5)), rejected=PAIR.rejected)
    single = Conversation("single", PAIR.messages)
    config = RenderConfig(train_on="per_message")
    for name, given in (("whole", [PAIR, single]), ("half", [PAIR, weighted])):
        facts = render(config, make(train_on="per_message"), given, StageFolder(tmp_path / name, "render"))
        back = RenderedFile(tmp_path / name)
        assert back.num_pairs == facts["num_pairs"] == sum(bool(each.rejected) for each in given)
        for one, each in zip(back, given, strict=True):
            expected = make(train_on="per_message").render(each)
            assert np.array_equal(one.loss_weights, expected.loss_weights)
            assert np.array_equal(one.branches, expected.branches)
    assert renderer.render(PAIR).loss_weights.min() == -1


@pytest.mark.parametrize("layout", ["best_fit", "full_rows", "varlen", "padding"])
def test_a_pair_stands_in_one_row(make, layout):
    found = make(layout="split").render(PAIR)
    config = PackConfig(layout=layout, batch_conversations=2, row_tokens=found.num_tokens)
    assert pieces_of(found, config) == [found]
    rows = [row for batch in pack(config, [found] * 3) for row in batch.rows]
    assert all((row.loss_weights > 0).any() and (row.loss_weights < 0).any() for row in rows)
    with pytest.raises(ConfigError, match="a pair stands in one row, so raise it to"):
        pack(PackConfig(layout=layout, row_tokens=found.num_tokens - 1), [found])


def test_both_answers_are_shown(make):
    renderer = make()
    (view,) = views(RenderConfig(), renderer, [PAIR])
    text = plain_text(branches(view, Reader(renderer)))
    assert f"⟦{GOOD.content}<|im_end|>⟧" in text
    assert f"⟦rejected {BAD.content}<|im_end|>⟧" in text
