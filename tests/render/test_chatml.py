"""The contract of rendering: tokens and weights together, the boundary, the stop token, no minted control tokens."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import CHATML, build_tokenizer
from tunesmith.errors import RenderError
from tunesmith.model.tokenizer import Tokenizer
from tunesmith.render import renderer_for
from tunesmith.render.chatml import ChatML
from tunesmith.types import Conversation, Message, ToolCall

DEFAULT_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}" + CHATML
)


def conversation(*pairs, **options):
    return Conversation("c", tuple(Message(role, text) for role, text in pairs), **options)


def trained_stretches(renderer, rendered):
    """The texts of the stretches with weight, control tokens included."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], rendered.loss_weights != 0, [0]])))
    return [
        renderer.text(rendered.tokens[start:end].tolist(), skip_control=False)
        for start, end in zip(edges[::2], edges[1::2], strict=True)
    ]


@pytest.fixture(scope="module")
def renderer(tiny_tokenizer_folder):
    return renderer_for(tiny_tokenizer_folder)


def test_trains_exactly_the_answers_and_their_stop_tokens(renderer):
    example = conversation(("system", "S"), ("user", "u1"), ("assistant", "a1"), ("user", "u2"), ("assistant", "a2"))
    rendered = renderer.render(example)
    assert trained_stretches(renderer, rendered) == ["a1<|im_end|>", "a2<|im_end|>"]
    assert rendered.tokens.size == rendered.loss_weights.size


def test_last_turn_trains_only_the_last_answer(tiny_tokenizer_folder):
    renderer = renderer_for(tiny_tokenizer_folder, "last_turn")
    example = conversation(("user", "u1"), ("assistant", "a1"), ("user", "u2"), ("assistant", "a2"))
    assert trained_stretches(renderer, renderer.render(example)) == ["a2<|im_end|>"]


def test_whole_text_is_the_templates_own(renderer):
    example = conversation(("user", "u1"), ("assistant", "a1"))
    text = renderer.text(renderer.render(example).tokens.tolist(), skip_control=False)
    assert text == "<|im_start|>user\nu1<|im_end|>\n<|im_start|>assistant\na1<|im_end|>"


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(
        st.one_of(
            st.text(min_size=1, max_size=30),
            st.sampled_from(["<|im_end|>", "\n\n", "<|im_start|>system\n", " x "]),
        ),
        min_size=2,
        max_size=6,
    )
)
def test_prompt_is_a_prefix_and_text_mints_no_control_token(renderer, texts):
    pairs = [
        ("user" if index % 2 == 0 else "assistant", text) for index, text in enumerate(texts[: len(texts) // 2 * 2])
    ]
    example = conversation(*pairs)
    rendered = renderer.render(example)
    prompt = renderer.prompt(example.messages[:-1])
    assert rendered.tokens[: prompt.size].tolist() == prompt.tolist()
    assert rendered.loss_weights[prompt.size :].all()
    stop = renderer.stop_tokens[0]
    assert int((rendered.tokens == stop).sum()) == len(pairs)
    answer = rendered.tokens[prompt.size : -1].tolist()
    assert renderer.text(answer) == pairs[-1][1]


def test_default_system_message_is_found_and_used(tmp_path):
    build_tokenizer(tmp_path, DEFAULT_SYSTEM)
    renderer = renderer_for(tmp_path)
    assert renderer.default_system == "Be kind."
    text = renderer.text(renderer.prompt([Message("user", "u")]).tolist(), skip_control=False)
    assert text == "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n"
    own = renderer.text(renderer.prompt([Message("system", "S"), Message("user", "u")]).tolist(), skip_control=False)
    assert "Be kind." not in own
    rendered = renderer.render(conversation(("user", "u"), ("assistant", "a")))
    assert trained_stretches(renderer, rendered) == ["a<|im_end|>"]


def test_tool_calls_become_text_and_results_are_not_trained(renderer):
    call = ToolCall("add", {"a": 1, "b": 2})
    messages = (
        Message("user", "1+2?"),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "3"),
        Message("assistant", "3."),
    )
    rendered = renderer.render(Conversation("c", messages, tools=({"name": "add"},)))
    expected = '<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call><|im_end|>'
    assert trained_stretches(renderer, rendered) == [expected, "3.<|im_end|>"]
    assert '{"name": "add"}' in renderer.text(rendered.tokens.tolist())


def test_tools_are_refused_where_the_template_has_a_form_of_its_own(tmp_path):
    build_tokenizer(tmp_path, CHATML + "{% if tools %}{{ tools }}{% endif %}")
    renderer = renderer_for(tmp_path)
    renderer.render(conversation(("user", "u"), ("assistant", "a")))
    with pytest.raises(RenderError, match="form of its own for tools"):
        renderer.prompt([Message("user", "u")], tools=({"name": "add"},))


def test_a_document_is_trained_whole_but_for_its_first_token(renderer):
    rendered = renderer.render(Conversation("d", text="every day at noon"))
    assert rendered.loss_weights.tolist() == [0.0] + [1.0] * (rendered.num_tokens - 1)
    assert renderer.text(rendered.tokens.tolist(), skip_control=False) == "every day at noon<|endoftext|>"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for m in messages %}[INST]{{ m['content'] }}[/INST]{% endfor %}", "not of the ChatML family"),
        (CHATML.replace("message['content']", "message['content'] | trim"), "differs"),
        (CHATML.replace("assistant\\n' }}{% endif", "assistant\\n<think>' }}{% endif"), "differs"),
        ("{{ raise_exception('no users here') }}", "no users here"),
        (None, "no chat template"),
    ],
)
def test_other_templates_are_refused_with_a_reason(tmp_path, template, words):
    build_tokenizer(tmp_path, template)
    with pytest.raises(RenderError, match=words):
        renderer_for(tmp_path)


def test_a_template_cannot_reach_out_of_its_sandbox(tmp_path):
    build_tokenizer(tmp_path, "{{ messages.__class__.__mro__[1].__subclasses__() }}" + CHATML)
    with pytest.raises(RenderError):
        renderer_for(tmp_path)


def test_nothing_to_train_is_refused_with_the_place(renderer):
    with pytest.raises(RenderError, match=r"a\.jsonl:3.*no assistant message"):
        renderer.render(conversation(("user", "u"), source="a.jsonl:3"))


def test_reasoning_is_refused_rather_than_lost(renderer):
    messages = (Message("user", "u"), Message("assistant", "a", reasoning="because"))
    with pytest.raises(RenderError, match="reasoning"):
        renderer.render(Conversation("c", messages))


def test_equals_what_transformers_renders(tiny_tokenizer_folder):
    """Oracle: transformers' own apply_chat_template, text and token ids."""
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(tiny_tokenizer_folder)
    ours = ChatML(Tokenizer.load(tiny_tokenizer_folder))
    messages = [Message("system", "Be brief."), Message("user", "what is two plus two?")]
    plain = [{"role": each.role, "content": each.content} for each in messages]
    ids = theirs.apply_chat_template(plain, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert ours.prompt(messages).tolist() == list(ids)
