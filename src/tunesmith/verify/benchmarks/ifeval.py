"""IFEval (Zhou et al. 2023, arXiv 2311.07911): 541 prompts with instructions that a program can check.

Records: `prompt`, `instruction_id_list` and `kwargs` with the arguments of each, and `key`; the authors' own file or
the hub's, which fills `kwargs` up with nulls. Four figures are usual: prompt and instruction level, strict and loose.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunesmith.errors import EvaluateError
from tunesmith.verify.benchmarks.records import read_records, wanted, wanted_text
from tunesmith.verify.instructions import instructions_of
from tunesmith.verify.items import Item, item_from_record


def prompts(path: Path) -> list[Item]:
    """One item a prompt: right when all its instructions are followed. The names of the instructions are tags."""
    return [
        item_from_record(_record(f"ifeval-{key}", "ifeval", prompt, listed), place)
        for place, key, prompt, listed in _rows(path)
    ]


def instructions(path: Path) -> list[Item]:
    """One item an instruction; those of one prompt are a cluster, because one answer decides them all."""
    return [
        item_from_record(_record(f"ifeval-{key}-{number}", f"ifeval-{key}", prompt, [each]), place)
        for place, key, prompt, listed in _rows(path)
        for number, each in enumerate(listed, 1)
    ]


def _rows(path: Path) -> Iterator[tuple[str, str, str, list[dict[str, Any]]]]:
    """(place, key, prompt, instructions) of each record, the instructions checked."""
    for number, (place, record) in enumerate(read_records(path)):
        listed = _listed(record, place)
        try:
            instructions_of({"checker": {"instructions": listed}})
        except EvaluateError as error:
            raise EvaluateError(f"{place}: {error}") from error
        yield place, str(record.get("key", number)), wanted_text(record, ("prompt",), place), listed


def _listed(record: Mapping[str, Any], place: str) -> list[dict[str, Any]]:
    names = wanted(record, ("instruction_id_list",), place)
    arguments = wanted(record, ("kwargs",), place)
    if not isinstance(names, list) or not isinstance(arguments, list) or len(names) != len(arguments):
        raise EvaluateError(f"{place}: instruction_id_list and kwargs must be lists of the same length")
    if not all(isinstance(each, dict) for each in arguments):
        raise EvaluateError(f"{place}: kwargs must be a list of objects, one an instruction")
    return [
        {"id": name, **{key: value for key, value in each.items() if value is not None}}
        for name, each in zip(names, arguments, strict=True)
    ]


def _record(identifier: str, cluster: str, prompt: str, listed: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": identifier,
        "cluster": cluster,
        "tags": list(dict.fromkeys(each["id"] for each in listed)),
        "messages": [{"role": "user", "content": prompt}],
        "checker": {"instructions": listed},
    }
