"""render: a Conversation becomes tokens and loss weights, born in one call.

A renderer knows one chat template. It gives the tokens and weights of a whole conversation for training, and the
tokens of a prompt for generation, from the same pieces, so that the two cannot drift apart. Today there is one
renderer, for the ChatML family (SmolLM2, Qwen2.5 and kin); a template that it cannot reproduce is refused.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field

from tunesmith.config import Config
from tunesmith.errors import RenderError
from tunesmith.files import StageFolder
from tunesmith.types import Conversation, Message, Rendered, TokenArray


class RenderConfig(Config):
    """Which tokens are trained, and what happens to conversations that are too long."""

    train_on: Literal["assistant", "last_turn"] = "assistant"
    """Train every assistant message, or only the last one."""

    max_tokens: int = Field(default=2048, ge=1)
    """The longest conversation, in tokens, that is accepted."""

    too_long: Literal["error", "drop"] = "error"
    """What happens to a longer one: stop, or drop it into dropped.jsonl. Nothing is ever cut silently."""


class Renderer(Protocol):
    """What a chat template must be able to do."""

    @property
    def name(self) -> str:
        """The template family."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the tokens of some conversation could."""

    @property
    def stop_tokens(self) -> tuple[int, ...]:
        """The control tokens that end a turn."""

    def render(self, conversation: Conversation) -> Rendered:
        """Tokens and loss weights of one training example."""

    def prompt(self, messages: Sequence[Message], tools: Sequence[Any] = ()) -> TokenArray:
        """The tokens a model is given to write the next assistant message."""

    def completion_text(self, message: Message) -> str:
        """The text that the model must write for this assistant message."""

    def text(self, tokens: Sequence[int], *, skip_control: bool = True) -> str:
        """The text of tokens."""


def renderer_for(folder: Path, train_on: str = "assistant") -> Renderer:
    """The renderer of a model folder's tokenizer and chat template; raises RenderError where none is proven."""
    from tunesmith.model.tokenizer import Tokenizer
    from tunesmith.render.chatml import ChatML

    return ChatML(Tokenizer.load(folder), train_on)


def render(
    config: RenderConfig, renderer: Renderer, conversations: Iterable[Conversation], folder: StageFolder
) -> dict[str, Any]:
    """Render all `conversations` into files that training reads by position, and return the counts.

    Raises RenderError at the first conversation that cannot be rendered, or that is too long when no policy is
    named. Counts in equal counts out plus dropped.
    """
    from tunesmith.render.rendered_file import write_rendered

    facts = write_rendered(config, renderer, conversations, folder.path)
    if facts["num_out"] == 0:
        raise RenderError(
            f"{folder.path}: all {facts['num_in']} conversations were dropped; raise render.max_tokens "
            f"(now {config.max_tokens})"
        )
    return facts
