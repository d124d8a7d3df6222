"""The stream of conversations: read lazily, resumed exactly, named by the content of its files."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import chain, islice
from typing import Any

from tunesmith.data import DataConfig
from tunesmith.data.checks import problem_of
from tunesmith.data.detect import Layout, detect
from tunesmith.data.formats import convert
from tunesmith.data.readers import Record, read_records
from tunesmith.data.sources import SourceFile, source_files
from tunesmith.errors import DataError
from tunesmith.files import file_digest, fingerprint
from tunesmith.messages import MOST_NUMBER, shown
from tunesmith.types import Conversation, Dropped, Message

VERSION = 2
NUM_DETECTED = 20


class Conversations:
    """A Stream of Conversation with one cursor: the number of records read so far.

    `layouts` says how each file read so far was understood. What is dropped goes to `on_drop`, or else to the
    list `dropped`.
    """

    def __init__(self, config: DataConfig, on_drop: Callable[[Dropped], None] | None = None) -> None:
        self.config = config
        self.files = source_files(config.paths)
        self.layouts: dict[str, Layout] = {}
        self.dropped: list[Dropped] = []
        self._on_drop = on_drop or self.dropped.append
        self._num_in = 0
        self._seen_ids: set[int] = set()

    @property
    def num_in(self) -> int:
        """How many records were read."""
        return self._num_in

    @cached_property
    def digests(self) -> dict[str, str]:
        """The SHA-256 of each file, by its name."""
        return {file.name: file_digest(file.path) for file in self.files}

    @cached_property
    def fingerprint(self) -> str:
        """Names the configuration and the content of the files, wherever their folder lies."""
        settings = self.config.model_dump(mode="json", exclude={"paths"})
        files = [[file.name, file.path.stat().st_size, self.digests[file.name]] for file in self.files]
        return fingerprint({"version": VERSION, "settings": settings, "files": files})

    def state(self) -> dict[str, Any]:
        """Where the stream stands, as plain JSON."""
        return {"num_in": self._num_in}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on behind the records that had been read when `state` was taken."""
        self._num_in = int(state["num_in"])

    def __iter__(self) -> Iterator[Conversation]:
        # Records before the cursor are converted again, silently: ids and the limit count from the beginning.
        resume_at, num_out = self._num_in, 0
        self._seen_ids.clear()
        for number, (file, layout, record) in enumerate(self._records(), 1):
            found = self._conversation(file, layout, record)
            is_new = number > resume_at
            self._num_in = max(number, resume_at)
            if isinstance(found, Dropped):
                if is_new:
                    self._drop(found)
                continue
            num_out += 1
            if is_new:
                yield found
            if num_out == self.config.max_conversations:
                return

    def _records(self) -> Iterator[tuple[SourceFile, Layout, Record]]:
        for file in self.files:
            records = read_records(file.path)
            head = list(islice(records, NUM_DETECTED))
            layout = self.layouts[file.name] = self._layout(file, head)
            for record in chain(head, records):
                yield file, layout, record

    def _layout(self, file: SourceFile, head: list[Record]) -> Layout:
        config = self.config
        if not head:
            raise DataError(f"{file.path}: the file holds no records; remove it from the paths or fill it")
        if config.prompt_field is not None and config.response_field is not None:
            evidence = f"prompt_field is {config.prompt_field!r}, response_field is {config.response_field!r}"
            return Layout("prompt_completion", evidence, config.prompt_field, (config.response_field,))
        if config.format != "auto":
            return Layout(config.format, "set by data.format")
        readable = [record for record in head if record.problem is None]
        first = (readable or head)[0]
        if not readable:
            raise DataError(f"{file.path}{first.place}: {first.problem}")
        return detect([record.value for record in readable], f"{file.path}{first.place}")

    def _conversation(self, file: SourceFile, layout: Layout, record: Record) -> Conversation | Dropped:
        where = f"{file.path}{record.place}"
        default_id = f"{file.stem}:{record.number}" if record.place else file.stem
        dropped = Dropped(default_id, "data", "", "", f"{file.name}{record.place}", record.value)
        if record.problem is not None:
            return replace(dropped, reason="unreadable record", detail=f"{where}: {record.problem}")
        try:
            conversation = convert(record.value, layout, where, default_id)
            number = _number(record.value, self.config.number_field, where)
        except DataError as error:
            return replace(dropped, reason="malformed record", detail=str(error))
        problem = problem_of(conversation) or self._repeated_id(conversation.id)
        if problem is not None:
            reason, detail = problem
            return replace(dropped, id=conversation.id, reason=reason, detail=f"{where}: {detail}")
        return replace(self._with_system(conversation), source=dropped.source, number=number)

    def _repeated_id(self, identifier: str) -> tuple[str, str] | None:
        """Only hashes are kept, so that memory hardly grows with the number of conversations."""
        digest = hashlib.blake2b(identifier.encode(), digest_size=8).digest()
        key = int.from_bytes(digest)
        if key in self._seen_ids:
            hint = "make the ids unique, or remove them: then each conversation is named by its file and line"
            return "repeated id", f"the id {identifier!r} was seen before; {hint}"
        self._seen_ids.add(key)
        return None

    def _with_system(self, conversation: Conversation) -> Conversation:
        system = self.config.system
        has_own = any(message.role in ("system", "developer") for message in conversation.messages)
        if system is None or has_own or conversation.text is not None:
            return conversation
        first = Message("system", system)
        rejected = (first, *conversation.rejected) if conversation.rejected else ()
        return replace(conversation, messages=(first, *conversation.messages), rejected=rejected)

    def _drop(self, dropped: Dropped) -> None:
        if self.config.on_error == "stop":
            remedy = "--set data.on_error=skip (`tunesmith data` spells it --on-error skip)"
            raise DataError(f"{dropped.detail}. To go on without such records: {remedy}")
        self._on_drop(dropped)


def _number(value: Any, name: str | None, where: str) -> float | None:
    """The number in the field that `data.number_field` names; None where none is asked for."""
    if name is None:
        return None
    found = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) <= MOST_NUMBER:
        raise DataError(f"{where}: the field {name!r} (data.number_field) must be a finite number, not {shown(found)}")
    return float(found)
