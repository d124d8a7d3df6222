"""Write general.jsonl from compact tables of hand-checked facts, one natural question for each.

Rebuild it with `python -m tunesmith.verify.sets.general`; the same bytes come out every time.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunesmith.verify.sets.general_facts import TABLES, WORDED

HERE = Path(__file__).resolve().parent
NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
TENS = (
    "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
)  # fmt: skip


def in_words(number: int) -> str | None:
    """A whole number up to one hundred in words."""
    if number <= 20:
        return NUMBERS[number]
    if number < 100:
        ten = TENS[number // 10 - 2]
        return f"{ten}-{NUMBERS[number % 10]}" if number % 10 else ten
    return "one hundred" if number == 100 else None


def arithmetic() -> Iterator[tuple[str, str]]:
    """Small sums whose result is not among their own numbers."""
    for a, b in (
        (2, 3),
        (4, 5),
        (6, 3),
        (7, 8),
        (9, 4),
        (10, 6),
        (12, 8),
        (15, 9),
        (25, 25),
        (11, 30),
        (6, 6),
        (50, 40),
    ):
        yield f"What is {a} plus {b}?", str(a + b)
    for a, b in ((9, 4), (10, 3), (8, 2), (15, 6), (20, 9), (13, 5), (100, 40), (30, 12), (17, 8), (50, 5)):
        yield f"What is {a} minus {b}?", str(a - b)
    for a, b in (
        (2, 6),
        (3, 4),
        (5, 5),
        (7, 3),
        (6, 8),
        (9, 9),
        (10, 7),
        (4, 8),
        (12, 2),
        (8, 5),
        (7, 7),
        (3, 9),
    ):
        yield f"What is {a} times {b}?", str(a * b)
    for a, b in ((10, 2), (12, 4), (20, 5), (30, 3), (18, 9), (24, 6), (50, 10), (16, 2)):
        yield f"What is {a} divided by {b}?", str(a // b)
    yield from (
        ("What is half of 18?", "9"),
        ("What is double 14?", "28"),
        ("What is the square root of 81?", "9"),
    )
    yield from (("What is the square of 6?", "36"), ("What number comes right after 99?", "100"))
    yield from (("What number comes right before 60?", "59"), ("What is 10 percent of 200?", "20"))


def facts() -> Iterator[tuple[str, str, str, list[str]]]:
    """Every fact as (cluster, question, answer, aliases)."""
    for cluster, form, rows in TABLES:
        for row in rows.strip().split("\n"):
            for cell in row.split(";"):
                subject, _, answers = cell.strip().partition(" = ")
                answer, *aliases = answers.split("|")
                yield cluster, form.format(subject), answer, aliases
    for question, answer in arithmetic():
        yield "arithmetic", question, answer, []
    for cluster, rows in WORDED.items():
        for row in rows.strip().split("\n"):
            question, _, answers = row.partition(" = ")
            answer, *aliases = answers.split("|")
            yield cluster, question, answer, aliases


def items() -> list[dict[str, Any]]:
    """The items in order, with a number's words added to its aliases."""
    rows = []
    for number, (cluster, question, answer, aliases) in enumerate(facts(), 1):
        if answer.isdigit() and (word := in_words(int(answer))):
            aliases = [*aliases, *dict.fromkeys((word, word.replace("-", " ")))]
        rows.append(
            {
                "id": f"general-{number:04d}",
                "split": "gate",
                "cluster": cluster,
                "tags": ["general"],
                "messages": [{"role": "user", "content": question}],
                "answer": {"type": "text", "value": answer, "aliases": aliases},
            }
        )
    return rows


def main() -> None:
    """Write the file."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in items())
    (HERE / "general.jsonl").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
