"""What the model says while it trains: greedy answers to a fixed set of prompts, side by side over time, as a probe.

`samples.jsonl` has one line for each answer; `samples.md` shows one prompt a section, one step a line.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunesmith.errors import ConfigError
from tunesmith.files import atomic_write, read_jsonl, write_jsonl
from tunesmith.generate import Prompt, Sampling
from tunesmith.generate.local import LocalGenerator
from tunesmith.render import Renderer
from tunesmith.train.config import SamplesConfig
from tunesmith.types import Message

LINES, PAGE = "samples.jsonl", "samples.md"


class Samples:
    """A probe that gives no number and writes answers into a folder."""

    name = "samples"
    higher_is_better = True

    def __init__(self, config: SamplesConfig, renderer: Renderer, folder: Path) -> None:
        self.every_steps = config.every_steps
        self._prompts = read_prompts(config)
        self._asked = [Prompt((Message("user", prompt),)) for prompt in self._prompts]
        self._sampling = Sampling(max_tokens=config.max_tokens)
        self._renderer = renderer
        self._folder = folder

    def __call__(self, step: int, model: Any) -> None:
        with plain_attention(model):
            generator = LocalGenerator(lambda: model, self._renderer, "", shapes="free")
            answers = generator.generate(self._asked, self._sampling)
        new = [
            {"step": step, "prompt": prompt, "completion": each.text, "stopped": each.stopped}
            for prompt, each in zip(self._prompts, answers, strict=True)
        ]
        lines = [*self._before(step), *new]
        write_jsonl(self._folder / LINES, lines)
        with atomic_write(self._folder / PAGE) as file:
            file.write(page_of(self._prompts, lines))

    def _before(self, step: int) -> list[dict[str, Any]]:
        """Earlier answers; those of steps that a resumed training does again are made anew."""
        if not (self._folder / LINES).exists():
            return []
        return [line for _, line in read_jsonl(self._folder / LINES) if line["step"] < step]


def read_prompts(config: SamplesConfig) -> tuple[str, ...]:
    """The prompts of the config, then those of its file, one a line. Raises ConfigError where the file has none."""
    if config.path is None:
        return config.prompts
    try:
        lines = Path(config.path).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"train.samples.path = {config.path}: cannot be read as text ({error})") from None
    found = tuple(line.strip() for line in lines if line.strip())
    if not found:
        raise ConfigError(f"train.samples.path = {config.path}: holds no prompt; give one a line")
    return (*config.prompts, *found)


@contextmanager
def plain_attention(model: Any) -> Iterator[None]:
    """The attention of generation, which has a cache and knows no rows, in place of that of training."""
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    before = whole.config._attn_implementation
    try:
        whole.set_attn_implementation("sdpa")
    except ValueError:  # a family without it
        whole.set_attn_implementation("eager")
    try:
        yield
    finally:
        whole.set_attn_implementation(before)


def page_of(prompts: Sequence[str], lines: Sequence[dict[str, Any]]) -> str:
    """A Markdown page: one prompt a section, one step a line."""
    parts = ["# Samples\n"]
    for number, prompt in enumerate(prompts, 1):
        rows = [f"| {line['step']} | {_cell(line)} |" for line in lines if line["prompt"] == prompt]
        parts.append(f"## {number}. {_plain(prompt)}\n\n| step | answer |\n|---:|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _cell(line: dict[str, Any]) -> str:
    return _plain(line["completion"]) + ("" if line["stopped"] else " ...")


def _plain(text: str) -> str:
    """Model text as one line that Markdown shows literally."""
    escaped = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    for mark in "\\`*_{}[]<>#|":
        escaped = escaped.replace(mark, f"\\{mark}" if mark != "<" else "&lt;")
    return escaped
