"""The page `loss.svg`: how the loss went, the validation beside it, by source and by part, and the learning rate."""

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.files import atomic_write
from tunesmith.plot import Points, line_chart, page

FILE = "loss.svg"
MOST_EPOCH_MARKS = 8
MOST_POINTS = 2000
UNIT = "nats a supervised token"
Lines = Sequence[Mapping[str, Any]]


def write_loss_plot(folder: Path, num_warmup: int = 0) -> Path | None:
    """Draw `folder/metrics.jsonl` into `folder/loss.svg`; None where there is nothing to draw yet."""
    lines = read_metrics(folder / "metrics.jsonl")
    if not _series(lines, "loss"):
        return None
    with atomic_write(folder / FILE) as file:
        file.write(loss_page(lines, num_warmup))
    return folder / FILE


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file, without a torn last one; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


def loss_page(lines: Lines, num_warmup: int = 0) -> str:
    """The page as SVG text: loss, then each source and each part where there are several, then the learning rate."""
    charts = [_loss_chart(lines, num_warmup)]
    for key, title in (("loss_by_source", "Loss by source"), ("loss_by_part", "Loss by part")):
        series = _groups(lines, key)
        if len(series) > 1:
            smooth = {name: smoothed(points) for name, points in series.items()}
            charts.append(line_chart(smooth, raw=series, title=title, x_label="step", y_label=UNIT, height=200))
    rate = _series(lines, "learning_rate")
    charts.append(line_chart({"": rate}, title="Learning rate", x_label="step", y_label="at the step", height=90))
    return page(charts)


def _loss_chart(lines: Lines, num_warmup: int) -> str:
    raw = _series(lines, "loss")
    series: dict[str, Points] = {"training": smoothed(raw)}
    validation = _series(lines, "validation_loss")
    if validation:
        series["validation"] = validation
    marks = _marks(lines, num_warmup, validation)
    return line_chart(series, raw={"training": raw}, marks=marks, title="Loss", x_label="step", y_label=UNIT)


def _marks(lines: Lines, num_warmup: int, validation: Points) -> dict[str, float]:
    """Where the warmup ends, epochs begin, and validation was best."""
    last = lines[-1]["step"]
    marks: dict[str, float] = {"warmup ends": num_warmup} if 0 < num_warmup < last else {}
    epochs = [(line["epoch"], line["step"]) for line in lines if "epoch" in line]
    begins = [(epoch, step) for (before, _), (epoch, step) in pairwise(epochs) if epoch > before]
    if len(begins) <= MOST_EPOCH_MARKS:
        marks |= {f"epoch {epoch + 1}": step for epoch, step in begins}
    if len(validation) > 1:
        marks["best validation"] = min(validation, key=lambda point: point[1])[0]
    return marks


def _series(lines: Lines, key: str) -> Points:
    return [(line["step"], line[key]) for line in lines if line.get(key) is not None]


def _groups(lines: Lines, key: str) -> dict[str, Points]:
    """The points of each name that occurs in a table of figures."""
    found: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        for name, value in (line.get(key) or {}).items():
            found.setdefault(name, []).append((line["step"], value))
    return {name: found[name] for name in sorted(found)}


def smoothed(points: Points) -> Points:
    """Each value becomes a mean of those around it, near ones counting more: without lag.

    The weights are a Gaussian whose width is a fiftieth of the points, cut at three times that; of many points,
    neighbors are averaged first. Values that are not finite are left out.
    """
    kept = np.array([point for point in points if math.isfinite(point[1])], np.float64).reshape(-1, 2)
    group = -(-len(kept) // MOST_POINTS)
    if group > 1:
        kept = np.array([part.mean(axis=0) for part in np.array_split(kept, len(kept) // group)])
    width = len(kept) / 50
    if width < 1:
        return [(x, y) for x, y in kept.tolist()]
    reach = math.ceil(3 * width)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    sums = np.convolve(kept[:, 1], weights)[reach:-reach]
    shares = np.convolve(np.ones(len(kept)), weights)[reach:-reach]
    return list(zip(kept[:, 0].tolist(), (sums / shares).tolist(), strict=True))
