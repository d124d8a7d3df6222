"""report: two models on the same items as one page that needs nothing else: no network, no script, no fonts.

rows      each line of the comparison, from a verdict or from two reports alone
forest    the paired differences against their margins
panel     the alignment tax as small multiples
flips     kept, lost and gained items, with what was answered before and after
words     hostile text made harmless; what differs between two answers
page      all of it as one file
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tunesmith.files import atomic_write
from tunesmith.report.rows import Row, judged, unjudged
from tunesmith.types import Report, Sample, Verdict

PAGE = "report.html"


@dataclass(frozen=True, slots=True)
class Story:
    """What a page tells: two reports, the line of each task, and where known the verdict, the answers and the lineage.

    The reports are those that people may see: sealed tasks without values. `confidence` is the one-sided level of
    every interval in `rows`. `lineage` is what was made from what, in words.
    """

    base: Report
    tuned: Report
    rows: tuple[Row, ...]
    confidence: float
    verdict: Verdict | None = None
    base_samples: Sequence[Sample] = ()
    tuned_samples: Sequence[Sample] = ()
    lineage: Mapping[str, str] = field(default_factory=dict)


def write_page(path: Path, story: Story) -> Path:
    """Write the page; returns its path."""
    from tunesmith.report.page import html_page

    with atomic_write(path) as file:
        file.write(html_page(story))
    return path


__all__ = ["PAGE", "Row", "Story", "judged", "unjudged", "write_page"]
