"""The tokenizer and chat template inside a GGUF file, as the usual files of a model folder.

Built straight from the GGUF metadata with the `tokenizers` library, so that it needs no torch, and so that the
pre-tokenizer is the one the model was trained with (a generic conversion would pick plain byte-level splitting).
"""

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from tunesmith.errors import ModelError

_NORMAL_TOKEN, _CONTROL_TOKEN = 1, 3

# Published splitting patterns of the families, by the name that llama.cpp gives them in `tokenizer.ggml.pre`.
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_LLAMA3 = _QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


def write_tokenizer(gguf: Path, folder: Path) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja` of `gguf` into `folder`."""
    fields = _read_fields(gguf)
    tokens = fields["tokenizer.ggml.tokens"]
    _build(gguf, fields).save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    names = {"bos": "bos_token", "eos": "eos_token", "padding": "pad_token", "unknown": "unk_token"}
    for key, name in names.items():
        index = fields.get(f"tokenizer.ggml.{key}_token_id")
        if index is not None:
            config[name] = tokens[index]
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    template = fields.get("tokenizer.chat_template")
    if template:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def _read_fields(path: Path) -> dict[str, Any]:
    from gguf import GGUFReader

    try:
        reader = GGUFReader(str(path))
        return {name: field.contents() for name, field in reader.fields.items() if name.startswith("tokenizer.")}
    except (ValueError, KeyError, IndexError, OSError) as error:
        raise ModelError(f"{path}: not a readable GGUF file ({error}); it may be truncated") from None


def _build(path: Path, fields: dict[str, Any]) -> Tokenizer:
    kind = fields.get("tokenizer.ggml.model")
    if kind != "gpt2":
        raise ModelError(
            f"{path}: holds a {kind!r} tokenizer; only byte-level BPE ('gpt2') can be read from GGUF. "
            "Give the original model folder, which has a tokenizer.json, instead."
        )
    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = _pre_tokenizer(path, fields.get("tokenizer.ggml.pre", "default"))
    tokenizer.decoder = decoders.ByteLevel()
    types = fields["tokenizer.ggml.token_type"]
    special = [token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL_TOKEN]
    added = [token for token, kind in zip(tokens, types, strict=True) if kind not in (_NORMAL_TOKEN, _CONTROL_TOKEN)]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in added])
    return tokenizer


def _pre_tokenizer(path: Path, name: str) -> pre_tokenizers.PreTokenizer:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    if name == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    if name in ("gpt-2", "default"):
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    patterns = {"qwen2": _QWEN2, "llama-bpe": _LLAMA3}
    if name in patterns:
        split = pre_tokenizers.Split(Regex(patterns[name]), behavior="isolated")
        return pre_tokenizers.Sequence([split, byte_level])
    raise ModelError(
        f"{path}: unknown pre-tokenizer {name!r}; known are smollm, gpt-2, default, {', '.join(patterns)}. "
        "Give the original model folder, which has a tokenizer.json, instead."
    )
