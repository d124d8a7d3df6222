"""The check of what the policy for too long conversations takes away, by file."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tunesmith.progress import count
from tunesmith.render.bulk.ledger import Account, Ledger
from tunesmith.render.lint import Check, Kind, Setting
from tunesmith.render.show.views import View

NUM_BOOKED_AT_ONCE = 1024
MAX_SHOWN_SOURCES = 10


class Truncation(Check):
    """What the policy for too long conversations takes away, by file."""

    name = "truncation"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._ledger = Ledger(setting.config.too_long, setting.config.max_tokens)
        self._waiting: list[tuple[str, Account]] = []
        self._longest = 0

    def see(self, view: View) -> None:
        self.total += 1
        self._waiting.append((view.conversation.source, view.account))
        if len(self._waiting) >= NUM_BOOKED_AT_ONCE:
            self._book()
        if view.account.num_affected:
            self._longest = max(self._longest, view.length)
            self.found_in(view.fate, view, view.problem)

    def _book(self) -> None:
        if self._waiting:
            self._ledger.add([source for source, _ in self._waiting], np.array([each for _, each in self._waiting]))
            self._waiting.clear()

    def known(self) -> Mapping[str, Kind]:
        fits = f"--set render.max_tokens={self._longest} fits them all"
        others = "render.too_long = drop, split_turns, truncate_prompt_head or truncate_response"
        keep = f"To keep everything: {fits}."
        return {
            "stops": Kind("error", "would stop the run", f"{fits}; or say what becomes of them: {others}."),
            "dropped": Kind("warning", "left out", keep),
            "cut": Kind("warning", "truncated", keep),
            "split": Kind("note", "split", keep),
        }

    def summary(self, told: str) -> str:
        if not told:
            return f"nothing is longer than render.max_tokens = {self.setting.config.max_tokens:,}"
        self._book()
        total = self._ledger.total()
        lost = f"{total.num_tokens_cut:,} of {total.num_tokens_in:,} tokens, {total.num_supervised_cut:,} trained ones"
        return (
            f"{told} (of {self.total:,} conversations, render.too_long = {self.setting.config.too_long}); lost: {lost}"
        )

    def details(self) -> dict[str, Any]:
        self._book()
        return {**super().details(), "longest": self._longest, **self._ledger.to_dict()}

    def lines(self) -> tuple[str, ...]:
        self._book()
        return tuple(_ledger_lines(self._ledger.to_dict()["sources"]))


def _ledger_lines(sources: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """The files that lose most."""
    losing = sorted(sources.items(), key=lambda each: -each[1]["num_tokens_cut"])
    affected = [(name, account) for name, account in losing if account["num_affected"]]
    for name, account in affected[:MAX_SHOWN_SOURCES]:
        yield (
            f"{name}: {account['num_affected']:,} of {account['num_in']:,} conversations, "
            f"{account['num_tokens_cut']:,} of {account['num_tokens_in']:,} tokens, "
            f"{count(account['num_stop_tokens_cut'], 'stop token')}"
        )
    if len(affected) > MAX_SHOWN_SOURCES:
        yield f"and {count(len(affected) - MAX_SHOWN_SOURCES, 'more file')}"
