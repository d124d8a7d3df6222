"""Files of examples or documents become conversations.

`data(config)` streams them; `write_data(config, folder)` writes them to a folder, with what was held out and
what was dropped; `iter_conversations(path)` reads such a file back.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from tunesmith.config import Config
from tunesmith.types import Conversation, Dropped

if TYPE_CHECKING:
    from tunesmith.data.stream import Conversations

Format = Literal["auto", "messages", "sharegpt", "alpaca", "prompt_completion", "preference", "text"]


class DataConfig(Config):
    """Which files to read, how, and what to hold out."""

    paths: tuple[str, ...] = Field(min_length=1)
    """Files, folders or glob patterns to read; a folder means all files below it."""
    format: Format = "auto"
    """How a record spells a conversation; auto decides for each file from its first records."""
    prompt_field: str | None = None
    """The column that holds the user's text, for files with their own column names; with response_field."""
    response_field: str | None = None
    """The column that holds the assistant's text; with prompt_field."""
    number_field: str | None = None
    """A field of each record that holds a number, such as its difficulty, by which mix.curriculum may order."""
    system: str | None = None
    """A system message put before every conversation that has none."""
    on_error: Literal["stop", "skip"] = "stop"
    """What a bad record does: stop with its file and line, or go to dropped.jsonl with the reason."""
    holdout: float = Field(default=0, ge=0)
    """How much to hold out, near-duplicates kept together: a fraction below 1, or a count from 1 on."""
    max_conversations: int | None = Field(default=None, ge=1)
    """Read no further after this many conversations, held-out ones included; none means all."""
    seed: int = Field(default=0, ge=0, lt=2**64)
    """The seed that decides which conversations are held out."""

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if (self.prompt_field is None) != (self.response_field is None):
            raise ValueError("prompt_field and response_field go together: set both or none")
        if self.prompt_field is not None and self.format not in ("auto", "prompt_completion"):
            raise ValueError(f"prompt_field and response_field do not go with format {self.format!r}")
        if self.holdout >= 1 and self.holdout != int(self.holdout):
            raise ValueError(f"holdout is a fraction below 1 or a whole count from 1 on, not {self.holdout}")
        return self


def data(config: DataConfig, on_drop: Callable[[Dropped], None] | None = None) -> "Conversations":
    """The conversations of the files that `config` names, as a stream that reads lazily.

    A bad record raises DataError with its place, or, with `on_error="skip"`, is handed to `on_drop`, which by
    default puts it into the list `stream.dropped`.
    """
    from tunesmith.data.stream import Conversations

    return Conversations(config, on_drop)


def write_data(config: DataConfig, folder: Path) -> dict[str, Any]:
    """Write `conversations.jsonl`, and where needed `heldout.jsonl` and `dropped.jsonl`, to `folder`.

    Returns the facts for the stage's manifest: always num_in == num_out + num_heldout + num_dropped.
    """
    from tunesmith.data.write import write

    return write(config, folder)


def iter_conversations(path: Path) -> Iterator[Conversation]:
    """Read back a file that `write_data` wrote, one conversation at a time."""
    from tunesmith.files import read_jsonl
    from tunesmith.messages import conversation_from_dict

    for number, raw in read_jsonl(path):
        yield conversation_from_dict(raw, f"{path}:{number}", f"{path.stem}:{number}")
