"""HumanEval (Chen et al. 2021): functions to be written in Python, judged by tests that run in the jail.

Records: `task_id`, `prompt` (imports, helpers, signature and docstring), `test` (defines `check(candidate)`) and
`entry_point`. The worked solution is not needed.
"""

from pathlib import Path
from typing import Any

from tunesmith.verify.benchmarks.records import read_records, wanted_text
from tunesmith.verify.items import Item, item_from_record

REQUEST = "Complete this Python function. Reply with the whole function, with its imports, in one block of code."


def read(path: Path) -> list[Item]:
    """Each function as a request to a chat model; docs/scorers.md says how the code is found in the answer."""
    return [
        _item(path, place, record, {"messages": [{"role": "user", "content": f"{REQUEST}\n\n```python\n{stub}\n```"}]})
        for place, record in read_records(path)
        for stub in [wanted_text(record, ("prompt",), place).strip("\n")]
    ]


def read_plain(path: Path) -> list[Item]:
    """Each function as a text to go on with, for models without a chat template."""
    return [
        _item(path, place, record, {"text": wanted_text(record, ("prompt",), place)})
        for place, record in read_records(path)
    ]


def _item(path: Path, place: str, record: Any, asked: dict[str, Any]) -> Item:
    checker = {
        "tests": wanted_text(record, ("test",), place),
        "entry_point": wanted_text(record, ("entry_point",), place),
        "stub": wanted_text(record, ("prompt",), place),
    }
    name = wanted_text(record, ("task_id",), place)
    return item_from_record({"id": name, "cluster": "humaneval", **asked, "checker": checker}, place)
