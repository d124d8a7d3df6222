"""Logs of lm-evaluation-harness: samples_TASK_DATE.jsonl, and results_DATE.json beside them.

A line of samples is one item under one filter, with a key for each metric. Each metric under each filter becomes a
task of its own, named TASK_METRIC, or TASK_METRIC_FILTER where the filter is not `none`.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tunesmith.errors import EvaluateError
from tunesmith.evaluate.logs import Log, broken, plain_name, task_report, text_of
from tunesmith.files import fingerprint, read_json, read_jsonl
from tunesmith.types import Better, Report, Sample, TaskReport

NO_FILTER = "none"
_NAME = re.compile(r"samples_(?P<task>.+?)_(?P<date>\d{4}-\d\d-\d\dT[\d.-]+)\.jsonl")
_KEYS = {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"}
_HASHES = {"doc_hash", "prompt_hash", "target_hash"}
NOT_MEASURED = "bypass"
"""The harness's word for answers that were generated and not scored (`--predict_only`)."""


class _File(NamedTuple):
    task: str
    date: str
    path: Path


def sample_files(folder: Path) -> list[_File]:
    """The newest samples of each task in a folder, or in its one sub-folder that has any.

    The harness puts a model's files in a sub-folder with the model's name.
    """
    found = _in(folder)
    if found:
        return found
    inner = [files for each in sorted(folder.iterdir()) if each.is_dir() and (files := _in(each))]
    return inner[0] if len(inner) == 1 else []


def _in(folder: Path) -> list[_File]:
    matches = [(match, path) for path in folder.glob("samples_*.jsonl") if (match := _NAME.fullmatch(path.name))]
    files = sorted(_File(match["task"], match["date"], path) for match, path in matches)
    return list({file.task: file for file in files}.values())


def read_harness(path: Path) -> Log:
    """The report of a folder of logs, of one samples file, or of the samples beside a results file."""
    if path.suffix == ".jsonl":
        match = _NAME.fullmatch(path.name)
        name = match["task"] if match else path.stem.removeprefix("samples_")
        files = [_File(name, match["date"] if match else "", path)]
    else:
        files = sample_files(path if path.is_dir() else path.parent)
        files = files if path.is_dir() else [each for each in files if path.name == f"results_{each.date}.json"]
    if not files:
        raise EvaluateError(f"{path}: no samples_TASK_DATE.jsonl there; the harness keeps them with --log_samples")
    results = _results(files[-1], path)
    reports: list[TaskReport] = []
    samples: list[Sample] = []
    for file in files:
        better = results.get("higher_is_better", {}).get(file.task, {})
        more = _read(file, better)
        reports += more.reports
        samples += more.samples
    return Log(_report(results, path, tuple(reports)), tuple(samples))


def _results(file: _File, asked: Path) -> dict[str, Any]:
    """The results file of the same run; nothing where it is gone."""
    path = asked if asked.name.startswith("results_") else file.path.with_name(f"results_{file.date}.json")
    data = read_json(path) if path.is_file() else {}
    if not isinstance(data, dict):
        raise broken(path, "it is no JSON object")
    return data


def _report(results: Mapping[str, Any], path: Path, tasks: tuple[TaskReport, ...]) -> Report:
    config = results.get("config") or {}
    model = str(results.get("model_name") or config.get("model") or (path if path.is_dir() else path.parent).name)
    seen = {key: config.get(key) for key in ("model", "model_args", "model_sha", "model_revision")}
    version = f"lm-evaluation-harness {results.get('lm_eval_version') or ''}".strip()
    engine = ", ".join(part for part in (version, text_of(config.get("model") or "")) if part)
    return Report(model, f"lm-eval:{fingerprint([model, seen])}", tasks, engine)


class _Read(NamedTuple):
    reports: list[TaskReport]
    samples: list[Sample]


def _read(file: _File, better: Mapping[str, bool]) -> _Read:
    values: dict[tuple[str, str], dict[str, float | None]] = {}
    content: dict[str, str] = {}
    samples = []
    for number, row in read_jsonl(file.path):
        try:
            item, answer = str(row["doc_id"]), _completion(row)
            content[item] = fingerprint([_doc(row), text_of(row.get("target"))])
            used = str(row.get("filter", NO_FILTER))
            metrics = row.get("metrics") or [key for key in row if key not in _KEYS | _HASHES]
            found = {str(metric): _value(row[metric]) for metric in metrics if metric != NOT_MEASURED}
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise broken(file.path, f"line {number}: {error!r}") from None
        for metric, value in found.items():
            part = values.setdefault((metric, used), {})
            if item in part:
                raise broken(file.path, f"line {number}: item {item} stands twice under {metric}, filter {used}")
            part[item] = value
            samples.append(_sample(file.task, metric, used, item, row, answer, value))
    if not values:
        raise EvaluateError(f"{file.path}: its lines hold no scores; run the harness without --predict_only")
    reports = [_task(file.task, metric, used, part, content, better) for (metric, used), part in values.items()]
    return _Read(reports, samples)


def _task(
    task: str,
    metric: str,
    used: str,
    values: Mapping[str, float | None],
    content: Mapping[str, str],
    better: Mapping[str, bool],
) -> TaskReport:
    direction: Better = "lower" if better.get(metric) is False else "higher"
    about = f"{metric} of {task}" + ("" if used == NO_FILTER else f", filter {used}")
    return task_report(_name(task, metric, used), values, content, about, direction)


def _name(task: str, metric: str, used: str) -> str:
    return plain_name(task, metric, "" if used == NO_FILTER else used)


def _doc(row: Mapping[str, Any]) -> str:
    """What the item is: the harness's own hash of it, or the document itself in older logs."""
    return str(row["doc_hash"]) if row.get("doc_hash") else json.dumps(row["doc"], sort_keys=True, default=str)


def _value(value: Any) -> float | None:
    """The value of one item: a number, or the mean of a list of truths (IFEval's instructions).

    None where it is neither, as the pairs of log-likelihood and length from which a perplexity is made.
    """
    if isinstance(value, list) and value and all(isinstance(each, bool) for each in value):
        return sum(value) / len(value)
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return float(value)
    return None


def _completion(row: Mapping[str, Any]) -> str:
    """The answer: the filtered text, or the most likely of the continuations that were priced."""
    found = row.get("filtered_resps") or row.get("resps") or [""]
    if all(isinstance(each, list) and len(each) == 2 for each in found):
        prices = [_number(each[0]) for each in found]
        return _argument(row, prices.index(max(prices)), 1).strip()
    first = found[0]
    while isinstance(first, list) and first:
        first = first[0]
    return text_of(first)


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return -math.inf


def _argument(row: Mapping[str, Any], request: int, place: int) -> str:
    """What the model was given: `{"gen_args_0": {"arg_0": ...}}`, or a list of lists in older logs."""
    arguments = row.get("arguments") or {}
    try:
        given = arguments[f"gen_args_{request}"] if isinstance(arguments, dict) else arguments[request]
        return text_of(given[f"arg_{place}"] if isinstance(given, dict) else given[place])
    except (KeyError, IndexError, TypeError):
        return ""


def _sample(
    task: str, metric: str, used: str, item: str, row: Mapping[str, Any], answer: str, value: float | None
) -> Sample:
    return Sample(
        task=_name(task, metric, used),
        item_id=item,
        cluster=item,
        prompt=_argument(row, 0, 0),
        expected=text_of(row.get("target") or ""),
        completion=answer,
        num_tokens=0,
        stopped=True,
        score=math.nan if value is None else value,
        explanation=f"{metric} of lm-evaluation-harness",
        rule=metric,
    )
