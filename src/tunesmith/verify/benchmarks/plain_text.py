"""Plain text, priced as it stands: bits per byte, perplexity.

A `.jsonl` file has one document a line (`text`); each is an item, however long. A text file is cut into pieces of
about `PIECE` characters at line ends; the pieces together are the file, byte for byte, and each is priced by itself.
"""

from collections.abc import Iterator
from pathlib import Path

from tunesmith.errors import DataError, EvaluateError
from tunesmith.verify.benchmarks.records import read_records, wanted_text
from tunesmith.verify.items import Item, item_from_record

PIECE = 4000
RECORDS = (".jsonl", ".json", ".csv", ".tsv")


def read(path: Path) -> list[Item]:
    """The documents, or the pieces of one text, in file order."""
    if any(suffix in RECORDS for suffix in path.suffixes):
        texts = [wanted_text(record, ("text", "content", "document"), place) for place, record in read_records(path)]
    else:
        texts = list(pieces(_text_of(path)))
    name = path.name.split(".")[0]
    return [
        item_from_record(
            {"id": f"{name}-{number}", "cluster": name, "text": "", "answer": {"type": "text", "value": text}},
            str(path),
        )
        for number, text in enumerate(texts)
    ]


def pieces(text: str) -> Iterator[str]:
    """Stretches of whole lines of PIECE characters or a little more; a longer line is one piece."""
    piece: list[str] = []
    size = 0
    for line in text.splitlines(keepends=True):
        piece.append(line)
        size += len(line)
        if size >= PIECE:
            yield "".join(piece)
            piece, size = [], 0
    if piece:
        yield "".join(piece)


def _text_of(path: Path) -> str:
    try:
        # Not read as text: line ends would be changed, and bytes are counted.
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error})") from None
    if not text:
        raise EvaluateError(f"{path}: the file is empty")
    return text
