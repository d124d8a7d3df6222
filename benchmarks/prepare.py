"""From a data file to what training reads, at a million conversations: seconds, memory, and what is done only once.

    python benchmarks/prepare.py --data GSM8K/train.jsonl
    python benchmarks/prepare.py --data GSM8K/train.jsonl --conversations 20000 --work /big/disk

GSM8K's questions and worked answers are varied by a seeded rule, the same number always by the same other number and
the same name by the same other name within one conversation, until there are as many distinct ones as asked for.
Then, each in a process of its own whose memory is watched from outside:

    data          the file becomes conversations.jsonl
    render        these become tokens and loss weights; nothing was rendered before
    again         the same into another run folder: everything comes from the cache
    appended      the data and render stages once more, with 1% more conversations at the end
    killed        rendering with an empty cache, ended by SIGKILL once half of the shards are there
    resumed       the same run goes on
    open          the rendered folder is opened, and 10,000 conversations are read at random places
"""

import argparse
import hashlib
import json
import os
import platform
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith import __version__
from tunesmith.data import DataConfig, write_data
from tunesmith.files import StageFolder, write_json
from tunesmith.model import ModelConfig, tokenizer_folder
from tunesmith.render import RenderConfig, render, renderer_for
from tunesmith.render.bulk.rendered_file import RenderedFile

RESULTS = Path(__file__).resolve().parent / "results" / "prepare.json"
APPENDED_SHARE = 0.01
NUM_READ = 10_000
SAMPLE_SECONDS = 0.05
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
NAMES = re.findall(
    r"\w+",
    """
    Natalia Weng Betty Julie James Mark Albert Ken Alexis Tina Joy Tobias Randy Jasper Mary Janice Mike Sarah John Tom
    Anna Emily Lisa Peter David Carla Jenny Brian Steve Paul Kevin Linda Susan Karen Bob Alice Frank Maria Sam Lucy
    Jack Amy Eric Nina Oscar Ruth Hugo Ines Omar Petra Quinn Rosa Sven Tara Umar Vera Walt Xenia Yusuf Zoe
    """,
)
VARIED = re.compile(rf"\b(?:{'|'.join(NAMES)})\b|\d+")


@dataclass
class Measured:
    """One step: wall time of its whole process, and the memory of that and of its children at their peak."""

    name: str
    num_conversations: int
    seconds: float
    peak_parent_mb: float
    peak_all_mb: float
    facts: dict[str, Any] = field(default_factory=dict)


# The data


def write_source(path: Path, data: Path, first: int, count: int, seed: int) -> None:
    """Write conversations number `first` to `first + count` of the endless, distinct series that `seed` names."""
    rows = [json.loads(line) for line in data.open(encoding="utf-8")]
    with path.open("w", encoding="utf-8") as file:
        for number, (question, answer) in enumerate(varied(rows, seed)):
            if number >= first + count:
                return
            if number >= first:
                messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
                file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


def varied(rows: list[dict[str, str]], seed: int) -> Iterator[tuple[str, str]]:
    """Question and answer of every row, over and over, no two alike; the first time as they are."""
    seen: set[bytes] = set()
    attempt = 0
    while True:
        row = rows[attempt % len(rows)]
        texts = row["question"], row["answer"]
        pair = texts if attempt < len(rows) else other(texts, random.Random(f"{seed} {attempt}"))
        attempt += 1
        mark = hashlib.blake2b("\n".join(pair).encode(), digest_size=8).digest()
        if mark not in seen:
            seen.add(mark)
            yield pair


def other(texts: tuple[str, str], generator: random.Random) -> tuple[str, str]:
    """The same story with other names and numbers, of as many digits."""
    chosen: dict[str, str] = {}

    def replaced(match: re.Match[str]) -> str:
        word = match[0]
        if word not in chosen and word.isdigit():
            chosen[word] = str(generator.randrange(10 ** (len(word) - 1), 10 ** len(word)))
        return chosen.setdefault(word, generator.choice(NAMES))

    return VARIED.sub(replaced, texts[0]), VARIED.sub(replaced, texts[1])


# The steps, each in a process of its own


def do_data(source: str, out: str, holdout: str) -> dict[str, Any]:
    facts = write_data(DataConfig(paths=tuple(source.split(os.pathsep)), holdout=float(holdout)), Path(out))
    return {name: facts[name] for name in ("num_in", "num_out", "num_dropped", "num_heldout")}


def do_render(source: str, out: str, model: str) -> dict[str, Any]:
    config = RenderConfig()
    facts = render(config, renderer_for(Path(model), config), Path(source), StageFolder(Path(out), "render"))
    return {name: value for name, value in facts.items() if name != "ledger"}


def do_open(folder: str) -> dict[str, Any]:
    began = time.perf_counter()
    rendered = RenderedFile(Path(folder))
    opened = time.perf_counter()
    places = np.random.default_rng(0).integers(0, len(rendered), NUM_READ)
    num_tokens = sum(int(rendered[int(place)].tokens.sum() > 0) for place in places)
    read = time.perf_counter()
    return {"open_seconds": opened - began, "read_seconds": read - opened, "num_read": num_tokens}


STEPS: dict[str, Callable[..., dict[str, Any]]] = {"data": do_data, "render": do_render, "open": do_open}


# Watching


def rss_of(pid: int) -> dict[int, float]:
    """Resident megabytes of a process and of all that it started."""
    found: dict[int, float] = {}
    waiting = [pid]
    while waiting:
        each = waiting.pop()
        try:
            pages = int(Path(f"/proc/{each}/statm").read_text().split()[1])
            children = Path(f"/proc/{each}/task/{each}/children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[each] = pages * PAGE_BYTES / 1e6
        waiting += map(int, children)
    return found


def watched(
    name: str, count: int, cache: Path, *arguments: object, until: Callable[[], bool] | None = None
) -> Measured:
    """Run one step; with `until` it is killed as soon as that is so."""
    command = [sys.executable, __file__, "--step", *map(str, arguments)]
    began = time.perf_counter()
    environment = {**os.environ, "TUNESMITH_CACHE": str(cache)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    parent = total = 0.0
    while process.poll() is None:
        memory = rss_of(process.pid)
        parent, total = max(parent, memory.get(process.pid, 0.0)), max(total, sum(memory.values()))
        if until is not None and until():
            process.kill()
        time.sleep(SAMPLE_SECONDS)
    seconds = time.perf_counter() - began
    output = process.stdout.read() if process.stdout else ""
    if until is None and process.returncode:
        raise SystemExit(f"{name}: ended with {process.returncode}")
    facts = json.loads(output.splitlines()[-1]) if output.strip() else {"returncode": process.returncode}
    measured = Measured(name, count, round(seconds, 2), round(parent, 1), round(total, 1), facts)
    print(line_of(measured), flush=True)
    return measured


def line_of(each: Measured) -> str:
    notes = {
        name: each.facts[name] for name in ("num_shards_rendered", "num_shards", "num_tokens") if name in each.facts
    }
    notes |= {name: round(value, 3) for name, value in each.facts.items() if name.endswith("_seconds")}
    told = ", ".join(f"{name} {value:,}" for name, value in notes.items())
    rate = each.num_conversations / each.seconds
    return (
        f"{each.name:<10} {each.num_conversations:>9,} {each.seconds:>9.2f} {rate:>10,.0f}"
        f" {each.peak_parent_mb:>10,.0f} {each.peak_all_mb:>8,.0f}  {told}"
    )


def measure(data: Path, model: Path, work: Path, count: int, seed: int, holdout: float) -> list[Measured]:
    """All steps in order; what they leave in `work` goes at the end."""
    more = round(count * APPENDED_SHARE)
    source, extra = work / f"source-{count}-{seed}.jsonl", work / f"extra-{count}-{seed}.jsonl"
    for path, first, size in ((source, 0, count), (extra, count, more)):
        if not path.exists():
            print(f"writing {size:,} conversations to {path}", file=sys.stderr, flush=True)
            write_source(path.with_suffix(".tmp"), data, first, size, seed)
            path.with_suffix(".tmp").rename(path)
    shutil.rmtree(work / "runs", ignore_errors=True)
    run, cache, other_cache = work / "runs", work / "runs" / "cache", work / "runs" / "other-cache"
    conversations = run / "data" / "conversations.jsonl"
    print("step       conversat.   seconds   a second   MB parent   MB all", flush=True)
    found = [
        watched("data", count, cache, "data", source, run / "data", holdout),
        watched("render", count, cache, "render", conversations, run / "a", model),
        watched("again", count, cache, "render", conversations, run / "b", model),
    ]
    both = os.pathsep.join([str(source), str(extra)])
    found.append(watched("data+1%", count + more, cache, "data", both, run / "data-more", 0.0))
    appended = run / "data-more" / "conversations.jsonl"
    found.append(watched("appended", count + more, cache, "render", appended, run / "c", model))
    half = found[1].facts["num_shards"] // 2

    def is_half_done() -> bool:
        return sum(1 for _ in (other_cache / "rendered").glob("*/*.shard")) >= half

    killed = watched("killed", count, other_cache, "render", conversations, run / "d", model, until=is_half_done)
    killed.facts["num_shards_finished"] = sum(1 for _ in (other_cache / "rendered").glob("*/*.shard"))
    resumed = watched("resumed", count, other_cache, "render", conversations, run / "d", model)
    needed = resumed.facts["num_shards"] - killed.facts["num_shards_finished"]
    resumed.facts["num_shards_redone"] = resumed.facts["num_shards_rendered"] - needed
    found += [killed, resumed, watched("open", count, cache, "open", run / "a")]
    shutil.rmtree(run)
    return found


def machine() -> dict[str, Any]:
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": names[0] if names else platform.machine(),
        "num_cpus": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * PAGE_BYTES / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "tunesmith": __version__,
        **{name: version(name) for name in ("numpy", "tokenizers")},
    }


def main() -> None:
    if len(sys.argv) > 2 and sys.argv[1] == "--step":
        print(json.dumps(STEPS[sys.argv[2]](*sys.argv[3:])))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="GSM8K's train.jsonl, or the like")
    parser.add_argument("--model", type=Path, help="a folder with a tokenizer; by default that of smollm2-135m")
    parser.add_argument("--conversations", type=int, default=1_000_000)
    parser.add_argument("--holdout", type=float, default=0.0, help="held out by the data stage, as data.holdout")
    parser.add_argument("--work", type=Path, default=Path("prepare-work"), help="room for some gigabytes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    model = options.model or tokenizer_folder(ModelConfig())
    host = machine()
    print(", ".join(f"{name} {value}" for name, value in host.items()), flush=True)
    found = measure(
        options.data, model.resolve(), options.work.resolve(), options.conversations, options.seed, options.holdout
    )
    report = {"machine": host, "conversations": options.conversations, "holdout": options.holdout, "model": model.name}
    write_json(options.out, {**report, "steps": [asdict(each) for each in found]})
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
