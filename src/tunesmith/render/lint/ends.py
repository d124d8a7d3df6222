"""Checks of the tokens that begin a sequence and end a turn, and of the token that fills."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tunesmith.render.lint import Check, Kind, Setting
from tunesmith.render.show.views import Sheet, View
from tunesmith.types import Conversation, Rendered


class StopTokens(Check):
    """Whether every trained turn ends in a stop token that is trained: a model that never learns it never stops."""

    name = "stop_tokens"
    noun = "trained turns"
    kinds: ClassVar[Mapping[str, Kind]] = {
        "missing": Kind(
            "error",
            "end without a trained stop token",
            "The model would not learn to stop: look at them with `tunesmith show`, and mend the template "
            "(render.template), which must write the stop token behind each answer.",
        ),
        "cut": Kind(
            "note",
            "lost their stop token to render.too_long = truncate_response",
            "That is what truncate_response does; raise render.max_tokens so that fewer answers are cut.",
        ),
    }

    def see(self, view: View) -> None:
        if view.conversation.text is not None or not view.kept or self._trains_all:
            return
        is_explained = view.fate == "cut" and self.setting.config.too_long == "truncate_response"
        for sheet in view.sheets:
            for place, is_ended in self._turns(view.conversation, sheet):
                self.total += 1
                if not is_ended:
                    said = self.setting.reader.token_text(int(sheet.rendered.tokens[place]))
                    self.found_in("cut" if is_explained else "missing", view, f"a turn ends with {said!r}")

    @property
    def _trains_all(self) -> bool:
        """Then turns have no borders, and whatever the template writes behind an answer is trained."""
        return self.setting.config.train_on == "all"

    def summary(self, told: str) -> str:
        if self._trains_all:
            return "with render.train_on = all every token is trained"
        missing = sum(self.counts.values())
        share = (self.total - missing) / max(self.total, 1)
        share = min(share, 0.999) if missing else share
        return f"{share:.1%} of {self.total:,} trained turns end in a trained stop token{told and ': '}{told}"

    def details(self) -> dict[str, Any]:
        return {**super().details(), "num_turns": self.total, "num_ended": self.total - sum(self.counts.values())}

    def _turns(self, conversation: Conversation, sheet: Sheet) -> Iterator[tuple[int, bool]]:
        """The last trained place of each turn, and whether it holds a stop token."""
        is_stop = np.isin(sheet.rendered.tokens, self.setting.renderer.stop_tokens)
        is_trained = (sheet.rendered.loss_weights > 0) & ~sheet.cut
        for start, end, _ in sheet.spans:
            places = start + np.flatnonzero(is_trained[start:end])
            for turn in _grouped(conversation, sheet.rendered, places):
                following = turn[-1] + 1
                is_next = following < end and bool(is_stop[following] and is_trained[following])
                yield int(turn[-1]), bool(is_stop[turn[-1]]) or is_next


def _grouped(conversation: Conversation, rendered: Rendered, places: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Trained places by the assistant message that they belong to; where that is unknown, by unbroken stretch."""
    if rendered.messages is None:
        breaks = np.flatnonzero(np.diff(places) > 1) + 1
        yield from (stretch for stretch in np.split(places, breaks) if stretch.size)
        return
    owners = rendered.messages[places]
    for number, message in enumerate(conversation.messages):
        own = places[owners == number]
        ends_untrained = message.part_weights and message.part_weights[-1][1] == 0
        if message.role == "assistant" and own.size and not ends_untrained:
            yield own


class Bos(Check):
    """How many beginning-of-sequence tokens a sequence begins with, beside what the tokenizer would add."""

    name = "bos"
    noun = "sequences"
    kinds: ClassVar[Mapping[str, Kind]] = {
        "double": Kind(
            "error",
            "begin with two or more beginning-of-sequence tokens",
            "Template and render.bos both write it, or the data do: set render.bos=template, or remove it there.",
        ),
        "missing": Kind(
            "warning",
            "begin without the token that the tokenizer begins every text with",
            "Take render.bos=add, unless your server also prompts without it.",
        ),
    }

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        tokenizer = setting.tokenizer
        self._is_automatic = tokenizer.automatic_bos is not None
        name = tokenizer.automatic_bos or tokenizer.special.get("bos_token")
        self._bos = tokenizer.backend.token_to_id(name) if name else None
        self._numbers = {"0": 0, "1": 0, "2+": 0}

    def see(self, view: View) -> None:
        if self._bos is None or view.conversation.text is not None:
            return
        for rendered in view.kept:
            for start in rendered.branches[rendered.branches[:, 1] < 0, 0].tolist():
                self._see_start(view, rendered.tokens[start : start + 2].tolist())

    def _see_start(self, view: View, first: list[int]) -> None:
        self.total += 1
        is_first = first[:1] == [self._bos]
        if first == [self._bos, self._bos]:
            self.found_in("double", view, "the first two tokens are " + self.setting.reader.token_text(first[0]))
        elif self._is_automatic and not is_first:
            self.found_in("missing", view, f"the first token is {self.setting.reader.token_text(first[0])!r}")
        self._numbers["2+" if first == [self._bos] * 2 else "1" if is_first else "0"] += 1

    def summary(self, told: str) -> str:
        if self._bos is None:
            return "the tokenizer names no beginning-of-sequence token"
        seen = ", ".join(f"{number:,} with {name}" for name, number in self._numbers.items() if number)
        usual = "adds one by itself" if self._is_automatic else "adds none by itself"
        return f"sequences: {seen or 'none'}; the tokenizer {usual}{told and ': '}{told}"

    def details(self) -> dict[str, Any]:
        return {"sequences_by_number": self._numbers, "tokenizer_adds": int(self._is_automatic)}


class PadToken(Check):
    """Whether the token that fills is also the one that ends."""

    name = "pad_token"
    kinds: ClassVar[Mapping[str, Kind]] = {
        "equal": Kind(
            "note",
            "padding token that is also the stop token",
            "Harmless here, since the mask does not come from padding; but trainers that mask every padding token "
            "would mask the stop token too. Where the model goes there, give it a padding token of its own.",
        )
    }

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._pad, self._end = (setting.tokenizer.special.get(name) for name in ("pad_token", "eos_token"))
        number = setting.tokenizer.backend.token_to_id(self._pad) if self._pad else None
        is_stop = number is not None and (self._pad == self._end or number in setting.renderer.stop_tokens)
        self.counts["equal"] = int(is_stop)

    def summary(self, told: str) -> str:
        return f"the padding token is {self._pad or 'not set'}, the end token is {self._end or 'not set'}"
