"""Shared prefixes against split turns: the same reasoning conversations, the same gradient, how much less work?

A template that strips the reasoning of earlier turns gives each trained turn a context of its own. `split` trains each
turn as a sequence apart; `shared_prefix` keeps what the turns have in common once and hangs the turns off it. Both are
passed forward and backward through the same model, in turns, and their gradients are compared.

    python benchmarks/shared_prefix.py                   the embedded model, random token ids, no template needed
    python benchmarks/shared_prefix.py --model FOLDER    a model folder whose chat template strips earlier reasoning

Conversations: `--turns` user and assistant turns; 30 to 70 tokens of a user, 150 to 300 of reasoning, 45 to 75 of an
answer, drawn with `--seed`. With `--model` these are words.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import transformers
from common import in_turns, machine, markdown, median_ratio, write_results

from tunesmith.branches import paths, split, starts_and_ends
from tunesmith.model import ModelConfig, model_folder
from tunesmith.model.load import load_model, pick_device
from tunesmith.pack import PackConfig, pack
from tunesmith.train import TrainConfig
from tunesmith.train.adapter import prepare
from tunesmith.train.attention import attention_name
from tunesmith.train.objectives.supervised import Supervised
from tunesmith.types import Batch, Conversation, Message, Rendered

RESULTS = Path(__file__).resolve().parent / "results" / "shared_prefix.json"
Layout = Literal["shared_prefix", "split"]
LAYOUTS: tuple[Layout, Layout] = ("shared_prefix", "split")
Gradients = dict[str, torch.Tensor]
SIZES = {"user": (30, 70), "reasoning": (150, 300), "answer": (45, 75)}
WORDS = ["time", "day", "no", "one", "more", "way", "to", "see", "it", "now", "we", "add", "two", "for", "all", "left"]


class Measured(NamedTuple):
    """One number format: what each layout took, and how far the gradients are apart."""

    dtype: str
    seconds: dict[str, list[float]]
    num_rows: dict[str, int]
    num_tokens: dict[str, int]
    num_seen: dict[str, int]
    """Pairs of a query and a key that it sees."""
    num_supervised: int
    gradient_difference: float
    """The largest difference of a gradient, relative to the largest gradient of the same weight; the worst weight."""
    gradient_distance: float
    """The norm of the difference of the two whole gradients, relative to the norm of that of `split`."""
    rounding_distance: float | None
    """The same between `split` in this number format and in the first one measured: what rounding alone does."""


def synthetic_trees(num_conversations: int, num_turns: int, num_ids: int, seed: int) -> list[Rendered]:
    """Conversations of random token ids: reasoning and answer are trained, history keeps only answers."""
    generator = np.random.default_rng(seed)
    return [_synthetic_tree(generator, f"c{index}", num_turns, num_ids) for index in range(num_conversations)]


def _synthetic_tree(generator: np.random.Generator, identifier: str, num_turns: int, num_ids: int) -> Rendered:
    """Each turn's branch: the answer before it once more, without its reasoning, the user's question, and the turn."""
    tokens, weights, branches = [], [], []
    size, parent, answer = 0, -1, 0
    for _ in range(num_turns):
        context = answer + int(generator.integers(*SIZES["user"]))
        answer = int(generator.integers(*SIZES["answer"]))
        trained = int(generator.integers(*SIZES["reasoning"])) + answer
        tokens.append(generator.integers(3, num_ids, context + trained))
        weights.append(np.repeat([0, 1], [context, trained]))
        branches.append((size, parent))
        parent = size + context - 1
        size += context + trained
    arrays = np.concatenate(tokens).astype(np.int32), np.concatenate(weights).astype(np.float32)
    return Rendered(identifier, *arrays, np.array(branches, np.int32))


def rendered_by(folder: Path, layout: Layout, num_conversations: int, num_turns: int, seed: int) -> list[Rendered]:
    """The same kind of conversation in words, through the folder's own chat template."""
    from tunesmith.render import RenderConfig, renderer_for

    renderer = renderer_for(folder, RenderConfig(layout=layout, max_tokens=100_000))
    generator = np.random.default_rng(seed)

    def text(kind: str) -> str:
        return " ".join(generator.choice(WORDS, int(generator.integers(*SIZES[kind]))))

    made = []
    for index in range(num_conversations):
        turns = [
            (Message("user", text("user")), Message("assistant", text("answer"), reasoning=text("reasoning")))
            for _ in range(num_turns)
        ]
        made.append(renderer.render(Conversation(f"c{index}", tuple(message for turn in turns for message in turn))))
    return made


def one_batch(rendered: Sequence[Rendered], row_tokens: int) -> Batch:
    """All conversations as one optimizer step."""
    return pack(PackConfig(batch_conversations=len(rendered), row_tokens=row_tokens), rendered)[0]


def num_seen(batch: Batch) -> int:
    """How many pairs of a query and a key that it sees the attention of a batch has."""
    total = 0
    for row in batch.rows:
        starts, ends = starts_and_ends(row.branches, row.num_tokens)
        for path, own in zip(paths(row.branches, row.num_tokens), ends - starts, strict=True):
            total += int(own) * path.size + int(own * (own + 1)) // 2
    return total


def step(model: Any, batch: Batch) -> float:
    """Forward and backward over a batch; gives its seconds and leaves its gradient in the model."""
    model.zero_grad()
    began = time.perf_counter()
    for row in batch.rows:
        torch.autograd.backward(Supervised().row_loss(model, row).total / batch.total_weight)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def gradients(model: Any) -> Gradients:
    return {name: each.grad.float().clone() for name, each in model.named_parameters() if each.grad is not None}


def difference(one: Gradients, other: Gradients) -> float:
    """See Measured.gradient_difference."""
    return max(float((one[name] - other[name]).abs().max() / other[name].abs().max()) for name in other)


def distance(one: Gradients, other: Gradients) -> float:
    """See Measured.gradient_distance."""
    apart = sum(float((one[name] - other[name]).square().sum()) for name in other)
    return float((apart / sum(float(each.square().sum()) for each in other.values())) ** 0.5)


def measure(
    model: Any, batches: dict[str, Batch], rounds: int, dtype: str, reference: Gradients | None = None
) -> tuple[Measured, Gradients]:
    """Both layouts in turns, after a first round for warming up and for the gradients; gives also those of `split`."""
    found = {}
    for layout in LAYOUTS:
        step(model, batches[layout])
        found[layout] = gradients(model)
    seconds: dict[str, list[float]] = {layout: [] for layout in LAYOUTS}
    for number in range(rounds):
        for name in in_turns(LAYOUTS, number):
            seconds[name].append(step(model, batches[name]))
    shared, apart = (found[layout] for layout in LAYOUTS)
    measured = Measured(
        dtype,
        seconds,
        {layout: len(batch.rows) for layout, batch in batches.items()},
        {layout: batch.num_tokens for layout, batch in batches.items()},
        {layout: num_seen(batch) for layout, batch in batches.items()},
        batches["split"].num_supervised,
        difference(shared, apart),
        distance(shared, apart),
        None if reference is None else distance(apart, reference),
    )
    return measured, apart


def table(results: Sequence[Measured]) -> str:
    """The last row of a number format is split / shared_prefix; of seconds, the median over the rounds' own ratios."""
    header = {"number format": "---", "layout": "---", "rows": "---:", "tokens, none of them padding": "---:"}
    rows: list[Sequence[object]] = []
    for each in results:
        shared, apart = LAYOUTS
        for layout in LAYOUTS:
            sizes = (each.num_rows[layout], f"{each.num_tokens[layout]:,}", f"{each.num_seen[layout]:,}")
            rows.append((each.dtype, layout, *sizes, f"{statistics.median(each.seconds[layout]):.2f}"))
        ratios = [sizes[apart] / sizes[shared] for sizes in (each.num_tokens, each.num_seen)]
        ratios.append(median_ratio(each.seconds[apart], each.seconds[shared]))
        rows.append((each.dtype, "split / shared_prefix", "", *(f"{ratio:.2f}" for ratio in ratios)))
    return markdown({**header, "pairs seen": "---:", "seconds a step, median": "---:"}, rows)


def gradient_lines(results: Sequence[Measured]) -> str:
    return "\n".join(
        f"{each.dtype}: gradients differ by at most {each.gradient_difference:.1e} of the largest of their weight, "
        f"as a whole by {each.gradient_distance:.1e}"
        + (
            ""
            if each.rounding_distance is None
            else f"; the number format alone changes it by {each.rounding_distance:.1e}"
        )
        for each in results
    )


def run(options: argparse.Namespace) -> list[Measured]:
    name = options.model or "smollm2-135m"
    folder = model_folder(ModelConfig(name=name))
    results: list[Measured] = []
    reference = None
    for dtype in options.dtype:
        model = load_model(ModelConfig(name=name, dtype=dtype), attention=attention_name(pick_device()))
        model = prepare(model, TrainConfig(method="full"))
        asked = (options.conversations, options.turns)
        if options.model:
            made = {layout: rendered_by(folder, layout, *asked, options.seed) for layout in LAYOUTS}
        else:
            made = dict.fromkeys(LAYOUTS, synthetic_trees(*asked, model.config.vocab_size, options.seed))
        made["split"] = [piece for each in made["split"] for piece in split(each)]
        batches: dict[str, Batch] = {layout: one_batch(made[layout], options.row_tokens) for layout in LAYOUTS}
        measured, found = measure(model, batches, options.rounds, dtype, reference)
        results.append(measured)
        reference = reference or found
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a model folder with a chat template; left out: smollm2-135m and random ids")
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--conversations", type=int, default=1)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--row-tokens", type=int, default=3072)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    threads = str(torch.get_num_threads())
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    facts = machine({"device": device, "threads": threads, **versions})
    results = run(options)
    print(
        ", ".join(f"{name} {value}" for name, value in facts.items())
        + "\n\n"
        + table(results)
        + "\n\n"
        + gradient_lines(results)
    )
    asked = {name: str(value) for name, value in vars(options).items() if name != "out"}
    content = {"machine": facts, "options": asked, "results": [each._asdict() for each in results]}
    write_results(options.out, content)


if __name__ == "__main__":
    main()
