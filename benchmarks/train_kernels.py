"""Kernels: what does each one of `tunesmith.train.kernels` bring to a training step on the CPU?

Contestants are torch's operations alone, then with the memory that a step frees kept for the next one
(`tunesmith.train.memory`), then with one kernel after the other added, in the order of the table. All
share a process, a model, an optimizer and the same rows, and take one optimizer step each, in turns, `--rounds` times
after a first round that is not counted; every other round goes backward. Compared are the processor's seconds of the
step (`--clock wall` for the clock's), by the median over the rounds of the ratio within a round.

    python benchmarks/train_kernels.py
    python benchmarks/train_kernels.py --method lora --threads 1 --row-tokens 512 --conversations 3
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from common import in_turns, machine, markdown, median_ratio, write_results
from train_contestants import LEARNING_RATE, read_conversations

from train import write_gsm8k
from tunesmith import __version__
from tunesmith.model import ModelConfig, model_folder
from tunesmith.model.load import load_model
from tunesmith.pack import PackConfig, pack
from tunesmith.train import TrainConfig
from tunesmith.train.adapter import prepare
from tunesmith.train.attention import attention_name
from tunesmith.train.head import find_head
from tunesmith.train.kernels import PARTS, kernels_in
from tunesmith.train.memory import kept_memory
from tunesmith.train.objectives.supervised import Supervised
from tunesmith.train.optim import make_optimizer
from tunesmith.train.plan import make_plan
from tunesmith.train.schedule import Schedule
from tunesmith.train.step import Engine, train_step
from tunesmith.types import Batch, Rendered, Stream

RESULTS = Path(__file__).resolve().parent / "results" / "train_kernels.json"
CONTESTANTS = {
    "torch alone": (),
    "+ kept memory": (),
    **{f"+ {part}": PARTS[: number + 1] for number, part in enumerate(PARTS)},
}


class Turn(NamedTuple):
    """One step of one contestant."""

    seconds: float
    cpu_seconds: float
    loss: float


def read_batches(options: argparse.Namespace, scratch: Path) -> Stream[Batch]:
    """All conversations, as one step."""
    data = write_gsm8k(scratch / "data.npz", options.data, options.conversations, model_folder(ModelConfig()))
    rendered = [Rendered(f"c{number}", *each) for number, each in enumerate(read_conversations(data.path))]
    return pack(PackConfig(batch_conversations=options.conversations, row_tokens=options.row_tokens), rendered, 1.0)


def make_engine(options: argparse.Namespace, batches: Stream[Batch], scratch: Path) -> Engine:
    asked = ModelConfig(dtype="bfloat16")
    config = TrainConfig(method=options.method, learning_rate=LEARNING_RATE)
    model = prepare(load_model(asked, attention=attention_name(torch.device("cpu"))), config)
    plan = make_plan(config, asked, model_folder(asked), batches)
    optimizer = make_optimizer(model, config.optimizer)
    schedule = Schedule(config.schedule, plan.num_steps, plan.num_warmup, plan.learning_rate)
    return Engine(plan, model, optimizer, schedule, Supervised(), scratch)


def take_turn(engine: Engine, batch: Batch, parts: tuple[str, ...]) -> Turn:
    """One step with these kernels; putting them in place is not timed."""
    choice = "auto" if parts else "off"
    base = engine.model.get_base_model() if hasattr(engine.model, "get_base_model") else engine.model
    with kernels_in(base, choice, parts=parts) as kernels:
        if kernels.note or (parts and kernels.kind != "native"):
            raise SystemExit(kernels.note or "the kernels do not serve this model")
        head = find_head(engine.model, engine.plan.config.loss.chunk_tokens, kernels.loss)
        engine.optimizer.native = kernels.gradients
        engine = replace(engine, objective=Supervised(engine.plan.config.loss, head))
        began, cpu_began = time.perf_counter(), time.process_time()
        step = train_step(engine, batch, 0)
        return Turn(time.perf_counter() - began, time.process_time() - cpu_began, step.metrics["loss"])


def play(options: argparse.Namespace) -> tuple[dict[str, list[Turn]], Batch]:
    """The turns of each contestant, the first round left out."""
    turns: dict[str, list[Turn]] = {name: [] for name in CONTESTANTS}
    with tempfile.TemporaryDirectory() as scratch:
        batches = read_batches(options, Path(scratch))
        engine = make_engine(options, batches, Path(scratch))
        (batch,) = batches
        for number in range(options.rounds + 1):
            for name in in_turns(list(CONTESTANTS), number):
                with nullcontext() if name == "torch alone" else kept_memory(torch.device("cpu")):
                    turn = take_turn(engine, batch, CONTESTANTS[name])
                print(f"round {number}  {name:15} {turn.cpu_seconds:6.2f} CPU s  {turn.seconds:6.2f} s", flush=True)
                if number:
                    turns[name].append(turn)
    return turns, batch


def table(turns: dict[str, list[Turn]], batch: Batch, clock: str) -> tuple[list[dict[str, Any]], str]:
    """A line a contestant: how fast beside torch alone, and beside the line above."""
    seconds = {name: [getattr(each, clock) for each in found] for name, found in turns.items()}
    names = list(seconds)
    rows = []
    for above, name in zip([names[0], *names], names, strict=False):
        rows.append(
            {
                "kernels": name,
                "tokens_per_second": batch.num_tokens / statistics.median(seconds[name]),
                "beside_torch": median_ratio(seconds[names[0]], seconds[name]),
                "beside_the_line_above": median_ratio(seconds[above], seconds[name]),
            }
        )
    header = {
        "kernels": "---",
        f"tokens/{'CPU ' * (clock == 'cpu_seconds')}s": "---:",
        "x torch": "---:",
        "alone": "---:",
    }
    return rows, markdown(header, list(_shown(rows)))


def _shown(rows: list[dict[str, Any]]) -> Iterator[list[str]]:
    for row in rows:
        yield [
            row["kernels"],
            f"{row['tokens_per_second']:.0f}",
            f"{row['beside_torch']:.2f}",
            f"{row['beside_the_line_above']:.2f}",
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/gsm8k/train.jsonl"))
    parser.add_argument("--conversations", type=int, default=9, help="of one step")
    parser.add_argument("--row-tokens", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--method", choices=("full", "lora"), default="full")
    parser.add_argument("--threads", type=int, help="of torch; by default as many as there are cores")
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    before = machine({"tunesmith": __version__, "torch": torch.__version__, "transformers": transformers.__version__})
    turns, batch = play(options)
    rows, shown = table(turns, batch, "cpu_seconds" if options.clock == "cpu" else "seconds")
    print(
        f"\n{batch.num_tokens} tokens in {len(batch.rows)} rows, {options.method}, {options.rounds} rounds\n\n{shown}"
    )
    asked = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    raw = {name: [each._asdict() for each in found] for name, found in turns.items()}
    write_results(options.out, {"machine": before, "options": asked, "table": rows, "turns": raw})


if __name__ == "__main__":
    main()
