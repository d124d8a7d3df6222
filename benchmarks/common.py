"""What benchmarks share: contestants in processes of their own, what is printed, and conversations.

A peer's environment runs this file too, so nothing but the standard library is imported on top.
"""

import itertools
import json
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

SAMPLE_SECONDS = 0.1
NUM_LINES_SHOWN = 30


Chat = list[dict[str, str]]


# Contestants


class Stopwatch:
    """Seconds that went by inside its `with` blocks, and the processor's: of this process, on all its threads, and of
    the processes that it started, once they have ended."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cpu_seconds = 0.0

    def __enter__(self) -> "Stopwatch":
        self._began = time.perf_counter(), cpu_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._began[0]
        self.cpu_seconds += cpu_seconds() - self._began[1]


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


class Ran(NamedTuple):
    """What a process said in its last line, a JSON object, and the most memory that it and its children held."""

    facts: dict[str, Any]
    peak_bytes: int


def run_apart(command: Sequence[object], environment: Mapping[str, str]) -> Ran:
    """Run a command in a process of its own, its memory watched from outside; ends this one where it fails."""
    from prepare import rss_of  # it imports tunesmith, which a peer's environment lacks

    peak_bytes = 0
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [str(each) for each in command], stdout=out, stderr=errors, text=True, env={**os.environ, **environment}
        )
        while process.poll() is None:
            peak_bytes = max(peak_bytes, round(sum(rss_of(process.pid).values()) * 1e6))
            time.sleep(SAMPLE_SECONDS)
        said, complaint = (_read(each) for each in (out, errors))
    if process.returncode:
        shown = "\n".join(complaint.splitlines()[-NUM_LINES_SHOWN:])
        raise SystemExit(f"{' '.join(map(str, command))}\nended with {process.returncode}:\n{shown}")
    return Ran(json.loads(said.splitlines()[-1]), peak_bytes)


def _read(file: Any) -> str:
    file.seek(0)
    return str(file.read())


def in_turns(contestants: Sequence[str], number: int) -> Sequence[str]:
    """The contestants of one round: every other round backward, so that none always follows the same one."""
    return contestants[:: 1 if number % 2 == 0 else -1]


def median_ratio(ones: Sequence[float], others: Sequence[float]) -> float:
    """The median over the rounds of the ratio within a round."""
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))


def machine(versions: Mapping[str, str]) -> dict[str, Any]:
    """The machine, how busy it is, and the versions of what ran on it."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "system": sys.platform,
        "python": platform.python_version(),
        **versions,
    }


def markdown(header: Mapping[str, str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; `header` maps each column's name to its alignment, `---` or `---:`."""
    lines = [list(header), list(header.values()), *rows]
    return "\n".join("| " + " | ".join(str(each) for each in line) + " |" for line in lines)


def write_results(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


# Data


def write_rows(path: Path, chats: Iterable[Chat]) -> None:
    """Conversations as the data stage writes them: the id first, the source last."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        for number, messages in enumerate(chats):
            record = {"id": f"c{number}", "messages": messages, "source": f"{path.name}:{number + 1}"}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    temporary.rename(path)


def gsm8k_chats(rows: list[dict[str, str]], seed: int) -> Iterator[Chat]:
    from prepare import varied

    return (one_turn(question, answer) for question, answer in varied(rows, seed))


def one_turn(question: str, answer: str) -> Chat:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def long_tailed_chats(rows: Sequence[dict[str, str]], seed: int) -> Iterator[Chat]:
    """One in five with a system message, three in ten of two to six turns; see `long_answer`."""
    sentences = [line for row in rows for line in row["answer"].splitlines()]
    for number in itertools.count():
        generator = random.Random(f"long-tailed {seed} {number}")
        system = generator.choice(sentences) if generator.random() < 0.2 else None
        num_turns = generator.randint(2, 6) if generator.random() < 0.3 else 1
        messages: Chat = [] if system is None else [{"role": "system", "content": system}]
        for _ in range(num_turns):
            messages += one_turn(generator.choice(rows)["question"], long_answer(sentences, generator))
        yield messages


def long_answer(sentences: Sequence[str], generator: random.Random) -> str:
    """Sentences up to a lognormal length: median 400 characters, one in a hundred beyond 6,500, at most 40,000."""
    size = min(generator.lognormvariate(5.99, 1.2), 40_000)
    chosen = [generator.choice(sentences)]
    while sum(map(len, chosen)) < size:
        chosen.append(generator.choice(sentences))
    return "\n".join(chosen)


def write_model(folder: Path, tokenizer: Path, template: Path, added: Sequence[str] = ()) -> Path:
    """A model folder without a model: a tokenizer, to which `added` tokens are added, and a template."""
    from tokenizers import AddedToken, Tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    backend = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    backend.add_tokens([AddedToken(name, special=False, normalized=False) for name in added])
    backend.save(str(folder / "tokenizer.json"))
    shutil.copyfile(tokenizer / "tokenizer_config.json", folder / "tokenizer_config.json")
    shutil.copyfile(template, folder / "chat_template.jinja")
    return folder
