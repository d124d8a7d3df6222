"""Checks of what reaches the trainer: what is refused, how long it is, and how much of it is trained."""

import re
from array import array
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tunesmith.render.bulk.policy import NOTHING_TRAINED
from tunesmith.render.lint import Check, Kind, Setting
from tunesmith.render.lint.results import Level
from tunesmith.render.show.chart import bars, bins
from tunesmith.render.show.views import View
from tunesmith.types import Dropped

LOW_SHARE = 0.01
MAX_MESSAGES = 100
MAX_TOLD = 3
MAX_CHARACTERS = 80
OTHER_REFUSALS = "(other refusals)"
DIGITS = re.compile(r"\d+")


def has_nothing_trained(view: View) -> bool:
    """Whether no token of a conversation would be trained, for whatever reason."""
    if view.error is not None:
        return getattr(view.error, "name", "") == NOTHING_TRAINED
    return not view.kept and any(drop.reason == NOTHING_TRAINED for drop in view.outcome.drops)


def _short(message: str) -> str:
    return message if len(message) <= MAX_CHARACTERS else f"{message[: MAX_CHARACTERS - 3]}..."


class Refused(Check):
    """Conversations that the template refuses, or whose mask cannot be proven; grouped by its message."""

    name = "refused"
    fine = "the template takes all"
    remedy = (
        "Mend them, leave them out with --set render.refused=drop, or take a model whose template accepts them; "
        "`tunesmith show` prints the whole message."
    )

    def see(self, view: View) -> None:
        self.total += 1
        if view.error is None or has_nothing_trained(view):
            return
        group = DIGITS.sub("N", view.problem.partition("\n")[0])
        is_full = group not in self.counts and len(self.counts) >= MAX_MESSAGES
        self.found_in(OTHER_REFUSALS if is_full else group, view, view.problem)

    def known(self) -> Mapping[str, Kind]:
        level = self.setting.level_of_refusal
        return {group: Kind(level, f"× {_short(group)}", self.remedy) for group, _ in self.counts.most_common()}

    def summary(self, told: str) -> str:
        number = sum(self.counts.values())
        if not number:
            return super().summary("")
        first = "; ".join(f"{number:,} × {_short(group)}" for group, number in self.counts.most_common(MAX_TOLD))
        more = f"; and {len(self.counts) - MAX_TOLD} other messages" if len(self.counts) > MAX_TOLD else ""
        return f"{number:,} of {self.total:,} conversations: {first}{more}"

    def details(self) -> dict[str, Any]:
        return {"messages": dict(self.counts.most_common())}


class NothingTrained(Check):
    """Conversations of which no token is trained."""

    name = "nothing_trained"
    fine = "all have trained tokens"
    kinds: ClassVar[Mapping[str, Kind]] = {
        "rendered": Kind(
            "error",
            "without a trained token",
            "Add the answers, or leave these out; see render.train_on for what is trained.",
        ),
        "dropped": Kind("error", "without an answer", "Add the answers, or leave these records out."),
        "cut": Kind("warning", "that lose all trained tokens to the cut", "Raise render.max_tokens, or drop them."),
    }

    def known(self) -> Mapping[str, Kind]:
        rendered, dropped = self.setting.level_of_refusal, self.setting.level_of_drop
        levels: dict[str, Level] = {"rendered": rendered, "dropped": dropped, "cut": "warning"}
        return {key: kind._replace(level=levels[key]) for key, kind in self.kinds.items()}

    def see(self, view: View) -> None:
        self.total += 1
        if has_nothing_trained(view):
            self.found_in("cut" if view.account.num_affected else "rendered", view, view.problem)

    def see_dropped(self, dropped: Dropped) -> None:
        if dropped.reason in ("no assistant message", "empty document"):
            self.total += 1
            self.found("dropped", dropped.source, dropped.id, dropped.reason)


class Length(Check):
    """How long the conversations are, beside render.max_tokens."""

    name = "length"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._lengths = array("I")

    def see(self, view: View) -> None:
        if view.error is None:
            self.total += 1
            self._lengths.append(view.length)

    def details(self) -> dict[str, Any]:
        lengths = np.array(self._lengths, np.int64)
        found: dict[str, Any] = {"max_tokens": self.setting.config.max_tokens}
        if lengths.size:
            names = {"least": 0, "p50": 50, "p95": 95, "p99": 99, "most": 100}
            found |= {name: int(np.percentile(lengths, share, method="higher")) for name, share in names.items()}
            found["histogram"] = [list(each) for each in bins(lengths.tolist())]
        return found

    def summary(self, told: str) -> str:
        found = self.details()
        if "p50" not in found:
            return "nothing to measure"
        return (
            f"median {found['p50']:,} tokens, 95 % up to {found['p95']:,}, longest {found['most']:,}; "
            f"render.max_tokens is {found['max_tokens']:,}"
        )

    def lines(self) -> tuple[str, ...]:
        return tuple(bars(self._lengths))


class SupervisedShare(Check):
    """How much of what the trainer reads is learned."""

    name = "supervised_share"
    low = "Long contexts with short answers cost much and teach little; shorten the contexts, or accept it."

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._tokens = self._supervised = 0

    def see(self, view: View) -> None:
        if not view.kept:
            return
        self.total += 1
        tokens, supervised = view.account.num_tokens_out, view.account.num_supervised_out
        self._tokens += tokens
        self._supervised += supervised
        if supervised < LOW_SHARE * tokens:
            self.found_in("low", view, f"{supervised:,} of {tokens:,} tokens are trained")

    def known(self) -> Mapping[str, Kind]:
        is_low = self._supervised < LOW_SHARE * self._tokens
        return {"low": Kind("warning" if is_low else "note", f"conversations with less than {LOW_SHARE:.0%}", self.low)}

    def summary(self, told: str) -> str:
        share = self._supervised / max(self._tokens, 1)
        return f"{self._supervised:,} of {self._tokens:,} tokens are trained ({share:.1%}){told and '; '}{told}"

    def details(self) -> dict[str, Any]:
        return {"num_tokens": self._tokens, "num_supervised": self._supervised, "bound": LOW_SHARE}
