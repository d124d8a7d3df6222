"""JSON files of any size, value by value: what is held in memory is one value, never the file."""

import codecs
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tunesmith.errors import DataError

CHUNK_BYTES = 1 << 18
DECODER = json.JSONDecoder()
WHITESPACE = re.compile(r"[ \t\n\r]*")
# The decoder complains at most this far before the end of a text that merely goes on in the next chunk
# (the longest such piece is `-Infinity`).
CUT_LENGTH = 16


class JsonText:
    """A window that moves over a file's text. `line` is where it stands, for error messages."""

    def __init__(self, path: Path, read: Callable[[int], bytes]) -> None:
        self.line = 1
        self._path = path
        self._read = read
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._buffer = ""
        self._at = 0

    def peek(self) -> str:
        """The next character that is not white space; "" at the end of the file."""
        while True:
            match = WHITESPACE.match(self._buffer, self._at)
            self._advance(match.end() if match else self._at)
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._fill():
                return ""

    def take(self, accepted: str) -> str:
        """Consume the next character, which must be one of `accepted`."""
        seen = self.peek()
        if not seen or seen not in accepted:
            wanted = " or ".join(repr(character) for character in accepted)
            raise self.error(f"expected {wanted}, not {seen!r}" if seen else f"the file ends before {wanted}")
        self._at += 1
        return seen

    def value(self) -> Any:
        """Consume one whole value."""
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                if self._may_go_on(error) and self._fill():
                    continue
                raise self.error(error.msg, error.pos) from None
            except (ValueError, RecursionError) as error:
                raise self.error(str(error)) from None
            # A number close to the end of the buffer may go on in the next chunk: `1.` may become `1.5`.
            if end < len(self._buffer) - CUT_LENGTH or not self._fill():
                self._advance(end)
                return value

    def error(self, what: str, at: int | None = None) -> DataError:
        """A DataError at a position of the window, by default where it stands."""
        line = self.line + self._buffer.count("\n", self._at, self._at if at is None else at)
        return DataError(f"{self._path}:{line}: not valid JSON ({what}); mend the file from this line on")

    def _advance(self, end: int) -> None:
        self.line += self._buffer.count("\n", self._at, end)
        self._at = end

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._buffer) - CUT_LENGTH

    def _fill(self) -> bool:
        """Let go of what was consumed and read on; False at the end of the file."""
        text = ""
        while not text:
            # As much again as is held, so that a long value is not decoded over and over.
            chunk = self._read(max(CHUNK_BYTES, len(self._buffer) - self._at))
            text = self._decoded(chunk)
            if not chunk:
                break
        if text:
            self._buffer = self._buffer[self._at :] + text
            self._at = 0
        return bool(text)

    def _decoded(self, chunk: bytes) -> str:
        try:
            return self._decode(chunk, not chunk)
        except UnicodeDecodeError as error:
            before = self._buffer.count("\n", self._at) + error.object[: error.start].count(b"\n")
            raise DataError(
                f"{self._path}:{self.line + before}: not UTF-8 text ({error.reason}); save the file as UTF-8"
            ) from None


def top_level_objects(text: JsonText) -> Iterator[tuple[int, Any]]:
    """Yield (line, value) of the list a file holds, of the list under its key "data", or of its objects."""
    first = text.peek()
    if first == "[":
        yield from _elements(text)
    while text.peek() == "{" and first == "{":
        yield from _object(text)
    if text.peek():
        what = "unexpected text after the end" if first in "[{" else "expected a list of objects"
        raise text.error(f"{what}: {text.peek()!r}")


def _elements(text: JsonText) -> Iterator[tuple[int, Any]]:
    text.take("[")
    if text.peek() == "]":
        text.take("]")
        return
    while True:
        text.peek()
        line = text.line
        yield line, text.value()
        if text.take(",]") == "]":
            return


def _object(text: JsonText) -> Iterator[tuple[int, Any]]:
    """One object as a record of its own, or the elements of its "data"."""
    line, fields, has_list = text.line, {}, False
    text.take("{")
    while text.peek() != "}":
        if text.peek() != '"':
            raise text.error(f"expected a key in quotes, not {text.peek()!r}")
        key = text.value()
        text.take(":")
        if key == "data" and text.peek() == "[":
            has_list = True
            yield from _elements(text)
        else:
            fields[key] = text.value()
        if text.peek() != "}":
            text.take(",}")
    text.take("}")
    if not has_list:
        yield line, fields
