"""Our own instructions about layout: lists, key and value lines, tables, fenced code, bare JSON."""

import re
from collections.abc import Sequence

from tunesmith.verify.instructions.findings import Finding, exactly, shown
from tunesmith.verify.instructions.shape import read_json

NUMBERED = re.compile(r"\s*([0-9]{1,4})[.)]\s+\S")
BULLET = re.compile(r"\s*[-*•]\s+\S")
RULE_CELL = re.compile(r":?-+:?")
BARE_NUMBER = re.compile(r"[-−+]?[0-9][0-9,]*(?:\.[0-9]+)?\.?")


def only_bullets(text: str, *, num_bullets: int) -> Finding:
    """Exactly so many bullet points, and no other line."""
    lines = _lines(text)
    if not all(BULLET.match(line) for line in lines):
        return Finding(False, "lines that are not bullet points")
    return exactly(len(lines), num_bullets, "bullet points")


def numbered_list(text: str, *, num_items: int) -> Finding:
    """Exactly the lines `1.` to so many in order, and no other line."""
    found = [NUMBERED.match(line) for line in _lines(text)]
    numbers = [int(match[1]) for match in found if match is not None]
    if len(numbers) < len(found):
        return Finding(False, "lines without a number in front")
    if numbers != list(range(1, len(numbers) + 1)):
        return Finding(False, "numbers out of order")
    return exactly(len(numbers), num_items, "numbered lines")


def comma_list(text: str, *, num_items: int) -> Finding:
    """One line with exactly so many things, a comma between each two."""
    lines = _lines(text)
    if len(lines) != 1:
        return Finding(False, f"{len(lines)} lines, not 1")
    items = [item.strip() for item in lines[0].split(",")]
    return exactly(len(items), num_items, "things with commas between") if all(items) else Finding(False, "a gap")


def key_value_lines(text: str, *, keys: Sequence[str]) -> Finding:
    """Exactly the lines `key: value` for these keys, in this order."""
    found = [line.strip().partition(":") for line in _lines(text)]
    if [key.strip().casefold() for key, _, _ in found] != [key.casefold() for key in keys]:
        return Finding(False, f"other lines than {', '.join(keys)}")
    empty = next((key for key, _, value in found if not value.strip()), None)
    return Finding(empty is None, "the lines asked for" if empty is None else f"no value after {shown(empty)}")


def json_keys(text: str, *, keys: Sequence[str]) -> Finding:
    """The whole text is one bare JSON object with exactly these keys, in any order."""
    value, problem = read_json(text.strip())
    if problem is not None or not isinstance(value, dict):
        return Finding(False, problem or "JSON, but no object")
    right = set(value) == set(keys)
    return Finding(right, f"{'the' if right else 'other'} keys {shown(', '.join(value))}")


def json_list(text: str, *, num_items: int) -> Finding:
    """The whole text is one bare JSON list with exactly so many entries."""
    value, problem = read_json(text.strip())
    if problem is not None or not isinstance(value, list):
        return Finding(False, problem or "JSON, but no list")
    return exactly(len(value), num_items, "entries")


def table(text: str, *, num_columns: int, num_rows: int) -> Finding:
    """The whole text is one markdown table with so many columns, and so many rows below the line under its head."""
    rows = [_cells(line) for line in _lines(text)]
    if any(cells is None for cells in rows):
        return Finding(False, "lines that are not rows of a table")
    cells = [row for row in rows if row is not None]
    if len(cells) < 2 or not all(RULE_CELL.fullmatch(cell) for cell in cells[1]):
        return Finding(False, "no line under the head of a table")
    if any(len(row) != num_columns for row in cells):
        return Finding(False, f"rows without {num_columns} columns")
    return exactly(len(cells) - 2, num_rows, "rows")


def csv_lines(text: str, *, num_columns: int, num_lines: int) -> Finding:
    """Exactly so many lines, each with so many fields and a comma between each two."""
    lines = _lines(text)
    if any(line.count(",") != num_columns - 1 for line in lines):
        return Finding(False, f"lines without {num_columns} fields")
    return exactly(len(lines), num_lines, "lines")


def code_block(text: str) -> Finding:
    """The whole text is one fenced block of code."""
    body = text.strip()
    right = body.startswith("```") and body.endswith("```") and body.count("```") == 2 and body.count("\n") >= 2
    return Finding(right, "one fenced block" if right else "not one fenced block alone")


def line_prefix(text: str, *, prefix: str) -> Finding:
    """Every line that is not blank begins with this."""
    lines = _lines(text)
    right = bool(lines) and all(line.lstrip().startswith(prefix) for line in lines)
    return Finding(right, f"{'every line begins' if right else 'not every line begins'} with {shown(prefix)}")


def bare_number(text: str, *, value: float | None = None) -> Finding:
    """The whole text is one number in digits; with `value`, that number."""
    body = text.strip()
    if len(body) > 40 or not BARE_NUMBER.fullmatch(body):
        return Finding(False, f"{shown(text)} is not one number")
    number = float(body.rstrip(".").replace(",", "").replace("−", "-"))
    right = value is None or number == value
    return Finding(right, f"the number {number:g}" + ("" if right else f", not {value:g}"))


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _cells(line: str) -> list[str] | None:
    body = line.strip()
    if len(body) < 2 or not (body.startswith("|") and body.endswith("|")):
        return None
    return [cell.strip() for cell in body[1:-1].split("|")]
