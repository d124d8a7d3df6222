"""What is trained, by template and by train_on, on a tiny tokenizer; and every refusal by its name."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import CHATML, build_tokenizer
from tunesmith.branches import sequences
from tunesmith.errors import MaskError, RenderError
from tunesmith.render import RenderConfig, Renderer, renderer_for
from tunesmith.types import Conversation, Message, Part, Rendered, ToolCall

HISTORY = (  # Strips the reasoning of all but the last answer, as Qwen3 does.
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n{{ m.reasoning_content or '' }}\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
    "<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TALK = (Message("user", "Hi"), Message("assistant", "Hello."), Message("user", "Bye"), Message("assistant", "See you."))


@pytest.fixture
def make(tmp_path: Path) -> Any:
    def build(template: str | None = CHATML, **changes: Any) -> Renderer:
        folder = tmp_path / f"model-{len(list(tmp_path.iterdir()))}"
        build_tokenizer(folder, template)
        return renderer_for(folder, RenderConfig(**changes))

    return build


def trained(renderer: Renderer, rendered: Rendered) -> list[str]:
    """The texts of the trained stretches, sequence by sequence."""
    texts = []
    for row in sequences(rendered.branches, rendered.num_tokens):
        weights = rendered.loss_weights[row] > 0
        edges = np.flatnonzero(np.diff(np.concatenate([[0], weights, [0]])))
        for begin, end in edges.reshape(-1, 2).tolist():
            texts.append(renderer.text(rendered.tokens[row[begin:end]], skip_control=False))
    return texts


def talk(*messages: Message, **changes: Any) -> Conversation:
    return Conversation("c", messages or TALK, source="talks.jsonl:7", **changes)


def test_by_default_every_answer_is_trained_up_to_and_including_its_stop_token(make):
    renderer = make()
    assert trained(renderer, renderer.render(talk())) == ["Hello.<|im_end|>", "See you.<|im_end|>"]


def test_last_turn_may_span_tool_messages(make):
    messages = (
        *TALK[:3],
        Message("assistant", "", tool_calls=(ToolCall("look", {"at": "it"}),)),
        Message("tool", "it"),
        Message("assistant", "Done."),
    )
    renderer = make(train_on="last_turn")
    assert [text.split("<|im_end|>")[0] for text in trained(renderer, renderer.render(talk(*messages)))] == [
        '<tool_call>{"name": "look", "arguments": {"at": "it"}}</tool_call>',
        "Done.",
    ]


def test_all_trains_every_token_but_the_first(make):
    rendered = make(train_on="all").render(talk())
    assert rendered.loss_weights[0] == 0
    assert (rendered.loss_weights[1:] == 1).all()


def test_response_only_puts_each_answer_behind_an_empty_question(make):
    renderer = make(train_on="response_only")
    rendered = renderer.render(talk(Message("system", "Be brief."), *TALK))
    assert trained(renderer, rendered) == ["Hello.<|im_end|>", "See you.<|im_end|>"]
    context = renderer.text(rendered.tokens[rendered.loss_weights == 0], skip_control=False)
    assert context == "<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n" * 2
    assert rendered.branches[:, 1].tolist() == [-1, -1]


def test_per_message_weights_messages_and_parts_of_a_content(make):
    renderer = make(train_on="per_message")
    parts = Message("assistant", "four five six", part_weights=((5, 0.0), (5, 0.5), (3, None)))
    messages = (
        Message("user", "Hi", train=2.0),
        Message("assistant", "Hello.", train=0.0),
        Message("user", "Bye"),
        parts,
    )
    rendered = renderer.render(talk(*messages))
    by_weight = {
        float(weight): renderer.text(rendered.tokens[rendered.loss_weights == weight], skip_control=False)
        for weight in np.unique(rendered.loss_weights)
        if weight
    }
    assert by_weight == {2.0: "Hi", 0.5: " five"[1:] + " ", 1.0: "six<|im_end|>"} or by_weight[2.0] == "Hi"
    assert "six<|im_end|>" in by_weight[1.0]
    assert "four" not in "".join(by_weight.values()) and "Hello" not in "".join(by_weight.values())
    assert "five" in by_weight[0.5]


def test_flags_in_the_data_are_never_silently_ignored(make):
    messages = (Message("user", "Hi"), Message("assistant", "Hello.", train=0.0))
    with pytest.raises(MaskError, match=r"talks.jsonl:7.*per_message") as caught:
        make().render(talk(*messages))
    assert caught.value.name == "train_flags"


def test_a_flag_that_asks_for_what_is_done_anyway_is_welcome(make):
    messages = (Message("user", "Hi", train=0.0), Message("assistant", "Hello.", train=1.0))
    renderer = make()
    assert trained(renderer, renderer.render(talk(*messages))) == ["Hello.<|im_end|>"]


def test_a_document_is_trained_to_its_end_token(make):
    renderer = make()
    rendered = renderer.render(Conversation("d", text="Once upon a time."))
    assert renderer.text(rendered.tokens, skip_control=False) == "Once upon a time.<|endoftext|>"
    assert rendered.loss_weights.tolist() == [0.0] + [1.0] * (rendered.num_tokens - 1)


# Templates that rewrite history


def history_talk() -> Conversation:
    return talk(
        TALK[0],
        Message("assistant", "Hello.", reasoning="He greets."),
        TALK[2],
        Message("assistant", "See you.", reasoning="He leaves."),
    )


def test_rewritten_history_gives_each_turn_the_context_that_inference_has(make):
    shared, split = make(HISTORY), make(HISTORY, layout="split")
    wanted = [
        "<think>\nHe greets.\n</think>\n\nHello.<|im_end|>",
        "<think>\nHe leaves.\n</think>\n\nSee you.<|im_end|>",
    ]
    tree, flat = shared.render(history_talk()), split.render(history_talk())
    assert trained(shared, tree) == trained(split, flat) == wanted
    for renderer, rendered in ((shared, tree), (split, flat)):
        rows = sequences(rendered.branches, rendered.num_tokens)
        for row, count in zip(rows, (1, 3), strict=True):
            prompt = renderer.prompt(history_talk().messages[:count])
            assert rendered.tokens[row][: prompt.size].tolist() == prompt.tolist()
    assert tree.num_tokens < flat.num_tokens
    assert tree.num_supervised == flat.num_supervised


def test_a_tree_and_its_split_form_hold_the_same_sequences(make):
    tree, flat = make(HISTORY).render(history_talk()), make(HISTORY, layout="split").render(history_talk())

    def rows(rendered: Rendered) -> list[Any]:
        places = sequences(rendered.branches, rendered.num_tokens)
        return [(rendered.tokens[row].tolist(), rendered.parts[row].tolist()) for row in places]

    assert rows(tree) == rows(flat)


def test_reasoning_may_be_context_only(make):
    renderer = make(HISTORY, train_reasoning=False)
    rendered = renderer.render(history_talk())
    assert not any("greets" in text for text in trained(renderer, rendered))
    assert any("Hello.<|im_end|>" in text for text in trained(renderer, rendered))


def test_reasoning_without_a_place_is_refused_with_the_remedy_and_inline_is_the_remedy(make):
    with pytest.raises(MaskError, match=r"render.reasoning=inline") as caught:
        make().render(history_talk())
    assert caught.value.name == "reasoning_lost"
    renderer = make(reasoning="inline")
    assert trained(renderer, renderer.render(history_talk()))[0] == "<think>\nHe greets.\n</think>\n\nHello.<|im_end|>"


def test_reasoning_in_the_content_stays_as_it_is_where_its_tags_are_plain_text(make):
    renderer = make()
    conversation = talk(Message("user", "2 + 3?"), Message("assistant", "<think>2 + 3</think>5"))
    assert trained(renderer, renderer.render(conversation)) == ["<think>2 + 3</think>5<|im_end|>"]


# Parts and messages


def test_each_token_knows_its_message_and_part(make):
    renderer = make(HISTORY)
    rendered = renderer.render(history_talk())
    for part, text in ((Part.REASONING, "He greets."), (Part.TEXT, "Hello.")):
        chosen = (rendered.parts == part) & (rendered.messages == 1) & (rendered.loss_weights > 0)
        assert renderer.text(rendered.tokens[chosen]) == text
    control = rendered.parts == Part.CONTROL
    assert set(renderer.stop_tokens) <= set(rendered.tokens[control].tolist())


def test_messages_are_numbered_as_in_the_data_whatever_was_put_before_them(make):
    tool = {"type": "function", "function": {"name": "look", "parameters": {}}}
    rendered = make().render(talk(tools=(tool,)))
    assert set(rendered.messages[rendered.loss_weights > 0].tolist()) == {1, 3}
    apart = make(train_on="response_only").render(talk())
    assert set(apart.messages[apart.loss_weights > 0].tolist()) == {1, 3}


def test_a_question_that_is_trained_weighs_once_in_a_tree(make):
    messages = tuple(replace(each, train=1.0) for each in history_talk().messages)
    for layout in ("shared_prefix", "split"):
        rendered = make(HISTORY, train_on="per_message", layout=layout).render(talk(*messages))
        for number, text in ((0, "Hi"), (2, "Bye")):
            chosen = (rendered.messages == number) & (rendered.loss_weights > 0)
            assert make(HISTORY).text(rendered.tokens[chosen]) == text
            assert (rendered.loss_weights[chosen] == 1).all()


def test_a_question_behind_the_last_trained_answer_is_refused(make):
    messages = (*TALK, Message("user", "Again", train=1.0))
    with pytest.raises(MaskError, match="behind the last trained answer") as caught:
        make(train_on="per_message").render(talk(*messages))
    assert caught.value.name == "train_flags"


def test_a_whole_conversation_loses_no_message_either(make):
    template = CHATML.replace(
        "{% for message in messages %}", "{% for message in messages if message.role != 'system' %}"
    )
    with pytest.raises(MaskError) as caught:
        make(template, train_on="all").render(talk(Message("system", "Be brief."), *TALK))
    assert caught.value.name == "message_lost"


# Refusals by name


def test_an_answer_without_a_stop_token_is_refused(make):
    template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }} ~ {% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    with pytest.raises(MaskError) as caught:
        make(template).render(talk())
    assert caught.value.name == "stop_token"


def test_a_generation_prompt_that_the_text_does_not_begin_with_is_refused_with_both_readings(make):
    template = CHATML.replace("{{ '<|im_start|>assistant\\n' }}", "{{ '<|im_start|>model\\n' }}")
    with pytest.raises(MaskError) as caught:
        make(template).render(talk())
    assert caught.value.name == "generation_prompt"
    assert caught.value.readings is not None


def test_a_message_that_the_template_drops_is_refused(make):
    template = CHATML.replace(
        "{% for message in messages %}", "{% for message in messages if message.role != 'system' %}"
    )
    with pytest.raises(MaskError) as caught:
        make(template).render(talk(Message("system", "Be brief."), *TALK))
    assert caught.value.name == "message_lost"


def test_generation_marks_are_a_third_reading(make):
    renderer = make(MARKED)
    assert trained(renderer, renderer.render(talk())) == ["Hello.<|im_end|>", "See you.<|im_end|>"]
    moved = MARKED.replace("{% generation %}{{ m.content }}", "{{ m.content }}{% generation %}")
    with pytest.raises(MaskError, match="generation") as caught:
        make(moved).render(talk())
    assert caught.value.name == "readings"


def test_a_template_that_branches_on_an_answer_is_refused_and_one_that_branches_on_a_question_is_followed(make):
    for role, is_followed in (("user", True), ("assistant", False)):
        template = CHATML.replace(
            "message['content']",
            f"(message['content'].replace('two', 'three') if message.role == '{role}' else message['content'])",
        )
        renderer = make(template)
        conversation = talk(Message("user", "one two"), Message("assistant", "two one"))
        if is_followed:
            rendered = renderer.render(conversation)
            assert "one three" in renderer.text(rendered.tokens)
            assert trained(renderer, rendered) == ["two one<|im_end|>"]
        else:
            with pytest.raises(MaskError) as caught:
                renderer.render(conversation)
            assert caught.value.name in ("message_lost", "text")


def test_double_bos_is_refused_and_a_missing_one_has_two_remedies(tmp_path):
    from tokenizers import Tokenizer, processors

    build_tokenizer(tmp_path / "a", CHATML.replace("{% for", "{{ '<|endoftext|><|endoftext|>' }}{% for", 1))
    config = json.loads((tmp_path / "a" / "tokenizer_config.json").read_text())
    (tmp_path / "a" / "tokenizer_config.json").write_text(json.dumps(config | {"bos_token": "<|endoftext|>"}))
    with pytest.raises(MaskError) as caught:
        renderer_for(tmp_path / "a")
    assert caught.value.name == "double_bos"

    build_tokenizer(tmp_path / "b")
    backend = Tokenizer.from_file(str(tmp_path / "b" / "tokenizer.json"))
    first = ("<|endoftext|>", backend.token_to_id("<|endoftext|>"))
    backend.post_processor = processors.TemplateProcessing(single="<|endoftext|> $A", special_tokens=[first])
    backend.save(str(tmp_path / "b" / "tokenizer.json"))
    with pytest.raises(MaskError, match=r"render\.bos=add") as caught:
        renderer_for(tmp_path / "b")
    assert caught.value.name == "missing_bos"
    added = renderer_for(tmp_path / "b", RenderConfig(bos="add"))
    rendered = added.render(talk())
    assert rendered.tokens[0] == first[1] and rendered.tokens[1] != first[1]
    assert rendered.tokens[: len(added.prompt(TALK[:1]))].tolist() == added.prompt(TALK[:1]).tolist()
    plain = renderer_for(tmp_path / "b", RenderConfig(bos="template")).render(talk())
    assert plain.tokens[0] != first[1]


def test_a_base_model_without_a_template_is_told_what_to_do(make):
    with pytest.raises(RenderError, match=r"render\.template=FILE"):
        make(None)


def test_the_source_of_the_conversation_stands_in_every_refusal(make):
    with pytest.raises(MaskError, match=r"talks\.jsonl:7 \(c\)") as caught:
        make().render(talk(Message("user", "Hi")))
    assert caught.value.name == "nothing_trained"


# Properties

PIECES = ["<|im_start|>", "<|im_end|>", "<|im_", "end|>", "two", " ", "\n", "\t", "é", "你", "🎉", "\\", '"', "{{", "x"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXTS, min_size=2, max_size=6))
def test_whatever_is_said_the_prompt_is_inferences_and_nothing_mints_a_control_token(tiny_tokenizer_folder, texts):
    renderer = renderer_for(tiny_tokenizer_folder)
    roles = ["user", "assistant"] * 3
    messages = tuple(Message(role, text) for role, text in zip(roles, texts, strict=False))  # type: ignore[arg-type]
    messages = messages[: len(messages) // 2 * 2]
    rendered = renderer.render(talk(*messages))
    controls = sum(1 for token in rendered.tokens if not renderer.text([int(token)]))
    # Two for each message, and the line break behind the last stop token is left out.
    assert controls == 2 * len(messages)
    for index in range(1, len(messages), 2):
        prompt = renderer.prompt(messages[:index])
        rows = sequences(rendered.branches, rendered.num_tokens)
        assert any(rendered.tokens[row][: prompt.size].tolist() == prompt.tolist() for row in rows)
    texts_trained = [text.removesuffix("<|im_end|>") for text in trained(renderer, rendered)]
    assert sorted(texts_trained) == sorted(message.content for message in messages[1::2])


def test_many_at_once_are_what_each_is_alone_and_errors_stand_in_their_place(make):
    renderer = make()
    conversations = [talk(), talk(Message("user", "Hi")), talk(*TALK[:2]), Conversation("d", text="A text.")]
    many = renderer.render_many(conversations)
    assert isinstance(many[1], MaskError)
    for one, conversation in zip(many, conversations, strict=True):
        if isinstance(one, Rendered):
            alone = renderer.render(conversation)
            assert one.tokens.tolist() == alone.tokens.tolist()
            assert one.loss_weights.tolist() == alone.loss_weights.tolist()


def test_a_merge_over_the_boundary_leaves_the_prompt_as_inference_sends_it(make):
    """The prompt ends in the middle of a word, so that the tokenizer would merge over the boundary."""
    template = (
        "{% for m in messages %}{% if m.role == 'user' %}every day {% else %}at no{% endif %}{{ m.content }}<|im_end|>"
        "{% endfor %}{% if add_generation_prompt %}at no{% endif %}"
    )
    renderer = make(template)
    messages = (Message("user", "x"), Message("assistant", "on"), Message("user", "y"), Message("assistant", "on"))
    rendered = renderer.render(talk(*messages))
    assert trained(renderer, rendered) == ["on<|im_end|>", "on<|im_end|>"]
    rows = sequences(rendered.branches, rendered.num_tokens)
    assert len(rows) == 2
    for row, count in zip(rows, (1, 3), strict=True):
        prompt = renderer.prompt(messages[:count])
        assert rendered.tokens[row][: prompt.size].tolist() == prompt.tolist()
        assert rendered.loss_weights[row][: prompt.size].sum() == 0


def test_a_prompt_may_continue_an_answer(make):
    renderer = make()
    messages = (Message("user", "Count."), Message("assistant", "One, two,"))
    text = renderer.text(renderer.prompt(messages, continue_last=True), skip_control=False)
    assert text == "<|im_start|>user\nCount.<|im_end|>\n<|im_start|>assistant\nOne, two,"
