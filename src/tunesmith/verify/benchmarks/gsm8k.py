"""GSM8K (Cobbe et al. 2021): grade-school mathematics; the answer follows `####`.

Records: `question`, and `answer` with the worked answer.
"""

from pathlib import Path

from tunesmith.errors import EvaluateError
from tunesmith.verify.benchmarks.records import read_records, wanted_text
from tunesmith.verify.items import Item, item_from_record

MARK = "####"
REQUEST = "Work it out step by step. Then write the final number on a line of its own, behind ####."


def read(path: Path) -> list[Item]:
    """Each question with a request to write the final number behind `####`, as the worked answers do."""
    items = []
    for number, (place, record) in enumerate(read_records(path)):
        question = wanted_text(record, ("question",), place).strip()
        _, mark, final = wanted_text(record, ("answer",), place).rpartition(MARK)
        if not mark or not final.strip():
            raise EvaluateError(f"{place}: the answer has no final number behind {MARK}")
        items.append(
            item_from_record(
                {
                    "id": f"gsm8k-{number}",
                    "cluster": "gsm8k",
                    "messages": [{"role": "user", "content": f"{question}\n\n{REQUEST}"}],
                    "answer": {"type": "number", "value": final.strip().replace(",", "")},
                },
                place,
            )
        )
    return items
