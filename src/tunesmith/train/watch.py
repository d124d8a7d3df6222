"""What a person sees of a training while it goes on: figures of every step, files beside them, and a plot at the end.

Nothing here changes training: a watched and an unwatched run have the same weights.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from tunesmith.train.conversation_losses import ConversationLosses
from tunesmith.train.flops import training_flops
from tunesmith.train.loss_plot import read_metrics, write_loss_plot
from tunesmith.train.machine import linear_shapes, matmul_rate, memory_bytes
from tunesmith.train.metrics import loss_by_part, loss_by_source, visits
from tunesmith.train.plan import Plan
from tunesmith.train.probe import VALIDATION_LOSS
from tunesmith.train.step import Step
from tunesmith.train.trackers import Trackers
from tunesmith.types import Batch


class Watch:
    """Sees every step of one training in `folder`; use as a context manager.

    `step` is where this process begins; `metrics.jsonl` and `conversation_losses.jsonl` reach exactly so far.
    `num_devices` share the work.
    """

    def __init__(self, plan: Plan, model: Any, folder: Path, step: int, num_visits: int, num_devices: int = 1) -> None:
        self._plan, self._folder, self._num_devices = plan, folder, num_devices
        self._device = next(model.parameters()).device
        self._dtype = getattr(torch, plan.dtype)
        self._flops = training_flops(model)
        self._shapes = linear_shapes(model)
        self._rate: float | None = None
        before = (read_metrics(folder / "metrics.jsonl") or [{}])[-1]
        self._seen = {name: int(before.get(name, 0)) for name in ("tokens_seen", "supervised_seen")}
        self._losses = ConversationLosses(folder, num_visits)
        config = plan.config.model_dump(mode="json") | {"num_steps": plan.num_steps}
        self._trackers = Trackers(plan.config.trackers, config, folder, step)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._losses)
            stack.enter_context(self._trackers)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)
        try:
            write_loss_plot(self._folder, self._plan.num_warmup)
        except OSError:  # a full disk may be what ended training: say that, not this
            if error[0] is None:
                raise

    def see(self, step: Step, measured: Mapping[str, float]) -> dict[str, Any]:
        """The figures of a step, its own first, and what probes measured after it; they also go to the trackers, and
        its conversations to their file."""
        rows = list(zip(step.batch.rows, step.losses, strict=True))
        figures = {**step.metrics, **measured, **self._throughput(step), "memory_bytes": memory_bytes(self._device)}
        for name, table in (("loss_by_source", loss_by_source(rows)), ("loss_by_part", loss_by_part(rows))):
            if table:
                figures[name] = table
        self._losses.add(step.number + 1, visits(rows))
        self._trackers.log(step.number + 1, figures)
        return figures

    def _throughput(self, step: Step) -> dict[str, Any]:
        batch, seconds = step.batch, step.metrics["seconds"]
        self._seen["tokens_seen"] += batch.num_tokens
        self._seen["supervised_seen"] += batch.num_supervised
        num_seen = sum(int(row.positions.sum(dtype=np.int64)) + row.num_tokens for row in batch.rows)
        worth = self._flops.of(batch.num_tokens, batch.num_supervised, num_seen)
        rate = self._matmul_rate(batch)
        share = {"matmul_share": worth / seconds / (rate * self._num_devices)} if rate else {}
        return {"supervised_per_second": batch.num_supervised / seconds, **self._seen, **share}

    def _matmul_rate(self, batch: Batch) -> float:
        """Measured at the first step, with as many rows as its largest micro-batch has tokens, to a power of two."""
        if self._rate is None:
            largest = max(row.num_tokens for row in batch.rows)
            self._rate = matmul_rate(self._shapes, 1 << (largest - 1).bit_length(), self._dtype, self._device)
        return self._rate


def shown(figures: Mapping[str, Any]) -> dict[str, str | float]:
    """What stands on the console line, the most important first: a narrow terminal shows fewer."""
    share = figures.get("matmul_share")
    return {
        "loss": figures["loss"],
        **({"validation": figures[VALIDATION_LOSS]} if VALIDATION_LOSS in figures else {}),
        "lr": figures["learning_rate"],
        "tok/s": round(figures["tokens_per_second"]),
        "trained/s": round(figures["supervised_per_second"]),
        **({} if share is None else {"matmul": f"{share:.0%}"}),
        "mem": f"{figures['memory_bytes'] / 1e9:.1f} GB",
    }
