"""Reports made by hand."""

from dataclasses import replace

import numpy as np

from tunesmith.types import Report, TaskReport


def models(*pairs, noise=None):
    """(tuned, base) of (tuned task, base task) pairs."""
    tuned, base = (tuple(each[side] for each in pairs) for side in (0, 1))
    return Report("model-tuned", "tuned", tuned, noise=noise or {}), Report("model-base", "base", base)


def flipped(task, n, lost=0, gained=0, size=1, **fields):
    """A pass-or-fail task before and after; clusters of `size` items each. Lost items come first."""
    before = np.ones(n)
    before[n - gained :] = 0
    after = before.copy()
    after[:lost], after[n - gained :] = 0, 1
    return measured(task, after, before, size, **fields)


def measured(task, after, before, size=1, **fields):
    """Any values before and after."""
    ids = [f"item-{index:05d}" for index in range(len(before))]
    clusters = {each: f"cluster-{index // size}" for index, each in enumerate(ids)}
    made = TaskReport(task, "items-1", dict(zip(ids, map(float, after), strict=True)), clusters, **fields)
    return made, replace(made, scores=dict(zip(ids, map(float, before), strict=True)))


def skipped(task, reason, **fields):
    made = TaskReport(task, "items-1", {}, {}, skipped=reason, **fields)
    return made, made
