"""BFCL, simple calls of Python functions (Patil et al. 2023): one request, one function, one right call.

Two files: the questions (`id`, `question`, `function`) and beside them the accepted answers (`id`, `ground_truth`), as
`NAME_answers.jsonl`, or in a folder `possible_answer` under the same name as the leaderboard keeps them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunesmith.errors import EvaluateError
from tunesmith.verify.benchmarks.records import read_records, wanted, wanted_text
from tunesmith.verify.items import Item, item_from_record

# BFCL's names of types, where JSON Schema has others; a value of any type has no type there.
TYPES = {"dict": "object", "float": "number", "tuple": "array"}
ANY = "any"


def read(path: Path) -> list[Item]:
    """Each question with its function as a tool, and the values that each argument may have."""
    answers = {
        wanted_text(record, ("id",), place): _only(wanted(record, ("ground_truth",), place), place, "accepted call")
        for place, record in read_records(answers_beside(path))
    }
    items = []
    for place, record in read_records(path):
        name = wanted_text(record, ("id",), place)
        if name not in answers:
            raise EvaluateError(f"{place}: {answers_beside(path)} has no answers for {name!r}")
        function = _only(wanted(record, ("function",), place), place, "function")
        tool = {**function, "parameters": _schema(function.get("parameters", {}))}
        items.append(
            item_from_record(
                {
                    "id": name,
                    "cluster": "bfcl",
                    "messages": _only(wanted(record, ("question",), place), place, "list of messages", list),
                    "tools": [{"type": "function", "function": tool}],
                    "checker": {"accepted": answers[name]},
                },
                place,
            )
        )
    return items


def answers_beside(path: Path) -> Path:
    """Where the answers to a file of questions are; raises EvaluateError where they are not."""
    name, suffix, rest = path.name.partition(".json")
    places = [path.with_name(f"{name}_answers{suffix}{rest}"), path.parent / "possible_answer" / path.name]
    for place in places:
        if place.is_file():
            return place
    raise EvaluateError(f"{path}: its accepted answers are missing; they are looked for at {places[0]} and {places[1]}")


def _only(value: Any, place: str, what: str, kind: type = dict) -> Any:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], kind):
        return value[0]
    raise EvaluateError(f"{place}: a simple call has exactly one {what}, in a list, not {value!r:.80}")


def _schema(described: Mapping[str, Any]) -> dict[str, Any]:
    """A description of parameters as JSON Schema."""
    schema = {key: value for key, value in described.items() if key != "type" or value != ANY}
    if "type" in schema:
        schema["type"] = TYPES.get(schema["type"], schema["type"])
    if isinstance(schema.get("properties"), dict):
        schema["properties"] = {name: _schema(each) for name, each in schema["properties"].items()}
    if isinstance(schema.get("items"), dict):
        schema["items"] = _schema(schema["items"])
    return schema
