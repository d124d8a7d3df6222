"""Checks of what is written in messages: control tokens spelled out, damaged characters, overlong words."""

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from tunesmith.render.lint import Check, Kind, Setting, excerpt
from tunesmith.render.show.views import View
from tunesmith.types import Conversation

FOREIGN = re.compile(
    r"<\|(im_start|im_end|endoftext|eot_id|start_header_id|begin_of_text|user|assistant|system|end|channel|return)\|>"
    r"|<(start|end)_of_turn>|\[/?INST\]|<</?SYS>>"
)
"""Control tokens of well-known templates, whatever the model at hand."""
CANDIDATE = re.compile(r"<[^<>\s]{1,60}>|\[/?[A-Z_]{2,30}\]|<</?SYS>>")
CP1252 = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ\x80-\xbf"
# UTF-8 that was read as Windows-1252: two bytes of a Latin letter or sign, or three of punctuation or an emoji.
MOJIBAKE = re.compile(f"[ÃÂ][{CP1252}]|â€[{CP1252}]|ðŸ|ï¿½")
LONG_TOKEN, LONG_WORD = 48, 1000
WORD = re.compile(rf"[!-~]{{{LONG_WORD},}}")


def _texts(conversation: Conversation) -> Iterator[tuple[str, str]]:
    """Every text with the role that wrote it."""
    if conversation.text is not None:
        yield "document", conversation.text
    for message in conversation.messages:
        yield message.role, message.content
        if message.reasoning:
            yield "assistant", message.reasoning


class ControlText(Check):
    """Control tokens spelled out in a text: a sign of data that went through a template before."""

    name = "control_text"
    fine = "none is spelled out"
    kinds: ClassVar[Mapping[str, Kind]] = {
        "own": Kind(
            "warning",
            "with a control token of this model in the text",
            "Take the data from before their template was applied. The text never becomes a control token here, so "
            "the model would learn to spell it.",
        ),
        "foreign": Kind(
            "note",
            "with a control token of another model in the text",
            "Take the data from before that model's template was applied.",
        ),
    }

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        names = [name for name, added in setting.tokenizer.added.items() if added.special]
        self._own = frozenset(names)
        odd = [re.escape(name) for name in names if not CANDIDATE.fullmatch(name)]
        self._pattern = re.compile("|".join([*sorted(odd, key=len, reverse=True), CANDIDATE.pattern]))

    def see(self, view: View) -> None:
        self.total += 1
        seen = [(role, name) for role, text in _texts(view.conversation) for name in self._pattern.findall(text)]
        own = [(role, name) for role, name in seen if name in self._own]
        foreign = [(role, name) for role, name in seen if name not in self._own and FOREIGN.fullmatch(name)]
        for kind, found in (("own", own), ("foreign", foreign)):
            if found:
                self.found_in(kind, view, f"{found[0][1]} in the {found[0][0]}'s text")


class Characters(Check):
    """Characters that were damaged on the way, and tokens or words too long to be language."""

    name = "characters"
    fine = "no damage"
    kinds: ClassVar[Mapping[str, Kind]] = {
        "replacement": Kind(
            "warning",
            "with U+FFFD, which stands where a character was lost",
            "Read the source again in its own encoding; what is lost cannot be guessed.",
        ),
        "mojibake": Kind(
            "warning",
            "with UTF-8 that was read as Windows-1252 (such as â€™)",
            "Decode the source as UTF-8, or repair it with a library such as ftfy.",
        ),
        "token": Kind(
            "note",
            f"with a token of {LONG_TOKEN} characters or more",
            "Such tokens are often rulers or remains of markup; remove them where they mean nothing.",
        ),
        "word": Kind(
            "note",
            f"with {LONG_WORD:,} characters without a space",
            "Often base64 or minified code; remove it where it teaches nothing.",
        ),
    }

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._known: set[int] = set()
        self._long: set[int] = set()

    def see(self, view: View) -> None:
        self.total += 1
        for kind, said in self._damage(view):
            self.found_in(kind, view, excerpt(said))

    def _damage(self, view: View) -> Iterator[tuple[str, str]]:
        text = "\n".join(text for _, text in _texts(view.conversation))
        if "\ufffd" in text:
            yield "replacement", _around(text, text.index("\ufffd"))
        for kind, pattern in (("mojibake", MOJIBAKE), ("word", WORD)):
            match = pattern.search(text)
            if match is not None:
                yield kind, _around(text, match.start())
        long = self._long_token(view)
        if long is not None:
            yield "token", long

    def _long_token(self, view: View) -> str | None:
        tokens = {token for rendered in view.kept for token in rendered.tokens.tolist()}
        text_of = self.setting.reader.token_text
        self._long |= {token for token in tokens - self._known if len(text_of(token)) >= LONG_TOKEN}
        self._known |= tokens
        return next((text_of(token) for token in sorted(tokens & self._long)), None)


def _around(text: str, place: int) -> str:
    return text[max(0, place - 20) : place + 20]
