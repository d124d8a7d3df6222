"""Training speed: how many tokens a second, in how much memory, beside TRL on the same tokens?

The first `--conversations` of GSM8K's training part, rendered once by tunesmith (the loss on the answer), are trained
for one epoch by each contestant in a process of its own, in turns, `--rounds` times. Every contestant reads the same
tokens and loss weights, so none spends time on tokenizing, and all train exactly the same tokens. Rows hold up to
`--row-tokens` tokens, and a step has about 2,048. A run's rate is that of all its steps but the first.

    ours, full             every weight, bfloat16 with float32 masters
    ours, LoRA             rank 16 on all linear layers, bfloat16 with float32 masters
    TRL, bf16 weights      packing, weights in bfloat16: its fastest, at which small learning rates hardly move weights
    TRL, mixed             packing, `bf16=True` and float32 weights: the mathematics of `ours, full`
    TRL, LoRA              packing, peft's rank 16 on all linear layers, weights in bfloat16
    TRL, defaults          none of its options set but the device

`--search` first runs TRL's other options once each and prints them; the contestants above are the best found in such
searches (results/train.json keeps the list). `--losses` trains our batches also by a plain loop, one conversation at
a time, in float32 with bfloat16 autocast, and compares the losses step by step; and it compares the gradient of the
first batch with that of float32 throughout, by the cosine of all weights together and of each tensor.

The share of the machine's matrix rate counts what the mathematics asks for (`tunesmith.train.flops`: 6 operations a
token for each weight of the blocks, 4 where it is frozen, the head on supervised tokens, attention on what is seen);
the rate is that of the model's own matrix products in bfloat16, measured in the same run.

TRL wants an environment of its own:

    python -m venv trl-env
    trl-env/bin/pip install torch trl peft      # for a machine without a GPU, torch from PyTorch's CPU index
    python benchmarks/train.py --peer-python trl-env/bin/python
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import in_turns, machine, markdown, median_ratio, run_apart, write_results

from tunesmith.model import ModelConfig, model_folder

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "train.json"
SCRIPT = HERE / "train_contestants.py"
STEP_TOKENS = 2048


class Contestant(NamedTuple):
    """Who trains, and how."""

    kind: str
    options: Mapping[str, Any]


def contestants(row_tokens: int) -> dict[str, Contestant]:
    """Those of the table, by name."""
    a_step = max(1, STEP_TOKENS // row_tokens)
    packed = {
        "packing": True,
        "max_length": row_tokens,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": a_step,
        "optim": "adamw_torch_fused",
    }
    found = {
        "ours, full": Contestant("ours", {"method": "full", "dtype": "bfloat16"}),
        "ours, LoRA": Contestant("ours", {"method": "lora", "dtype": "bfloat16"}),
        "TRL, bf16 weights": trl(packed | {"bf16": False}, "bfloat16"),
        "TRL, mixed": trl(packed | {"bf16": True}, "float32"),
        "TRL, LoRA": trl(packed | {"bf16": False}, "bfloat16", "lora"),
        "TRL, defaults": trl({}, "float32"),
    }
    return found


def trl(arguments: Mapping[str, Any], dtype: str, method: str = "full", **load: Any) -> Contestant:
    return Contestant("trl", {"trl": dict(arguments), "dtype": dtype, "method": method, "load": load})


def searched(row_tokens: int) -> dict[str, Contestant]:
    """TRL's options that may change its speed here, one at a time from its fastest."""
    base = contestants(row_tokens)["TRL, bf16 weights"].options["trl"]
    half = {"max_length": row_tokens // 2, "gradient_accumulation_steps": base["gradient_accumulation_steps"] * 2}
    wide = {"per_device_train_batch_size": base["gradient_accumulation_steps"], "gradient_accumulation_steps": 1}
    changed: dict[str, Mapping[str, Any]] = {
        "one batch of all rows": wide,
        "rows half as long": half,
        "packing wrapped": {"packing_strategy": "wrapped"},
        "loss nll": {"loss_type": "nll"},
        "no packing, 8 a step": {
            "packing": False, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1
        },
        "recomputed activations off": {"gradient_checkpointing": False},
        "plain AdamW": {"optim": "adamw_torch"},
    }  # fmt: skip
    found = {name: trl(base | change, "bfloat16") for name, change in changed.items()}
    found["eager attention"] = trl(base, "bfloat16", attn_implementation="eager")
    found["as in the table"] = trl(base, "bfloat16")
    return found


# Data


class Data(NamedTuple):
    """The file that all contestants read, and what is in it."""

    path: Path
    lengths: Any
    num_supervised: int


def write_gsm8k(path: Path, source: Path, count: int, folder: Path) -> Data:
    """The first conversations of GSM8K as tokens and loss weights."""
    from tunesmith.render import renderer_for
    from tunesmith.types import Conversation, Message

    lines = source.read_text(encoding="utf-8").splitlines()[:count]
    renderer = renderer_for(folder)
    conversations = [
        Conversation(str(number), (Message("user", row["question"]), Message("assistant", row["answer"])))
        for number, row in enumerate(map(json.loads, lines))
    ]
    rendered = [renderer.render(each) for each in conversations]
    return _written(path, [each.tokens for each in rendered], [each.loss_weights for each in rendered])


def write_random(path: Path, count: int, num_ids: int, row_tokens: int) -> Data:
    """Conversations of random tokens, of which the second half is trained: for models with random weights."""
    generator = np.random.default_rng(0)
    sizes = np.clip(generator.lognormal(np.log(row_tokens / 8), 0.8, count), 16, row_tokens).astype(int)
    tokens = [generator.integers(3, num_ids, size).astype(np.int32) for size in sizes]
    return _written(path, tokens, [(np.arange(size) >= size // 2).astype(np.float32) for size in sizes])


def _written(path: Path, tokens: Sequence[Any], weights: Sequence[Any]) -> Data:
    lengths = np.array([each.size for each in tokens])
    np.savez(path, tokens=np.concatenate(tokens), weights=np.concatenate(weights), lengths=lengths)
    return Data(path, lengths, sum(int(np.count_nonzero(each)) for each in weights))


# Running


class Found(NamedTuple):
    """One run: tokens a second of all steps but the first, the losses, the memory, the versions."""

    tokens_per_second: float
    losses: list[float]
    peak_bytes: int
    versions: dict[str, str]


def run(contestant: Contestant, common: Mapping[str, Any], pythons: Mapping[str, Path]) -> Found:
    python = pythons["trl" if contestant.kind == "trl" else "ours"]
    with tempfile.TemporaryDirectory() as scratch:
        options = {**common, "scratch": scratch, **contestant.options}
        facts, _ = run_apart(
            [python, SCRIPT, contestant.kind, json.dumps(options)], {"TOKENIZERS_PARALLELISM": "false"}
        )
    timed = facts["steps"][1:] or facts["steps"]
    rate = sum(step[0] for step in timed) / sum(step[1] for step in timed)
    return Found(rate, [step[2] for step in facts["steps"]], facts["peak_bytes"], facts["versions"])


def matrix_rate(folder: Path, row_tokens: int, device: str) -> float:
    """Operations a second of the products of the model's own layers in bfloat16, forward and both backward ones."""
    import torch
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder)
    width, inner = config.hidden_size, config.intermediate_size
    head = width // config.num_attention_heads
    keys = head * config.num_key_value_heads
    shapes = [(width, width)] * 2 + [(width, keys)] * 2 + [(width, inner)] * 2 + [(inner, width)]
    operations = seconds = 0.0
    for before, after in shapes:
        x, w, y = (
            torch.randn(shape, dtype=torch.bfloat16, device=device)
            for shape in ((row_tokens, before), (before, after), (row_tokens, after))
        )
        for one, other in ((x, w), (y, w.T), (x.T, y)):
            operations += 2.0 * row_tokens * before * after
            seconds += min(_timed(lambda one=one, other=other: one @ other, device) for _ in range(7))
    return operations / seconds


def _timed(work: Any, device: str) -> float:
    import torch

    began = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def operations_per_token(folder: Path, data: Data, method: str) -> float:
    """What a non-pad token is worth: see `tunesmith.train.flops`."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from tunesmith.train.flops import training_flops

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    model.requires_grad_(method == "full")
    num_seen = int((data.lengths * (data.lengths + 1) // 2).sum())
    num_tokens = int(data.lengths.sum())
    return training_flops(model).of(num_tokens, data.num_supervised, num_seen) / num_tokens


# What was found


def table(rounds: Mapping[str, list[Found]], data: Data, folder: Path, rate: float) -> str:
    """One line a contestant: rates, ratios to TRL's fastest and to TRL's same mathematics, memory, share of the
    machine's matrix rate."""
    share = data.num_supervised / int(data.lengths.sum())
    rows = []
    for name, found in rounds.items():
        speeds = [each.tokens_per_second for each in found]
        method = "lora" if "LoRA" in name else "full"
        operations = operations_per_token(folder, data, method) * statistics.median(speeds)
        rows.append(
            [
                name,
                f"{statistics.median(speeds):,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f})",
                f"{statistics.median(speeds) * share:,.0f}",
                *(_ratio(speeds, rounds.get(other)) for other in ("TRL, bf16 weights", "TRL, mixed", "TRL, LoRA")),
                f"{max(each.peak_bytes for each in found) / 1e9:.2f} GB",
                f"{operations / rate:.0%}",
            ]
        )
    header = {
        "": "---", "non-pad tokens/s": "---:", "supervised tokens/s": "---:", "x TRL, bf16 weights": "---:",
        "x TRL, mixed": "---:", "x TRL, LoRA": "---:", "peak memory": "---:", "of the matrix rate": "---:",
    }  # fmt: skip
    return markdown(header, rows)


def _ratio(speeds: Sequence[float], others: Sequence[Found] | None) -> str:
    return f"{median_ratio(speeds, [each.tokens_per_second for each in others]):.2f}" if others else ""


def loss_table(found: Mapping[str, Found]) -> str:
    """The losses of each step, and how far each contestant is from the reference at most."""
    rows = []
    against = found["reference, mixed"].losses
    for name, each in found.items():
        furthest = max(abs(one - other) for one, other in zip(each.losses, against, strict=True))
        rows.append([name, " ".join(f"{loss:.4f}" for loss in each.losses), f"{furthest:.4f}"])
    return markdown({"": "---", "loss of each step": "---", "furthest from the reference": "---:"}, rows)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse_common(parser, conversations=64)
    parser.add_argument("--peer-python", type=Path, help="TRL's interpreter; without it, ours alone")
    parser.add_argument("--only", nargs="+", help="these contestants only")
    parser.add_argument("--search", action="store_true", help="TRL's other options, once each")
    parser.add_argument("--losses", action="store_true", help="our losses beside those of a plain loop")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


def parse_common(parser: argparse.ArgumentParser, conversations: int) -> None:
    """The options of what is trained."""
    parser.add_argument("--model", default=ModelConfig().name)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data" / "gsm8k" / "train.jsonl")
    parser.add_argument("--conversations", type=int, default=conversations)
    parser.add_argument("--row-tokens", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--random", choices=("1b", "8b"), help="a Llama-shaped model with random weights and tokens")
    parser.add_argument("--gradient-checkpointing", action="store_true", help="in ours; the 8B needs it")


def common_options(options: argparse.Namespace, folder: Path, data: Data) -> dict[str, Any]:
    """What every contestant is told."""
    return {
        "model": str(folder),
        "data": str(data.path),
        "device": options.device,
        "row_tokens": options.row_tokens,
        "batch_conversations": max(1, round(max(STEP_TOKENS, options.row_tokens) / float(data.lengths.mean()))),
        "gradient_checkpointing": options.gradient_checkpointing,
    }


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as scratch:
        folder, data = prepared(options, Path(scratch))
        common = common_options(options, folder, data)
        pythons = {"ours": Path(sys.executable), "trl": options.peer_python}
        rate = matrix_rate(folder, options.row_tokens, options.device)
        content = measured(options, common, pythons, data, folder, rate)
    write_results(options.out, content)


def prepared(options: argparse.Namespace, scratch: Path) -> tuple[Path, Data]:
    """The model's folder and the data."""
    if options.random:
        from train_random_model import VOCABULARY, random_model

        folder = random_model(options.random, scratch / "model", options.device)
        return folder, write_random(scratch / "data.npz", options.conversations, VOCABULARY, options.row_tokens)
    folder = model_folder(ModelConfig(name=options.model))
    return folder, write_gsm8k(scratch / "data.npz", options.data, options.conversations, folder)


def measured(
    options: argparse.Namespace,
    common: Mapping[str, Any],
    pythons: Mapping[str, Path],
    data: Data,
    folder: Path,
    rate: float,
) -> dict[str, Any]:
    """Everything that was asked for, printed as it is found, and the content of the results file."""
    chosen = {
        name: each
        for name, each in contestants(options.row_tokens).items()
        if (each.kind == "ours" or options.peer_python) and (not options.only or name in options.only)
    }
    content: dict[str, Any] = {
        "options": {name: str(value) for name, value in vars(options).items()},
        "num_tokens": int(data.lengths.sum()),
        "num_supervised": data.num_supervised,
        "matrix_rate": rate,
    }
    if options.search:
        found = {name: run(each, common, pythons) for name, each in searched(options.row_tokens).items()}
        content["search"] = {name: each.tokens_per_second for name, each in found.items()}
        print(markdown({"TRL": "---", "tokens/s": "---:"}, [[n, f"{v:,.0f}"] for n, v in content["search"].items()]))
    if options.losses:
        found = {"reference, mixed": run(Contestant("reference", {"autocast": True}), common, pythons)}
        found["ours, full"] = run(contestants(options.row_tokens)["ours, full"], common, pythons)
        content["losses"] = {name: each.losses for name, each in found.items()}
        print(f"{loss_table(found)}\n")
        facts, _ = run_apart([pythons["ours"], SCRIPT, "gradients", json.dumps(dict(common))], {})
        content["gradients"] = facts
        print(
            f"gradient of the first batch against float32: cosine {facts['cosine']:.5f}, of {facts['num_tensors']} "
            f"tensors the least {facts['least_cosine']:.4f} ({facts['least']}), norm x {facts['norm_ratio']:.4f}\n"
        )
    rounds: dict[str, list[Found]] = {name: [] for name in chosen}
    for number in range(options.rounds):
        for name in in_turns(list(chosen), number):
            rounds[name].append(run(chosen[name], common, pythons))
            print(f"round {number + 1}, {name}: {rounds[name][-1].tokens_per_second:,.0f} tokens/s", file=sys.stderr)
    versions = {key: value for found in rounds.values() for each in found for key, value in each.versions.items()}
    content["machine"] = machine(versions)
    content["rounds"] = {name: [each._asdict() for each in found] for name, found in rounds.items()}
    if rounds and options.rounds:
        print(f"{content['machine']}\nmatrix rate {rate / 1e9:,.0f} GFLOP/s in bfloat16\n")
        print(table(rounds, data, folder, rate))
    return content


if __name__ == "__main__":
    main()
