"""The contract of masks, on 28 real chat templates, three real tokenizers and every shape of conversation.

For each trained message: the prompt has the tokens that transformers gives it, nothing before the boundary is
trained but earlier turns, the stop token is, the trained text is the message's, and no text mints a control token.
"""

import json
import subprocess
import sys
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pytest
from families import OPTIONS, SHAPES, Shape, backend, of_file, renderer, special_of
from tokenizers import Tokenizer as Backend

from tunesmith.branches import sequences
from tunesmith.errors import RenderError
from tunesmith.render.mask.sentinels import BREAK
from tunesmith.render.mask.shape import leaves
from tunesmith.render.renderer import TemplateRenderer
from tunesmith.types import Conversation, Message, Rendered

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
TEMPLATES = sorted((SHARED_DATA / "chat_templates").glob("*.jinja")) if SHARED_DATA.is_dir() else []
BASES = ["qwen2", *(pytest.param(base, marks=pytest.mark.slow) for base in ("gpt-2", "phi-3"))]
TOKENIZERS = SHARED_DATA / "tokenizers"
pytestmark = pytest.mark.skipif(not TEMPLATES, reason="the shared templates are not on this machine")


def rendered(made: TemplateRenderer, shape: Shape) -> Rendered | RenderError:
    return made.render_many([Conversation("c", shape.messages, tools=shape.tools)])[0]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_every_shape_is_rendered_by_the_contract_or_refused_by_name(path: Path, base: str):
    made = renderer(path, TOKENIZERS, base)
    accepted = 0
    for name, shape in SHAPES.items():
        found = rendered(made, shape)
        if isinstance(found, RenderError):
            continue
        accepted += 1
        check_contract(made, shape, found, name)
        if shape.twin is not None:
            twin = rendered(made, SHAPES[shape.twin])
            assert isinstance(twin, Rendered)
            assert num_controls(made, found) == num_controls(made, twin), name
    assert accepted >= 5  # one template takes only conversations with tools


def check_contract(made: TemplateRenderer, shape: Shape, found: Rendered, name: str) -> None:
    assert found.parts is not None and found.messages is not None
    sizes = {found.tokens.size, found.loss_weights.size, found.parts.size, found.messages.size}
    assert len(sizes) == 1, name
    rows = sequences(found.branches, found.num_tokens)
    for index, message in enumerate(shape.messages):
        if message.role == "assistant":
            check_turn(made, shape, found, rows, index, name)
    # Nothing is trained but what some turn must produce.
    trained = found.messages[found.loss_weights > 0]
    roles = {shape.messages[index].role for index in trained.tolist()}
    assert roles == {"assistant"}, name


def check_turn(made: TemplateRenderer, shape: Shape, found: Rendered, rows: list[Any], index: int, name: str) -> None:
    own = np.flatnonzero((found.loss_weights > 0) & (found.messages == index))
    assert own.size, (name, index)
    prompt = made.prompt(shape.messages[:index], shape.tools)
    row = next(row for row in rows if own[-1] in row and np.array_equal(found.tokens[row[: prompt.size]], prompt))
    places = np.flatnonzero(np.isin(row, own))
    assert places[0] == prompt.size, (name, index)
    assert np.array_equal(places, np.arange(places[0], places[-1] + 1)), (name, "a gap in the trained tokens")
    span = found.tokens[row[places]]
    assert int(span[-1]) in made.stop_tokens, (name, index, "the stop token is not trained")
    text = unicodedata.normalize("NFC", made.text(span, skip_control=False))
    for leaf in expected_texts(shape.messages[index]):
        forms = (leaf, json.dumps(leaf, ensure_ascii=False)[1:-1])
        assert any(unicodedata.normalize("NFC", form) in text for form in forms), (name, leaf, text)


def expected_texts(message: Message) -> list[str]:
    answer = message.content.strip()
    if answer.startswith("<think>"):
        answer = answer.split("</think>")[1].strip()
    calls = [text for call in message.tool_calls for text in leaves(call.name, call.arguments)]
    return [text for text in (answer, (message.reasoning or "").strip(), *calls) if text]


def num_controls(made: TemplateRenderer, found: Rendered) -> int:
    return int(np.isin(found.tokens, list(made.encoder.controls.values())).sum())


@cache
def oracle_of(base: str, has_line_breaks: bool) -> Any:
    transformers = pytest.importorskip("transformers")
    # A copy: our renderers make theirs take control tokens in texts for text.
    copy = Backend.from_str(backend(TOKENIZERS, base, has_line_breaks).to_str())
    return transformers.PreTrainedTokenizerFast(tokenizer_object=copy)


@pytest.mark.slow
@pytest.mark.parametrize("base", ["qwen2", "gpt-2", "phi-3"])
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_prompts_have_the_tokens_that_transformers_gives_them(path: Path, base: str):
    made = renderer(path, TOKENIZERS, base)
    oracle = oracle_of(base, "rwkv" in path.name)
    num_compared = 0
    for name, shape in SHAPES.items():
        if shape.twin is not None or isinstance(rendered(made, shape), RenderError):
            continue
        asked = made.asker.for_prompt(shape.messages, shape.tools)
        if any(BREAK in each.content for each in asked.messages):
            continue  # our own words on tools, for a template without, hold another family's control tokens
        for index, message in enumerate(asked.messages):
            if message.role == "assistant":
                wire = [dict(each) for each in asked.told[:index]]
                try:
                    theirs = oracle.apply_chat_template(
                        wire,
                        tools=list(asked.tools) or None,
                        chat_template=made.template.source,
                        add_generation_prompt=True,
                        tokenize=True,
                        return_dict=False,
                        **{"bos_token": "", "eos_token": "", **special_of(path)},
                        **of_file(OPTIONS, path, {}),
                    )
                except jinja2.TemplateError:
                    # transformers leaves a content of None out, which some templates do not survive.
                    assert any(message["content"] is None for message in wire)
                    continue
                ours = made.prompt(shape.messages[:index], shape.tools)
                assert ours.tolist() == theirs, (name, index)
                num_compared += 1
    assert num_compared >= 5


@pytest.mark.slow
def test_the_page_on_templates_is_current(tmp_path: Path):
    root = Path(__file__).resolve().parents[2]
    page = tmp_path / "templates.md"
    subprocess.run([sys.executable, root / "scripts" / "template_table.py", SHARED_DATA, page], check=True)
    assert page.read_text() == (root / "docs" / "templates.md").read_text(), "make templates"
