"""Text to tokens, section by section.

A section is the text between two control tokens of the template. The tokenizers library splits at control tokens
first and encodes each section by itself, so encoding the sections apart gives what encoding the whole gives - once
it is made sure that nothing in a section can be taken for a control token, and that the tokenizer adds no space at
the start of an inner section (or adds it to every one).
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from tokenizers import AddedToken, Encoding, pre_tokenizers
from tokenizers import Tokenizer as Backend

from tunesmith.errors import RenderError
from tunesmith.model.tokenizer import Tokenizer

# Phi-3 has </s> as an added token that is not marked special.
_SPELLING = re.compile(r"<[|｜].+[|｜]>|</?s>|<(bos|eos|pad|unk|mask|sep|cls)>|\[(BOS|EOS|PAD|UNK|MASK|SEP|CLS)\]")
_PROBES = ("Hello there", " Hello", "\nHello", "1 + 1", "é\n")


class ToEncode(NamedTuple):
    """A text to encode: is it the very first of its sequence, and does anybody ask where its tokens stand in it?"""

    text: str
    is_first: bool
    has_offsets: bool


class Encoder:
    """A tokenizer that knows which control tokens a template writes."""

    def __init__(self, tokenizer: Tokenizer, template: str) -> None:
        self.tokenizer = tokenizer
        self.controls = _controls(tokenizer, template)
        self.pattern = _alternatives(self.controls)
        # An added token that is not marked special, such as Qwen3's <think>, would be found inside any text.
        plain = [AddedToken(name, special=True, normalized=False) for name in self.controls]
        self._first = tokenizer.backend
        self._first.add_special_tokens([each for each in plain if not tokenizer.added[each.content].special])
        self._bare = _without_prefix(self._first)
        self._inner = self._find_inner()
        self._cached = lru_cache(maxsize=4096)(self._encode_section)

    def control_id(self, name: str) -> int:
        return self.controls[name]

    def encode_many(self, sections: Sequence[ToEncode]) -> list[Encoding]:
        """Encode sections together; offsets, which cost a quarter of the time, only where they are asked for."""
        found: list[Encoding | None] = [None] * len(sections)
        groups: dict[tuple[bool, bool], list[int]] = {}
        for place, section in enumerate(sections):
            is_first = section.is_first and self._inner is not self._first
            groups.setdefault((is_first, section.has_offsets), []).append(place)
        for (is_first, has_offsets), places in groups.items():
            backend = self._backend(is_first)
            encode = backend.encode_batch if has_offsets else backend.encode_batch_fast
            encoded = encode([sections[place].text for place in places], add_special_tokens=False)
            for place, encoding in zip(places, encoded, strict=True):
                found[place] = encoding
        return found  # type: ignore[return-value]

    def section(self, text: str, first: bool) -> tuple[int, ...]:
        """Token ids of a section that comes again and again, such as the template's own words."""
        return self._cached(text, first)

    def encode(self, text: str, first: bool) -> Encoding:
        """One section, with its offsets."""
        return self._backend(first).encode(text, add_special_tokens=False)

    def encode_bare(self, text: str) -> Encoding:
        """Text that goes on in the middle of a section."""
        return self._bare.encode(text, add_special_tokens=False)

    def _encode_section(self, text: str, first: bool) -> tuple[int, ...]:
        return tuple(self._backend(first).encode(text, add_special_tokens=False).ids)

    def _backend(self, first: bool) -> Backend:
        return self._first if first else self._inner

    def _find_inner(self) -> Backend:
        """The backend whose encoding of a section equals the encoding in its place, behind a control token."""
        name = next((name for name in self.controls if not self.tokenizer.added[name].rstrip), None)
        if name is None:
            return self._first
        self._first.encode_special_tokens = False
        wanted = [self._first.encode(name + probe, add_special_tokens=False).ids[1:] for probe in _PROBES]
        self._first.encode_special_tokens = True
        for backend in (self._first, self._bare):
            if [backend.encode(probe, add_special_tokens=False).ids for probe in _PROBES] == wanted:
                return backend
        raise RenderError(
            f"this tokenizer encodes a text behind the control token {name!r} in a way that cannot be reproduced "
            "piece by piece; please report the model's name"
        )


def _controls(tokenizer: Tokenizer, template: str) -> dict[str, int]:
    """Control tokens and their ids: those marked special, those that a config names or that are spelled like one, and
    added tokens that the template itself writes. Other added tokens, such as Gemma's <table>, are vocabulary."""
    named = {*tokenizer.special.values(), *tokenizer.stop_names}
    found = {}
    for name, added in tokenizer.added.items():
        if added.special or name in named or _SPELLING.fullmatch(name) or (name.strip() and name in template):
            found[name] = tokenizer.control_id(name)
    return found


def _alternatives(names: Sequence[str] | dict[str, int]) -> re.Pattern[str]:
    """Finds control tokens, the longest first; without any, nothing."""
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    return re.compile("|".join(re.escape(name) for name in longest_first) or r"(?!)")


def _without_prefix(backend: Backend) -> Backend:
    """The same tokenizer without the space that SentencePiece-like ones put in front of a text."""
    import json

    described = json.loads(backend.to_str()) if _may_prefix(backend) else None
    if described is None:
        return backend
    described["normalizer"] = _dropped(described["normalizer"], "Prepend")
    copy = Backend.from_str(json.dumps(described))
    if isinstance(backend.pre_tokenizer, pre_tokenizers.Metaspace):
        copy.pre_tokenizer = pre_tokenizers.Metaspace(
            replacement=backend.pre_tokenizer.replacement, prepend_scheme="never", split=backend.pre_tokenizer.split
        )
    copy.encode_special_tokens = True
    return copy


def _may_prefix(backend: Backend) -> bool:
    return "Prepend" in repr(backend.normalizer) or isinstance(backend.pre_tokenizer, pre_tokenizers.Metaspace)


def _dropped(normalizer: dict[str, object] | None, kind: str) -> dict[str, object] | None:
    if normalizer is None or normalizer.get("type") == kind:
        return None
    inner = normalizer.get("normalizers")
    if isinstance(inner, list):
        return {**normalizer, "normalizers": [each for each in inner if each.get("type") != kind]}
    return normalizer
