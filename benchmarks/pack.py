"""Packing at full size: how long until every conversation has its row, how full are the rows, how much memory?

Lengths of a long-tailed mix (four of five around 150 tokens, one around 600, both lognormal, drawn with `--seed`,
capped at the row) are packed for each `--row-tokens`, by ours and by TRL, the same file of lengths for both:

    ours, whole       best-fit decreasing over all lengths at once (`tunesmith.pack.best_fit_decreasing`)
    ours, full_rows   an epoch of the layout `full_rows`: shuffled, buffer by buffer, rows in a seeded order
    TRL, one call     its `_pack_bfd` on one table of all conversations
    TRL, mapped       its `pack_dataset` as its trainer calls it, which packs each 1,000 conversations by themselves

Each begins with the lengths and ends with the conversations of each row. Ours leaves tokens where they are: rows are
put together when they are trained. TRL copies them, so it is given tokens of one byte, and the work that both do is
told apart as `placing`: of TRL's one call the time outside of Arrow's functions, of ours until each conversation has
the number of its row. Each runs in a process of its own, in turns; peak memory is the whole process's. Placing and
ratios are of the processor's seconds, on all threads, which other work on the machine disturbs least.

TRL needs memory for every token, so it runs at `--peer-count`, and so does ours; ours alone also runs at `--count`.
It wants an environment of its own:

    python -m venv trl-env
    trl-env/bin/pip install torch trl            # for a machine without a GPU, torch from PyTorch's CPU index
    python benchmarks/pack.py --peer-python trl-env/bin/python
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

RESULTS = Path(__file__).resolve().parent / "results" / "pack.json"
OURS = ("ours, whole", "ours, full_rows")
PEERS = ("TRL, one call", "TRL, mapped")


class Found(NamedTuple):
    """What one process found. `placing` are the processor's seconds until all had their rows, where told apart."""

    seconds: float
    cpu_seconds: float
    num_rows: int
    peak_bytes: int
    version: str
    placing: float | None = None


class Line(NamedTuple):
    """One packer at one size, over all rounds."""

    packer: str
    count: int
    row_tokens: int
    fill: float
    rounds: list[Found]


def draw_lengths(count: int, row_tokens: int, seed: int) -> Any:
    """Tokens of each conversation, int64 [count]."""
    generator = np.random.default_rng(seed)
    is_long = generator.random(count) < 0.2
    drawn = np.where(
        is_long, generator.lognormal(np.log(600), 0.8, count), generator.lognormal(np.log(150), 0.9, count)
    )
    return np.clip(drawn, 8, row_tokens).astype(np.int64)


class Clock:
    """Seconds that went by, and seconds of the processor that this process took, on all its threads."""

    def __init__(self) -> None:
        self.began = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self.began[0], time.process_time() - self.began[1]


# The packers, each in a process of its own


def ours_whole(lengths: Any, row_tokens: int) -> Found:
    from tunesmith import __version__
    from tunesmith.pack import best_fit_decreasing

    clock = Clock()
    bins = best_fit_decreasing(lengths, row_tokens)
    _, placing = clock.read()
    _, num_members = np.argsort(bins, kind="stable"), np.bincount(bins)  # the conversations of each row, row by row
    return Found(*clock.read(), num_members.size, peak_bytes(), __version__, placing)


def ours_full_rows(lengths: Any, row_tokens: int) -> Found:
    from tunesmith import __version__
    from tunesmith.pack import PackConfig
    from tunesmith.pack.full_rows import fill_rows
    from tunesmith.pack.pieces import PieceTable
    from tunesmith.pack.steps import epoch_order

    config = PackConfig(layout="full_rows", row_tokens=row_tokens)
    table = PieceTable(lengths, lengths, np.arange(lengths.size + 1))
    clock = Clock()
    rows = fill_rows(config, table, epoch_order(lengths.size, 0, 0), 0)
    return Found(*clock.read(), rows.starts.size - 1, peak_bytes(), __version__)


def token_table(lengths: Any) -> Any:
    """The conversations as TRL wants them: lists of tokens, here of one byte each."""
    import pyarrow

    ends = np.append(0, np.cumsum(lengths))
    lists = pyarrow.LargeListArray if ends[-1] >= 2**31 else pyarrow.ListArray
    offsets = pyarrow.array(ends, pyarrow.int64() if ends[-1] >= 2**31 else pyarrow.int32())
    return pyarrow.table({"input_ids": lists.from_arrays(offsets, pyarrow.array(np.zeros(int(ends[-1]), np.int8)))})


class Timed:
    """A module whose functions' seconds of the processor are added up."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.cpu_seconds = 0.0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(self.module, name)

        def timed(*arguments: Any, **options: Any) -> Any:
            clock = Clock()
            result = function(*arguments, **options)
            self.cpu_seconds += clock.read()[1]
            return result

        return timed


def trl_one_call(lengths: Any, row_tokens: int) -> Found:
    import trl
    from trl import data_utils

    table = token_table(lengths)
    data_utils._pack_bfd(token_table(lengths[:10]), row_tokens)
    arrow = data_utils.pc = Timed(data_utils.pc)
    clock = Clock()
    packed = data_utils._pack_bfd(table, row_tokens)
    seconds, cpu_seconds = clock.read()
    return Found(seconds, cpu_seconds, len(packed), peak_bytes(), trl.__version__, cpu_seconds - arrow.cpu_seconds)


def trl_mapped(lengths: Any, row_tokens: int) -> Found:
    import datasets
    import trl
    from trl.data_utils import pack_dataset

    datasets.disable_progress_bars()
    pack_dataset(datasets.Dataset(token_table(lengths[:10])), row_tokens, "bfd")  # its imports are not its work
    data = datasets.Dataset(token_table(lengths))
    clock = Clock()
    packed = pack_dataset(data, row_tokens, "bfd")
    return Found(*clock.read(), len(packed), peak_bytes(), trl.__version__)


def peak_bytes() -> int:
    """Peak memory of this process; Linux counts in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


PACKERS = dict(zip((*OURS, *PEERS), (ours_whole, ours_full_rows, trl_one_call, trl_mapped), strict=True))


# The rounds, and what comes of them


def run_packer(packer: str, python: str, path: Path, row_tokens: int) -> Found:
    """One packer in a process of its own."""
    environment = {**os.environ, "HF_DATASETS_CACHE": str(path.parent), "HF_HUB_OFFLINE": "1"}
    command = [python, __file__, "--packer", packer, "--lengths", str(path), "--row-tokens", str(row_tokens)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{packer} ended with {done.returncode}:\n{done.stderr}")
    return Found(**json.loads(done.stdout.splitlines()[-1]))


def compare(options: argparse.Namespace, row_tokens: int, folder: Path) -> list[Line]:
    """All packers in turns, `rounds` times."""
    sizes: dict[str, tuple[int, ...]] = dict.fromkeys(OURS, (options.peer_count, options.count))
    if options.peer_python:
        sizes |= dict.fromkeys(PEERS, (options.peer_count,))
    found: dict[tuple[str, int], list[Found]] = {}
    for count in {options.peer_count, options.count}:
        np.save(folder / f"{count}.npy", draw_lengths(count, row_tokens, options.seed))
    for _ in range(options.rounds):
        for packer, counts in sizes.items():
            for count in dict.fromkeys(counts):
                python = options.peer_python if packer in PEERS else sys.executable
                result = run_packer(packer, python, folder / f"{count}.npy", row_tokens)
                found.setdefault((packer, count), []).append(result)
                print(f"{packer}, {count:,} in rows of {row_tokens}: {result.seconds:.2f} s", file=sys.stderr)
    totals = {count: int(np.load(folder / f"{count}.npy").sum()) for count in {count for _, count in found}}
    return [
        Line(packer, count, row_tokens, totals[count] / (rounds[0].num_rows * row_tokens), rounds)
        for (packer, count), rounds in sorted(found.items(), key=lambda each: each[0][1])
    ]


def ratio_to(ours: Line, other: Line) -> str:
    """The median over the rounds of how many times more `other` took than `ours`; of its placing in brackets."""
    pairs = list(zip(ours.rounds, other.rounds, strict=True))
    whole = statistics.median(b.cpu_seconds / a.cpu_seconds for a, b in pairs)
    if pairs[0][1].placing is None or other is ours:
        return f"{whole:,.1f}"
    return f"{whole:,.1f} ({statistics.median((b.placing or 0) / a.cpu_seconds for a, b in pairs):,.1f})"


def table(lines: Sequence[Line]) -> str:
    """A Markdown table of medians; the ratio is to `ours, whole` of as many conversations."""
    text = [
        "| row tokens | conversations | packer | rows | fill | seconds | CPU seconds | placing | peak memory |"
        " ratio (placing) |",
        "|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for line in lines:
        ours = next(each for each in lines if each[:3] == (OURS[0], line.count, line.row_tokens))
        text.append(
            f"| {line.row_tokens} | {line.count:,} | {line.packer} | {line.rounds[0].num_rows:,} | {line.fill:.3%} | "
            f"{median(line, 'seconds')} | {median(line, 'cpu_seconds')} | {median(line, 'placing')} | "
            f"{max(each.peak_bytes for each in line.rounds) / 1e9:.2f} GB | {ratio_to(ours, line)} |"
        )
    return "\n".join(text)


def median(line: Line, name: str) -> str:
    """The median of a figure over the rounds; empty where it was not measured."""
    seen = [getattr(found, name) for found in line.rounds]
    return "" if None in seen else f"{statistics.median(seen):.2f}"


def machine(lines: Sequence[Line]) -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        found = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in found if line.startswith("model name")), cpu)
    versions = {line.packer.split(",")[0]: line.rounds[0].version for line in lines}
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "tunesmith": versions["ours"],
        **({"trl": versions["TRL"]} if "TRL" in versions else {}),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000_000, help="conversations for ours")
    parser.add_argument("--peer-count", type=int, default=1_000_000, help="conversations for TRL, and for ours too")
    parser.add_argument("--peer-python", help="the python of an environment with trl; left out: ours alone")
    parser.add_argument("--row-tokens", type=int, nargs="+", default=[2048, 4096])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--packer", choices=PACKERS, help=argparse.SUPPRESS)
    parser.add_argument("--lengths", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.packer:
        found = PACKERS[options.packer](np.load(options.lengths), options.row_tokens[0])
        return print(json.dumps(found._asdict()))
    lines: list[Line] = []
    load_before = os.getloadavg()[0]
    for row_tokens in options.row_tokens:
        with tempfile.TemporaryDirectory() as folder:
            lines += compare(options, row_tokens, Path(folder))
    facts = {**machine(lines), "load_before": load_before}
    print(", ".join(f"{name} {value}" for name, value in facts.items()) + "\n\n" + table(lines))
    asked = {name: getattr(options, name) for name in ("count", "peer_count", "row_tokens", "rounds", "seed")}
    results = [{**line._asdict(), "rounds": [found._asdict() for found in line.rounds]} for line in lines]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": facts, "options": asked, "results": results}
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
