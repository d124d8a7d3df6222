"""Golden items: what a model is asked, and what counts as the answer."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunesmith.errors import EvaluateError
from tunesmith.files import canonical_json, fingerprint, read_jsonl
from tunesmith.messages import message_from_dict, message_to_dict, tools_from
from tunesmith.types import Conversation, Message

ASKING_ROLES = ("user", "tool")
EXAMPLE = (
    '{"id": "sum-1", "split": "gate", "cluster": "sums", '
    '"messages": [{"role": "user", "content": "2 + 2?"}], "answer": {"type": "number", "value": "4"}}'
)


@dataclass(frozen=True, slots=True)
class Item:
    """One golden item: what is asked, and what a scorer needs to judge the answer.

    Either `messages` are replied to, or a plain `text` is continued without a chat template. What counts is an
    `answer`, a `checker` (plain data for a scorer) or a `rubric` (for a judge); those that the item has not are empty.
    `begun` is the beginning of the answer, behind which the model goes on. `choices` are texts that may stand right
    behind the prompt, for scorers that price them. `record` is the line as it stands in the file: it is what a scorer
    receives.
    """

    id: str
    cluster: str
    split: str
    tags: tuple[str, ...]
    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...]
    answer: Mapping[str, Any]
    record: Mapping[str, Any]
    text: str | None = None
    choices: tuple[str, ...] = ()
    checker: Mapping[str, Any] = field(default_factory=dict)
    rubric: str = ""
    begun: str = ""


def read_items(path: Path, split: str | None = None) -> list[Item]:
    """Read a golden file, or one split of it, in file order.

    `split` is "gate" and `cluster` is "all" where a line does not name them. Raises EvaluateError
    (DataError for broken JSON or messages) at file:line; an empty result is an error too.
    """
    places: dict[str, int] = {}
    items: list[Item] = []
    for line, raw in read_jsonl(path):
        item = item_from_record(raw, f"{path}:{line}")
        if item.id in places:
            raise EvaluateError(f"{path}:{line}: the id {item.id!r} is already used in line {places[item.id]}")
        places[item.id] = line
        items.append(item)
    if not items:
        raise EvaluateError(f"{path}: no items; write one JSON object a line, such as {EXAMPLE}")
    return of_split(items, split, path)


def items_digest(items: Iterable[Item]) -> str:
    """Names the content of a set of items, whatever their order: reports compare only on equal digests."""
    return fingerprint(sorted(canonical_json(item.record) for item in items))


def item_from_conversation(conversation: Conversation) -> Item:
    """A held-out conversation as an item: its last assistant message is the answer to the messages before it.

    Calls of tools make an answer of type "tool_calls", anything else one of type "text".
    """
    where = f"conversation {conversation.id!r} ({conversation.source or 'no source'})"
    if not conversation.messages or conversation.messages[-1].role != "assistant":
        raise EvaluateError(f"{where}: it must end with an assistant message to become a golden item")
    prompt = [message_to_dict(message) for message in conversation.messages[:-1]]
    record: dict[str, Any] = {
        "id": conversation.id,
        "split": "heldout",
        "cluster": "heldout",
        "messages": prompt,
        "answer": _answer(conversation.messages[-1]),
    }
    if conversation.tools:
        record["tools"] = [dict(tool) for tool in conversation.tools]
    return item_from_record(record, where)


def _answer(message: Message) -> dict[str, Any]:
    if not message.tool_calls:
        return {"type": "text", "value": message.content}
    calls = [{"name": call.name, "arguments": dict(call.arguments)} for call in message.tool_calls]
    return {"type": "tool_calls", "value": calls}


def item_from_record(raw: Any, where: str) -> Item:
    """A golden item from its record; raises EvaluateError or DataError at `where`."""
    if not isinstance(raw, dict):
        raise EvaluateError(f"{where}: an item is a JSON object, not a {type(raw).__name__}; such as {EXAMPLE}")
    text = raw.get("text")
    _check_asked(raw, text, where)
    if all(raw.get(key) is None for key in ("checker", "rubric")):
        _field(raw, "answer", where)
    return Item(
        id=_text(raw, "id", None, where),
        cluster=_text(raw, "cluster", "all", where),
        split=_text(raw, "split", "gate", where),
        tags=tuple(str(tag) for tag in _list(raw, "tags", where)),
        messages=() if text is not None else _prompt(_field(raw, "messages", where), where),
        tools=tools_from(raw.get("tools"), where),
        answer={} if raw.get("answer") is None else _checked_answer(raw["answer"], where),
        record=raw,
        text=text,
        choices=_choices(raw, where),
        checker=_checker(raw, where),
        rubric=_text(raw, "rubric", None, where) if raw.get("rubric") is not None else "",
        begun=_text(raw, "begun", None, where) if raw.get("begun") is not None else "",
    )


def _check_asked(raw: Mapping[str, Any], text: Any, where: str) -> None:
    if text is None:
        return
    if not isinstance(text, str):
        raise EvaluateError(f"{where}: 'text' must be a string that the model goes on with, not {text!r}")
    for other in ("messages", "tools", "begun"):
        if raw.get(other) is not None:
            raise EvaluateError(
                f"{where}: an item has 'text' or {other!r}, not both; a plain text has no chat around it"
            )


def _list(raw: Mapping[str, Any], key: str, where: str) -> list[Any]:
    value = raw.get(key, [])
    if not isinstance(value, list):
        raise EvaluateError(f"{where}: {key} must be a list of strings, not {value!r}")
    return value


def _choices(raw: Mapping[str, Any], where: str) -> tuple[str, ...]:
    choices = _list(raw, "choices", where)
    if not all(isinstance(each, str) and each for each in choices) or len(set(choices)) < len(choices):
        raise EvaluateError(f'{where}: \'choices\' must be different texts, such as [" A", " B"], not {choices!r}')
    return tuple(choices)


def _checker(raw: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    checker = raw.get("checker")
    if checker is not None and not isinstance(checker, dict):
        raise EvaluateError(f"{where}: 'checker' must be an object that a scorer reads, not {checker!r}")
    return checker or {}


def _field(raw: Mapping[str, Any], key: str, where: str) -> Any:
    if raw.get(key) is not None:
        return raw[key]
    nearest = difflib.get_close_matches(key, [name for name in raw if name != key], n=1)
    hint = f"did you mean {nearest[0]!r} to be it?" if nearest else f"an item looks like {EXAMPLE}"
    raise EvaluateError(f"{where}: the item has no {key!r}; {hint}")


def _text(raw: Mapping[str, Any], key: str, default: str | None, where: str) -> str:
    value = raw.get(key, default)
    if value is None:
        value = _field(raw, key, where)
    if not isinstance(value, str) or not value:
        raise EvaluateError(f"{where}: {key!r} must be a non-empty string, not {value!r}")
    return value


def _prompt(raw: Any, where: str) -> tuple[Message, ...]:
    if not isinstance(raw, list) or not raw:
        raise EvaluateError(f"{where}: 'messages' must be a list with a message or more, not {raw!r}")
    messages = tuple(message_from_dict(entry, f"{where}, message {n}") for n, entry in enumerate(raw, 1))
    if messages[-1].role not in ASKING_ROLES:
        raise EvaluateError(
            f"{where}: the last message is from {messages[-1].role!r}, but the model must have something to "
            "reply to: end with a user or tool message, and put the expected reply into 'answer'"
        )
    return messages


def _checked_answer(raw: Any, where: str) -> Mapping[str, Any]:
    example = '{"type": "text", "value": "Paris", "aliases": ["City of Light"]}'
    if not isinstance(raw, dict) or not isinstance(raw.get("type"), str) or "value" not in raw:
        raise EvaluateError(f"{where}: 'answer' must be an object with 'type' and 'value', such as {example}")
    if not isinstance(raw.get("aliases", []), list):
        raise EvaluateError(f"{where}: 'aliases' must be a list of other right answers, such as in {example}")
    return raw


def of_split(items: list[Item], split: str | None, path: Path) -> list[Item]:
    """The items of one split, or all where none is asked for; raises EvaluateError where there are none."""
    if split is None:
        return items
    chosen = [item for item in items if item.split == split]
    if not chosen:
        present = ", ".join(repr(name) for name in dict.fromkeys(item.split for item in items))
        raise EvaluateError(f"{path}: no item is in split {split!r}; the splits here: {present}")
    return chosen
