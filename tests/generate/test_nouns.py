"""The nouns of generation and evaluation that others build on."""

import math

from tunesmith.files import to_plain
from tunesmith.generate import Completion
from tunesmith.types import Report, TaskReport

TASK = TaskReport("sums", "d", {"a": 1.0, "b": 0.0}, {"a": "x", "b": "y"}, facts={"macro_f1": 0.5})


def test_a_report_goes_through_json_and_back():
    skipped = TaskReport("code", "e", {}, {}, "higher", "", "programs", "task", skipped="no sandbox here")
    report = Report("base", "digest", (TASK, skipped), "local batches of 64", {"flips": 0})
    assert Report.from_dict(to_plain(report)) == report


def test_what_was_not_measured_has_no_mean():
    empty = TaskReport("code", "e", {}, {}, skipped="no sandbox here")
    assert math.isnan(empty.mean) and not empty.is_binary and empty.by_cluster() == {}
    assert TASK.mean == 0.5 and TASK.is_binary


def test_a_cluster_is_a_report_of_its_own():
    parts = TASK.by_cluster()
    assert parts["x"].scores == {"a": 1.0} and parts["x"].facts == {}


def test_tokens_that_an_engine_does_not_tell_are_counted_by_it():
    assert Completion("four", (5, 6), True).num_tokens == 2
    assert Completion("four", (), True, num_unseen=3).num_tokens == 3
