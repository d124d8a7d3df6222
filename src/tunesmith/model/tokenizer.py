"""A tokenizer and its chat template, without torch or transformers.

Text can never mint a control token here: `encode` splits `<|im_end|>` inside a text into plain characters.
Control tokens come from `control_id` alone.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend

from tunesmith.errors import ModelError
from tunesmith.files import fingerprint


class Tokenizer:
    """The tokenizer of a model folder: `tokenizer.json` and what stands beside it."""

    def __init__(self, backend: Backend, chat_template: str | None, special: dict[str, str]) -> None:
        self._backend = backend
        self._backend.no_padding()
        self._backend.no_truncation()
        self._backend.encode_special_tokens = True
        self.chat_template = chat_template
        self.special = special
        """The named special tokens of tokenizer_config.json, for example {"eos_token": "<|im_end|>"}."""

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
        config = _read_config(folder)
        special = {key: _token_text(config[key]) for key in config if key.endswith("_token") and config[key]}
        return cls(backend, _read_template(folder, config), special)

    @property
    def fingerprint(self) -> str:
        """Changes whenever the vocabulary, the splitting, or the chat template does."""
        return fingerprint([self._backend.to_str(), self.chat_template, self.special])

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


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


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
