"""The input of bulk rendering, cut into chunks by its content, each with a key that names what it holds.

A chunk ends where a checksum of a conversation says so, not after a fixed number: a conversation that is inserted or
removed changes the chunk that it stands in and at times the next, and all others keep their keys. Ids and sources
are not part of the content, since they count lines, which an insertion moves.
"""

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tunesmith.errors import DataError
from tunesmith.messages import conversation_from_dict, conversation_to_dict
from tunesmith.types import Conversation

MEAN_CONVERSATIONS = 2048
MIN_CONVERSATIONS, MAX_CONVERSATIONS = 256, 8192
# Long conversations make short chunks, so that memory has a bound.
MEAN_BYTES = 2 << 20
MIN_BYTES, MAX_BYTES = 256 << 10, 8 << 20

_ID, _SOURCE = b'{"id": "', b', "source": "'


class Line(NamedTuple):
    """One conversation as JSON: `body` is the object without its id and its source."""

    id: str
    source: str
    body: bytes


@dataclass(slots=True)
class Chunk:
    """Consecutive conversations of the input; `bodies` may be let go of once they are rendered."""

    ids: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)


def chunks(lines: Iterable[Line]) -> Iterator[Chunk]:
    """Cut `lines` into chunks; together they hold every line once, in order."""
    chunk, num_bytes = Chunk(), 0
    for identifier, source, body in lines:
        chunk.ids.append(identifier)
        chunk.sources.append(source)
        chunk.bodies.append(body)
        num_bytes += len(body)
        if _ends_here(len(chunk), num_bytes, body):
            yield chunk
            chunk, num_bytes = Chunk(), 0
    if len(chunk):
        yield chunk


def _ends_here(num_conversations: int, num_bytes: int, body: bytes) -> bool:
    if num_conversations >= MAX_CONVERSATIONS or num_bytes >= MAX_BYTES:
        return True
    if num_conversations < MIN_CONVERSATIONS and num_bytes < MIN_BYTES:
        return False
    # One in MEAN_CONVERSATIONS ends a chunk, and more of those that are longer than the mean of a chunk has room for.
    chance = max(1 / MEAN_CONVERSATIONS, len(body) / MEAN_BYTES)
    return zlib.crc32(body) < chance * 2**32


def chunk_key(rules: bytes, chunk: Chunk) -> str:
    """The SHA-256 of the rules of rendering and of the chunk's content."""
    digest = hashlib.sha256(rules)
    for body in chunk.bodies:
        digest.update(b"\n")
        digest.update(body)
    return digest.hexdigest()


def conversations_of(ids: Sequence[str], sources: Sequence[str], bodies: Sequence[bytes]) -> list[Conversation]:
    """The conversations of some lines; raises DataError at the source of one that is none."""
    found = []
    for identifier, source, body in zip(ids, sources, bodies, strict=True):
        found.append(conversation_from_dict(_parsed(body, source), source, identifier))
    return found


def read_lines(conversations: Iterable[Conversation] | Path) -> Iterator[Line]:
    """The lines of conversations, or of a file that the data stage wrote, one JSON object a line."""
    if isinstance(conversations, Path):
        return _file_lines(conversations)
    return (_line_of(conversation) for conversation in conversations)


def num_lines(path: Path) -> int:
    """How many lines a file has; much faster than reading them."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def _file_lines(path: Path) -> Iterator[Line]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _quick_line(line) or _any_line(line, f"{path}:{number}", f"{path.stem}:{number}")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None


def _quick_line(line: bytes) -> Line | None:
    """The line without decoding it, where it is spelled as the data stage does: the id first, the source last.

    A quote inside a JSON string is escaped, so what is found between plain quotes is whole.
    """
    line = line.rstrip(b"\r\n")
    id_end = line.find(b'", ', len(_ID))
    source_start = line.rfind(_SOURCE)
    if not line.startswith(_ID) or not line.endswith(b'"}') or not 0 < id_end < source_start:
        return None
    identifier, source = line[len(_ID) : id_end], line[source_start + len(_SOURCE) : -2]
    if not identifier or b"\\" in identifier or b"\\" in source or b'"' in source:
        return None
    try:
        return Line(identifier.decode(), source.decode(), b"{" + line[id_end + 3 : source_start] + b"}")
    except UnicodeDecodeError:
        return None


def _any_line(line: bytes, where: str, default_id: str) -> Line:
    raw = _parsed(line, where)
    conversation = conversation_from_dict(raw, where, default_id)
    return Line(conversation.id, conversation.source, _body(raw))


def _line_of(conversation: Conversation) -> Line:
    return Line(conversation.id, conversation.source, _body(conversation_to_dict(conversation)))


def _body(raw: Mapping[str, Any]) -> bytes:
    content = {key: value for key, value in raw.items() if key not in ("id", "source")}
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _parsed(text: bytes, where: str) -> Any:
    try:
        return json.loads(text.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not valid JSON ({error}); expected one JSON object a line") from None
