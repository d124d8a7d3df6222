"""Classification: one of a fixed set of labels. By price (scorer `choice`), or by what is written (scorer `label`).

Records: `text`, `sentence`, `utterance` or `question`, and `label` or `intent`; or CLINC150's own file (Larson et al.
2019), an object of lists of [text, label], of which `test` and `oos_test` are read. The labels are those of the file.
"""

import json
from pathlib import Path
from typing import Any

from tunesmith.errors import EvaluateError
from tunesmith.files import open_text
from tunesmith.verify.benchmarks.records import read_records, wanted, wanted_text
from tunesmith.verify.items import Item, item_from_record

TEXTS, LABELS = ("text", "sentence", "utterance", "question"), ("label", "intent", "category")
CLINC_PARTS = ("test", "oos_test")
REQUEST = "Which of these labels fits the text below? Answer with the label alone."


def read(path: Path) -> list[Item]:
    """Each text behind the list of all labels, which all prompts have in common; clusters are labels."""
    pairs = _clinc(path) or [
        (place, wanted_text(record, TEXTS, place), str(wanted(record, LABELS, place)))
        for place, record in read_records(path)
    ]
    labels = sorted({label for _, _, label in pairs})
    if len(labels) < 2:
        raise EvaluateError(f"{path}: classification needs two labels or more; there is {', '.join(labels) or 'none'}")
    listed = ", ".join(labels)
    return [
        item_from_record(
            {
                "id": f"text-{number}",
                "cluster": label,
                "messages": [{"role": "user", "content": f"{REQUEST}\n\nLabels: {listed}\n\nText: {text.strip()}"}],
                "choices": labels,
                "answer": {"type": "label", "value": label},
            },
            place,
        )
        for number, (place, text, label) in enumerate(pairs)
    ]


def _clinc(path: Path) -> list[tuple[str, str, str]]:
    """The test part of CLINC150's file; nothing where the file is another."""
    if ".json" not in path.suffixes or not path.is_file():
        return []
    with open_text(path) as file:
        try:
            found: Any = json.load(file)
        except ValueError:  # whoever reads it next says what is wrong with it
            return []
    if not isinstance(found, dict) or "test" not in found:
        return []
    return [
        (f"{path}: {part}[{number}]", str(text), str(label))
        for part in CLINC_PARTS
        for number, (text, label) in enumerate(found.get(part, []))
    ]
