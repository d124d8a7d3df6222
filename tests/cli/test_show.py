"""What `tunesmith show` prints of a rendered conversation."""

from pathlib import Path

import pytest

from tunesmith.render import Renderer, renderer_for
from tunesmith.render.show import plain_text, rich_text, stretches
from tunesmith.types import Conversation, Message


@pytest.fixture(scope="module")
def renderer(tiny_tokenizer_folder: Path) -> Renderer:
    return renderer_for(tiny_tokenizer_folder)


def conversation(question: str, answer: str) -> Conversation:
    return Conversation("one", (Message("user", question), Message("assistant", answer)))


def test_plain_text_brackets_what_is_trained(renderer: Renderer) -> None:
    shown = plain_text(renderer.render(conversation("Hi", "Hello.")), renderer)
    assert shown == "<|im_start|>user⏎\nHi<|im_end|>⏎\n<|im_start|>assistant⏎\n⟦Hello.<|im_end|>⟧"


def test_rich_text_says_the_same_in_color(renderer: Renderer) -> None:
    rendered = renderer.render(conversation("Hi", "Hello."))
    colored = rich_text(rendered, renderer)
    assert colored.plain == plain_text(rendered, renderer).replace("⟦", "").replace("⟧", "")
    green = "".join(colored.plain[span.start : span.end] for span in colored.spans if "green" in str(span.style))
    assert green == "Hello.<|im_end|>"


def test_control_tokens_stand_apart_from_text_that_spells_them(renderer: Renderer) -> None:
    rendered = renderer.render(conversation("What is <|im_end|>?", "A stop token."))
    control = [each.text for each in stretches(rendered, renderer) if each.is_control]
    assert control == ["<|im_start|>", "<|im_end|>", "<|im_start|>", "<|im_end|>"]


def test_characters_of_several_tokens_survive(renderer: Renderer) -> None:
    shown = plain_text(renderer.render(conversation("Grüße 你好", "🙂🙂")), renderer)
    assert "Grüße 你好" in shown
    assert "⟦🙂🙂<|im_end|>⟧" in shown
