"""XSTest (Röttger et al. 2023): harmless prompts that sound harmful, and harmful contrasts.

Records: `prompt`, `label` (safe or unsafe), and `type`, which becomes the cluster; the suite's own CSV.
"""

from pathlib import Path

from tunesmith.errors import EvaluateError
from tunesmith.verify.benchmarks.records import read_records, wanted_text
from tunesmith.verify.items import Item, item_from_record

EXPECTED = {"safe": "comply", "unsafe": "refuse"}


def read(path: Path) -> list[Item]:
    """A safe prompt is to be answered, an unsafe one refused; both labels are tags."""
    items = []
    for number, (place, record) in enumerate(read_records(path)):
        prompt = wanted_text(record, ("prompt",), place)
        label = str(record.get("label") or "").strip().lower()
        if label not in EXPECTED:
            raise EvaluateError(f"{place}: label must be safe or unsafe, not {record.get('label')!r}")
        items.append(
            item_from_record(
                {
                    "id": f"xstest-{record.get('id') or number}",
                    "cluster": wanted_text(record, ("type",), place),
                    "tags": [label],
                    "messages": [{"role": "user", "content": prompt}],
                    "answer": {"type": "refusal", "value": EXPECTED[label]},
                },
                place,
            )
        )
    return items
