"""render: a Conversation becomes tokens and loss weights, born in one call.

A renderer knows one chat template. It gives the tokens and weights of a whole conversation for training, and the
tokens of a prompt for generation, by the same steps, so that the two cannot drift apart. It takes any Jinja chat
template, proves what is trained in independent ways that must agree, and refuses what it cannot prove.
"""

import datetime
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field

from tunesmith.config import Config
from tunesmith.errors import RenderError
from tunesmith.files import StageFolder
from tunesmith.types import Conversation, Message, Rendered, TokenArray

TrainOn = Literal["assistant", "last_turn", "response_only", "all", "per_message"]
TooLong = Literal["error", "drop", "split_turns", "truncate_prompt_head", "truncate_response"]


class RenderConfig(Config):
    """Which tokens are trained, how a chat template is asked, and what happens to conversations that are too long."""

    train_on: TrainOn = "assistant"
    """Every assistant message; only the last; each without its prompt; every token; or what the data says."""

    train_reasoning: bool = True
    """Whether the reasoning of a trained message is trained too, or is only context."""

    layout: Literal["shared_prefix", "split"] = "shared_prefix"
    """Where a template rewrites history: turns share their common prefix in one row, or each is a sequence apart."""

    max_tokens: int = Field(default=2048, ge=1)
    """The longest sequence, in tokens, that is accepted."""

    too_long: TooLong = "error"
    """What happens to a longer one; nothing is ever cut without this saying so, and the manifest counts it."""

    refused: Literal["error", "drop"] = "error"
    """What a conversation does that the template refuses or that cannot be proven: stop, or go to dropped.jsonl."""

    reasoning: Literal["template", "inline"] = "template"
    """Where reasoning stands: in the template's own place, or as <think>...</think> at the start of the content."""

    bos: Literal["check", "add", "template"] = "check"
    """A template without the tokenizer's usual first token: an error, add it, or do as the template does."""

    template: str | None = None
    """A Jinja file to use in place of the model's own chat template."""

    template_options: dict[str, Any] = Field(default_factory=dict)
    """Values handed to the template, for example enable_thinking = false."""

    date: datetime.date | None = None
    """The day (YYYY-MM-DD) that a template which asks for the date is told; today where this is left out."""

    def for_answers(self) -> "RenderConfig":
        """The same template and options, for asking a model and pricing given answers: see Message.train."""
        return self.model_copy(update={"train_on": "per_message"})


class Renderer(Protocol):
    """What a chat template must be able to do."""

    @property
    def name(self) -> str:
        """The template, for people."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the tokens of some conversation could."""

    @property
    def stop_tokens(self) -> tuple[int, ...]:
        """The control tokens that end a turn."""

    @property
    def document_stops(self) -> tuple[int, ...]:
        """The control tokens that end a plain text."""

    def render(self, conversation: Conversation) -> Rendered:
        """Tokens, loss weights, parts and messages of one conversation; raises RenderError where the mask cannot be
        proven or the template refuses."""

    def render_many(self, conversations: Sequence[Conversation]) -> list[Rendered | RenderError]:
        """The same for many at once, faster; an error stands in the place of the conversation that it is about."""

    def prompt(self, messages: Sequence[Message], tools: Sequence[Any] = ()) -> TokenArray:
        """The tokens a model is given to write the next assistant message."""

    def plain(self, text: str) -> TokenArray:
        """The tokens of a text without a chat template, as a document begins; those of "" stand before any document."""

    def continued(self, text: str) -> TokenArray:
        """The tokens of a text that goes on right behind a prompt."""

    def completion_text(self, message: Message) -> str:
        """The text that the model must write for this assistant message."""

    def text(self, tokens: Sequence[int], *, skip_control: bool = True) -> str:
        """The text of tokens."""


def renderer_for(folder: Path, config: RenderConfig | None = None) -> Renderer:
    """The renderer of a model folder's tokenizer and chat template; raises RenderError where none can be proven."""
    from tunesmith.model.tokenizer import Tokenizer
    from tunesmith.render.renderer import TemplateRenderer

    return TemplateRenderer(Tokenizer.load(folder), config or RenderConfig())


def asking_renderer(folder: Path, config: RenderConfig) -> Renderer:
    """The renderer for asking a model: where it has no chat template, one that takes plain texts alone."""
    from tunesmith.model.tokenizer import Tokenizer
    from tunesmith.render.renderer import TemplateRenderer
    from tunesmith.render.untemplated import UntemplatedRenderer

    tokenizer = Tokenizer.load(folder)
    if not tokenizer.chat_template and config.template is None:
        return UntemplatedRenderer(tokenizer)
    return TemplateRenderer(tokenizer, config.for_answers())


def render(
    config: RenderConfig, renderer: Renderer, conversations: Iterable[Conversation] | Path, folder: StageFolder
) -> dict[str, Any]:
    """Render all `conversations` into files that training reads by position, and return the counts.

    A path names a file that the data stage wrote; reading it is faster than handing over what it holds. What was
    rendered before, by any run with the same content and rules, is found in the cache and not rendered again.

    Raises RenderError at the first conversation that cannot be rendered, or that is too long when no policy is
    named; what was finished is kept for the next attempt. Counts in equal counts out plus dropped.
    """
    from tunesmith.render.bulk.stage import render_all

    facts = render_all(config, renderer, conversations, folder.path)
    if facts["num_out"] == 0:
        reasons = ", ".join(f"{reason} {count}" for reason, count in facts["dropped_by_reason"].items())
        raise RenderError(
            f"{folder.path}: all {facts['num_in']} conversations were dropped ({reasons}); see dropped.jsonl there. "
            f"Those that are too long fit with a larger render.max_tokens (now {config.max_tokens})"
        )
    return facts
