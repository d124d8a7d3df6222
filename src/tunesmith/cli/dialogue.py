"""The conversation loop behind `tunesmith chat`: one history for each model, answers that grow as they are made."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tunesmith.cli.console import console, error_console
from tunesmith.cli.speakers import Speaker, load
from tunesmith.generate import Completion, Prompt, Sampling
from tunesmith.types import Message

if TYPE_CHECKING:
    from tunesmith.generate.local import LocalGenerator

WIDE = 100
HELP = "/new forgets the conversation, /system TEXT changes the system message, /quit or Ctrl-D leaves."
COLORS = ("bold green", "bold cyan")


class Voice:
    """One model and what was said between it and the person."""

    def __init__(self, label: str, generator: "LocalGenerator", color: str) -> None:
        self.label = label
        self.color = color
        self.generator = generator
        self.messages: list[Message] = []

    def answer(
        self, question: str, system: str | None, sampling: Sampling, on_text: Callable[[str], None]
    ) -> Completion:
        """Answer and remember; an answer that is interrupted leaves the history as it was."""
        asked = [*self.messages, Message("user", question)]
        opening = [Message("system", system)] if system else []
        completion = self.generator.answer(Prompt((*opening, *asked)), sampling, on_text)
        self.messages = [*asked, Message("assistant", completion.text)]
        return completion


class Dialogue:
    """A person and one or two voices."""

    def __init__(self, speakers: Sequence[Speaker], system: str | None, sampling: Sampling) -> None:
        self.console = console()
        self.system = system
        self.sampling = sampling
        self.voices = [Voice(each.label, load(each), color) for each, color in zip(speakers, COLORS, strict=False)]

    def answer_once(self, question: str) -> None:
        """Print the answer alone, or one labeled answer each when there are two voices."""
        if len(self.voices) > 1:
            self._answer_all(question)
            return
        completion = self.voices[0].answer(question, self.system, self.sampling, Growing(self.console).show)
        self.console.print()
        self._say_if_cut(completion)

    def talk(self) -> None:
        """Ask and answer until the person leaves."""
        names = " and ".join(voice.label for voice in self.voices)
        error_console().print(f"You are talking to {names}. {HELP}", style="dim")
        while (line := self._ask()) is not None:
            if line in ("/quit", "/exit", "/q"):
                return
            if line.startswith("/"):
                self._obey(line)
            elif line:
                self._answer_or_stop(line)

    def _ask(self) -> str | None:
        """The next line; None when the person leaves."""
        try:
            if sys.stdin.isatty():
                import readline  # noqa: F401  (arrow keys and history for input())

                return input("you> ").strip()
            return input().strip()
        except (EOFError, KeyboardInterrupt):
            self.console.print()
            return None

    def _obey(self, line: str) -> None:
        command, _, text = line.partition(" ")
        if command == "/new":
            self._forget("The conversation is forgotten.")
        elif command == "/system":
            self.system = text.strip() or None
            self._forget("A new conversation, with this system message." if self.system else "No system message now.")
        else:
            error_console().print(HELP, style="dim")

    def _forget(self, note: str) -> None:
        for voice in self.voices:
            voice.messages = []
        error_console().print(note, style="dim")

    def _answer_or_stop(self, question: str) -> None:
        try:
            self._answer_all(question)
        except KeyboardInterrupt:
            self.console.print("\n(stopped)", style="dim")
        # Another draw for the next question; without temperature the seed means nothing.
        self.sampling = replace(self.sampling, seed=self.sampling.seed + 1)

    def _answer_all(self, question: str) -> None:
        if len(self.voices) > 1 and self.console.is_terminal and self.console.width >= WIDE:
            self._answer_in_columns(question)
            return
        for voice in self.voices:
            self.console.print(Text(f"{voice.label}> ", style=voice.color), end="")
            completion = voice.answer(question, self.system, self.sampling, Growing(self.console).show)
            self.console.print()
            self._say_if_cut(completion)

    def _answer_in_columns(self, question: str) -> None:
        texts = [Text() for _ in self.voices]
        table = Table(box=None, pad_edge=False, expand=True, padding=(0, 2, 0, 0))
        for voice in self.voices:
            table.add_column(voice.label, header_style=voice.color, ratio=1, overflow="fold")
        table.add_row(*texts)
        with Live(table, console=self.console, refresh_per_second=12, vertical_overflow="visible"):
            for voice, text in zip(self.voices, texts, strict=True):
                completion = voice.answer(question, self.system, self.sampling, _write_to(text))
                text.plain = completion.text
                if not completion.stopped:
                    text.append(f"\n{_cut(completion)}", style="dim")
        self.console.print()

    def _say_if_cut(self, completion: Completion) -> None:
        if not completion.stopped:
            error_console().print(_cut(completion), style="dim")


class Growing:
    """Prints a text as it grows: each time only what is new."""

    def __init__(self, to: Console) -> None:
        self.file = to.file
        self.printed = ""

    def show(self, text: str) -> None:
        """`text` is all of it so far; a character that is still incomplete waits for its other half."""
        whole = text.rstrip("\ufffd")
        if whole.startswith(self.printed):
            self.file.write(whole[len(self.printed) :])
            self.file.flush()
            self.printed = whole


def _cut(completion: Completion) -> str:
    return f"(cut after {completion.num_tokens} tokens; --max-tokens allows more)"


def _write_to(text: Text) -> Callable[[str], None]:
    def write(whole: str) -> None:
        text.plain = whole

    return write
