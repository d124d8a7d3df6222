"""Tables of answers: `# kind`, and below it one answer a line."""

from pathlib import Path


def read_table(path: Path) -> list[tuple[str, str]]:
    """All (kind, answer) of a table, in the order of the file."""
    rows, kind = [], ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            kind = line[2:]
        elif line:
            rows.append((kind, line))
    return rows
