"""Old runs of other tools as reports: what lm-evaluation-harness and Inspect wrote, item by item.

Both report and answers are read, so that old runs can be compared and gated like our own. The weights behind a log
cannot be seen: its digest names the model as the log does.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tunesmith.errors import EvaluateError
from tunesmith.files import fingerprint
from tunesmith.types import Better, Report, Sample, TaskReport


class Log(NamedTuple):
    """What a log tells: the values of each item, and the answers."""

    report: Report
    samples: tuple[Sample, ...]


def is_log(path: Path) -> bool:
    """Whether a path is a log of another tool: samples_*.jsonl or a folder of them, .eval, or Inspect's .json."""
    from tunesmith.evaluate.logs.harness import sample_files

    if path.is_dir():
        return bool(sample_files(path))
    if not path.is_file():
        return False
    named = path.suffix == ".eval" or (path.suffix == ".jsonl" and path.name.startswith("samples_"))
    return named or (path.suffix == ".json" and _is_foreign(path))


def read_log(path: Path) -> Log:
    """Read a log; raises EvaluateError where it holds no scores for each item."""
    from tunesmith.evaluate.logs.harness import read_harness
    from tunesmith.evaluate.logs.inspecting import read_inspect

    if path.is_dir() or path.suffix == ".jsonl" or path.name.startswith("results_"):
        return read_harness(path)
    return read_inspect(path)


def _is_foreign(path: Path) -> bool:
    """Whether a JSON file is no report of our own: ours has `tasks`."""
    try:
        data = json.loads(path.read_bytes())
    except ValueError:
        return False  # whoever reads it next says what is wrong
    return isinstance(data, dict) and "tasks" not in data and bool({"eval", "results"} & data.keys())


def task_report(
    name: str,
    values: Mapping[str, float | None],
    content: Mapping[str, str],
    about: str,
    better: Better = "higher",
) -> TaskReport:
    """One measured quantity. `content` says what each item is, by its id; None is an item that was not scored: the
    task is then SKIPPED, for nothing may be counted as wrong that was never judged."""
    missing = [item for item, value in values.items() if value is None]
    skipped = f"{len(missing):,} of {len(values):,} items have no score, such as {missing[0]}" if missing else ""
    scores = {} if missing else {item: value for item, value in values.items() if value is not None}
    digest = fingerprint(sorted((item, content[item]) for item in values))
    clusters = {item: item for item in scores}
    return TaskReport(name, digest, scores, clusters, better, about=about, skipped=skipped)


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean of an item's several answers; None where one was not scored."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def plain_name(*parts: str) -> str:
    """A task's name that can stand bare in a recipe: letters, digits, `_` and `-`."""
    text = "_".join(part for part in parts if part)
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "_" for letter in text)


def broken(path: Path, error: object) -> EvaluateError:
    return EvaluateError(f"{path}: not a log that can be read ({error}); run that tool again, with its samples kept")


def text_of(value: Any) -> str:
    """A value as text: strings as they are, other things as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
