"""What the study of training trains on and judges by: GSM8K (target), Self-Instruct (general), plain text.

Written once below one folder and equal for all models. What is judged by is never trained on: GSM8K has a test part;
of the others some are held out, with all that is nearly equal to them.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairs import Pair, conversation_of, draw, read_gsm8k, read_self_instruct, sort_out

from tunesmith.data import DataConfig, data, write_data
from tunesmith.errors import DataError
from tunesmith.files import file_digest, fingerprint, read_jsonl, write_jsonl
from tunesmith.render import Renderer

TEXTS = ("wiki_demo.txt", "c4_demo.jsonl")
TEXT_CHARACTERS = 600  # of each document only the beginning, about 130 tokens: a share of replay is then many of them
TRAINED = ("target", "general", "text")


@dataclass(frozen=True, slots=True)
class Data:
    """The files, and how much there is in them; conversations longer than `limit` tokens are dropped."""

    out: Path
    conversations: int
    items: int
    limit: int

    @property
    def judged(self) -> dict[str, DataConfig]:
        """The items of each measure."""
        names = {"target": "target-items/conversations", "general": "general/heldout", "text": "text/heldout"}
        return {key: DataConfig(paths=(str(self.out / f"{name}.jsonl"),)) for key, name in names.items()}

    def trained(self, name: str) -> DataConfig:
        """The conversations to train on of the target or of general, all texts for replay."""
        path = (self.out / name / "conversations.jsonl").resolve()
        return DataConfig(paths=(str(path),), max_conversations=None if name == "text" else self.conversations)

    def prepare(self, folder: Path, renderer: Renderer) -> dict[str, Any]:
        """Write them all from what `folder` holds; returns the facts that the plan and the results tell."""
        dropped = []

        def fitting(pairs: Sequence[Pair]) -> list[Pair]:
            kept, others = sort_out(pairs, lambda pair: renderer.render(conversation_of(pair)).num_tokens, self.limit)
            dropped.extend(others)
            return kept

        self._put("target", fitting(draw(read_gsm8k(folder, "train"), self.conversations)))
        self._put("target-items", fitting(draw(read_gsm8k(folder, "test"), self.items)))
        self._put("general", fitting(shuffled(read_self_instruct(folder))), self.items)
        self._put("text", shuffled(read_texts(folder)), self.items)
        write_jsonl(self.out / "dropped.jsonl", dropped)
        used = [*self.judged.values(), *(self.trained(name) for name in TRAINED)]
        return {
            "num_dropped": len(dropped),
            "tokens": {name: self._count(name, renderer) for name in ("target", "general")},
            "items": {key: sum(1 for _ in data(config)) for key, config in self.judged.items()},
            "digest": fingerprint([file_digest(Path(config.paths[0])) for config in used]),
        }

    def _put(self, name: str, records: Sequence[Pair], heldout: int = 0) -> None:
        """Write records as conversations, some of them held out."""
        write_jsonl(self.out / f"{name}.jsonl", records)
        write_data(DataConfig(paths=(str(self.out / f"{name}.jsonl"),), holdout=heldout), self.out / name)

    def _count(self, name: str, renderer: Renderer) -> int:
        """Tokens of one pass over what is trained on."""
        return sum(renderer.render(each).num_tokens for each in data(self.trained(name)))


def shuffled(records: Sequence[Pair]) -> list[Pair]:
    return random.Random(0).sample(list(records), len(records))


def read_texts(folder: Path) -> list[Pair]:
    """The beginnings of plain documents, as id and text; DataError where they are not there."""
    paths = [folder / "pretrain_text" / name for name in TEXTS]
    for path in paths:
        if not path.is_file():
            raise DataError(
                f"{path}: no such file. The study needs plain text there, one document a line, from the demo data of "
                "github.com/hiyouga/LLaMA-Factory; --data names the folder above"
            )
    articles = [line for line in paths[0].read_text(encoding="utf-8").split("\n") if line.strip()]
    documents = {f"wiki-{number}": line for number, line in enumerate(articles, 1)}
    documents |= {f"c4-{number}": raw["text"] for number, raw in read_jsonl(paths[1]) if raw["text"].strip()}
    return [{"id": name, "text": beginning(text)} for name, text in documents.items()]


def beginning(text: str, limit: int = TEXT_CHARACTERS) -> str:
    """The text up to the last end of a sentence, or else of a word, within `limit` characters."""
    text = text.strip()
    if len(text) <= limit:
        return text
    head = text[:limit]
    end = max(head.rfind(mark) for mark in (". ", "! ", "? ", ".\n"))
    return head[: end + 1] if end > 0 else head.rsplit(" ", 1)[0]
