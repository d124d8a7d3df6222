"""A tokenizer and its chat template, without torch or transformers.

Text can never mint a control token here: `encode` splits `<|im_end|>` inside a text into plain characters.
Control tokens come from `control_id` alone.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend

from tunesmith.errors import ModelError
from tunesmith.files import fingerprint, read_json


class Tokenizer:
    """The tokenizer of a model folder: `tokenizer.json` and what stands beside it."""

    def __init__(
        self,
        backend: Backend,
        chat_template: str | None,
        special: dict[str, str],
        stops: Sequence[int] = (),
        folder: Path | None = None,
    ) -> None:
        self._backend = backend
        self._backend.no_padding()
        self._backend.no_truncation()
        self.folder = folder
        self.chat_template = chat_template
        self.special = special
        """The named special tokens of tokenizer_config.json, for example {"eos_token": "<|im_end|>"}."""
        self.automatic_bos = _automatic_bos(backend)
        """The token that the tokenizer puts first by itself when it encodes plain text, or None."""
        self.added = {added.content: added for added in backend.get_added_tokens_decoder().values()}
        """All added tokens by their text; those with `special` set are control tokens."""
        self.stop_names = _stop_names(backend, special, stops)
        """Tokens that end a generation, by tokenizer_config.json and generation_config.json."""
        self._backend.encode_special_tokens = True

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """Read a tokenizer; raises ModelError when `tokenizer.json` is missing or broken."""
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ModelError(f"{folder}: no tokenizer.json; the fast tokenizer file is what tunesmith reads")
        try:
            backend = Backend.from_file(str(path))
        except Exception as error:  # the Rust side raises plain Exception for every kind of damage
            raise ModelError(f"{path}: cannot be read as a tokenizer ({error})") from None
        config = _read_config(folder, "tokenizer_config.json")
        special = {key: _token_text(config[key]) for key in config if key.endswith("_token") and config[key]}
        stops = _read_config(folder, "generation_config.json").get("eos_token_id")
        stops = stops if isinstance(stops, list) else [stops] if isinstance(stops, int) else []
        return cls(backend, _read_template(folder, config), special, stops, folder)

    @property
    def backend(self) -> Backend:
        """The tokenizer of the tokenizers library, in which control tokens spelled out in a text stay text."""
        return self._backend

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever the vocabulary, the splitting, or the chat template does."""
        return fingerprint([self._backend.to_str(), self.chat_template, self.special, self.stop_names])

    @cached_property
    def vocabulary_fingerprint(self) -> str:
        """Changes whenever the vocabulary or the splitting does, whatever the chat template."""
        return fingerprint(self._backend.to_str())

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; control tokens spelled out in it stay text."""
        return self._backend.encode(text, add_special_tokens=False).ids

    def decode(self, tokens: Sequence[int], *, skip_control: bool = True) -> str:
        """The text of tokens; control tokens are left out unless asked for."""
        return self._backend.decode(list(tokens), skip_special_tokens=skip_control)

    def control_id(self, token: str) -> int:
        """The id of a control token; raises ModelError when the vocabulary has none of that name."""
        index = self._backend.token_to_id(token)
        if index is None:
            raise ModelError(f"the tokenizer has no control token {token!r}, but its chat template uses it")
        return index

    @property
    def end_of_text(self) -> str | None:
        """The token that ends a plain document: `<|endoftext|>` where the vocabulary has it, else eos_token."""
        if self._backend.token_to_id("<|endoftext|>") is not None:
            return "<|endoftext|>"
        return self.special.get("eos_token")


def _automatic_bos(backend: Backend) -> str | None:
    with_it = backend.encode("a").ids
    return backend.id_to_token(with_it[0]) if with_it[1:] == backend.encode("a", add_special_tokens=False).ids else None


def _stop_names(backend: Backend, special: dict[str, str], stops: Sequence[int]) -> tuple[str, ...]:
    named = [backend.id_to_token(stop) for stop in stops]
    found = [special["eos_token"]] if special.get("eos_token") else []
    return tuple(dict.fromkeys([*found, *(name for name in named if name is not None)]))


def _read_config(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        return {}
    found = read_json(path)
    if not isinstance(found, dict):
        raise ModelError(f"{path}: expected a JSON object, not {type(found).__name__}")
    return found


def _token_text(token: Any) -> str:
    return str(token["content"]) if isinstance(token, dict) else str(token)


def _read_template(folder: Path, config: dict[str, Any]) -> str | None:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):  # several named templates; "default" is the one for chat
        return next((str(each["template"]) for each in template if each.get("name") == "default"), None)
    return template
