"""Kept, lost, gained, still wrong: every item once, lost ones first."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.evaluate.flips import flips, flips_by_cluster
from tunesmith.types import Report, TaskReport

BITS = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 2)), min_size=1, max_size=20)


def report(values, clusters=None, better="higher", **more):
    scores = {f"i{number}": float(value) for number, value in enumerate(values)}
    named = dict(zip(scores, clusters or ["c"] * len(scores), strict=True))
    return Report("m", "d", (TaskReport("t", "x", scores, named, better, **more),))


def test_the_four_kinds_by_hand():
    [seen] = flips(report([1, 1, 0, 0]), report([1, 0, 1, 0]))
    assert (seen.kept, seen.lost, seen.gained, seen.still_wrong) == (("i0",), ("i1",), ("i2",), ("i3",))
    [lower] = flips(report([1, 1, 0, 0], better="lower"), report([1, 0, 1, 0], better="lower"))
    assert (lower.kept, lower.lost, lower.gained, lower.still_wrong) == (("i3",), ("i2",), ("i1",), ("i0",))


@given(BITS)
def test_every_item_stands_once_and_clusters_add_up(rows):
    base, tuned = (report([row[at] for row in rows], [str(row[2]) for row in rows]) for at in (0, 1))
    [whole] = flips(base, tuned)
    names = (*whole.lost, *whole.gained, *whole.still_wrong, *whole.kept)
    assert len(names) == len(set(names)) == len(rows) == whole.num_items
    parts = flips_by_cluster(base, tuned, "t")
    for kind in ("lost", "gained", "still_wrong", "kept"):
        assert sorted(getattr(whole, kind)) == sorted(item for part in parts for item in getattr(part, kind))
    lost = [len(part.lost) for part in parts]
    assert lost == sorted(lost, reverse=True)
    [back] = flips(tuned, base)
    assert (back.lost, back.gained) == (whole.gained, whole.lost)


def test_what_is_not_right_or_wrong_or_not_the_same_is_left_out():
    base = report([1, 0])
    others = [report([0.5, 0]), report([1, 0, 0]), Report("m", "d", ())]
    others.append(replace(base, tasks=(replace(base.tasks[0], items_digest="y"),)))
    for other in others:
        assert flips(base, other) == flips(other, base) == flips_by_cluster(base, other, "t") == ()
