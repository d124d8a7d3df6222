"""Generation on the CPU: how many tokens a second beside transformers' `generate`, and does anything flip?

Prompts of GSM8K's test part, rendered once by tunesmith for SmolLM2-135M-Instruct in bfloat16, are answered greedily
with at most `--max-tokens` tokens by each contestant, in a process of its own, in turns, `--rounds` times:

    fixed                  the engine as evaluation uses it: answers do not depend on the prompts beside them
    free                   the engine with passes as long as what there is to pass
    transformers N         `generate` in batches of N, padded on the left, like lengths together

A rate is tokens written, stop tokens included, over the seconds from prompts as tokens to answers as tokens; loading
and a warm-up are not counted. Ratios are taken within a round, against transformers at the batch size that is its
fastest in the median. Agreement is the share of tokens that are the largest logit of the model in float32 behind the
same tokens. `other answers` counts prompts that a contestant answers otherwise than the first of its kind (batch size,
shapes): what company does.

    python benchmarks/generate.py --data ../shared/data/gsm8k/test.jsonl
    python benchmarks/generate.py --data ../shared/data/gsm8k/test.jsonl --certificate

`--certificate` asks the same again instead, in the mode `fixed`, and compares token ids: `--items` first sentences of
GSM8K's questions, answered with `--answer-tokens` tokens, `--repetitions` times, in five batch sizes, as many orders
as repetitions, one thread and all, a new process every three; the same by a random model in float32 with 16 tokens;
and 64 whole prompts with `--max-tokens` tokens in the five batch sizes.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from common import in_turns, machine, markdown, median_ratio, run_apart, write_results

from tunesmith.generate import Sampling
from tunesmith.generate.certificate import Certificate, Question, Run, Subject, certify
from tunesmith.model import ModelConfig, model_folder
from tunesmith.render import RenderConfig, Renderer, asking_renderer
from tunesmith.types import Message

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "generate.json"
CERTIFICATE = HERE / "results" / "certificate.json"
MODEL = "smollm2-135m"
RANDOM = "new:llama-1m"
OURS = ("fixed", "free")
BATCHES = (8, 16, 32, 64)
CERTIFIED_BATCHES = (8, 16, 32, 64, 128)
RUNS_A_PROCESS = 3
NUM_LONG = 64


def renderer_of(name: str) -> Renderer:
    return asking_renderer(model_folder(ModelConfig(name=name)), RenderConfig())


def questions(path: Path, count: int) -> list[str]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:count]]
    return [row["question"] for row in rows]


def tokens_of(renderer: Renderer, texts: Sequence[str]) -> list[list[int]]:
    return [renderer.prompt([Message("user", text)]).tolist() for text in texts]


# Speed


def speed(options: argparse.Namespace) -> dict[str, Any]:
    """Every contestant's seconds, memory and answers, by name and round."""
    renderer = renderer_of(MODEL)
    asked = {
        "model": MODEL,
        "prompts": tokens_of(renderer, questions(options.data, options.prompts)),
        "stops": list(renderer.stop_tokens),
        "max_tokens": options.max_tokens,
        "slots": options.slots,
    }
    names = [*OURS, *(f"transformers {batch}" for batch in options.batches)]
    found: dict[str, dict[str, Any]] = {name: {"rates": [], "seconds": [], "peak_bytes": []} for name in names}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "asked.json"
        path.write_text(json.dumps(asked))
        for number in range(options.rounds):
            for name in in_turns(names, number):
                _turn(name, path, found[name], number)
        judged, _ = run_apart([*command("judge", path), *(_file(path, name) for name in names)], {})
        first = {kind: _answers(path, names[place]) for kind, place in (("ours", 0), ("transformers", len(OURS)))}
        for name in names:
            kind = "ours" if name in OURS else "transformers"
            others = sum(one != other for one, other in zip(_answers(path, name), first[kind], strict=True))
            found[name] |= {"agreement": judged[str(_file(path, name))], "other_answers": others}
    return found


def command(name: str, path: Path) -> list[object]:
    return [sys.executable, HERE / "generate_contestants.py", name, path]


def _file(path: Path, name: str) -> Path:
    return path.parent / f"{name.replace(' ', '-')}.json"


def _answers(path: Path, name: str) -> list[list[int]]:
    return list(json.loads(_file(path, name).read_text()))


def _turn(name: str, path: Path, into: dict[str, Any], number: int) -> None:
    facts, peak_bytes = run_apart([*command(name, path), _file(path, name)], {})
    into["rates"].append(facts["num_tokens"] / facts["seconds"])
    into["seconds"].append(facts["seconds"])
    into["peak_bytes"].append(peak_bytes)
    into["engine"] = facts["engine"]
    print(f"round {number + 1}: {name}: {into['rates'][-1]:.0f} tokens/s, {peak_bytes / 1e9:.2f} GB", flush=True)


def best_of(found: Mapping[str, Any]) -> str:
    """The fastest of transformers' batch sizes."""
    peers = [name for name in found if name not in OURS]
    return max(peers, key=lambda name: statistics.median(found[name]["rates"]))


def speed_table(found: Mapping[str, Any]) -> str:
    best = best_of(found)
    header = {"contestant": "---", "tokens/s, median": "---:", f"x {best}": "---:", "peak memory, GB": "---:"}
    header |= {"agreement with float32": "---:", "other answers": "---:"}
    rows = [
        (
            name,
            f"{statistics.median(each['rates']):.0f}",
            f"{median_ratio(each['rates'], found[best]['rates']):.2f}",
            f"{max(each['peak_bytes']) / 1e9:.2f}",
            f"{each['agreement']['share']:.2%}",
            each["other_answers"],
        )
        for name, each in found.items()
    ]
    price = 1 - median_ratio(found["fixed"]["rates"], found["free"]["rates"])
    return markdown(header, rows) + f"\n\nFixed shapes cost {price:.1%} of the rate of free ones."


# The certificate


def runs_of(repetitions: int) -> list[Run]:
    """Batch sizes in turn, every run in an order of its own, processes with one thread and with all in turn."""
    threads = (1, os.cpu_count() or 1)
    places = [(number, number // RUNS_A_PROCESS) for number in range(repetitions)]
    sizes = [CERTIFIED_BATCHES[number % len(CERTIFIED_BATCHES)] for number, _ in places]
    return [
        Run(process, threads[process % 2], size, number) for (number, process), size in zip(places, sizes, strict=True)
    ]


def certificates(options: argparse.Namespace) -> dict[str, Certificate]:
    texts = questions(options.data, options.items)
    runs, few = runs_of(options.repetitions), runs_of(len(CERTIFIED_BATCHES))
    short = [text.split(". ")[0] for text in texts]
    parts = {
        "random model, float32, short prompts": (RANDOM, "float32", short, Sampling(16), runs),
        "whole prompts, long answers": (MODEL, "bfloat16", texts[:NUM_LONG], Sampling(options.max_tokens), few),
        "short prompts, short answers": (MODEL, "bfloat16", short, Sampling(options.answer_tokens), runs),
    }
    return {name: certified(name, *part) for name, part in parts.items()}


def certified(
    name: str, model: str, dtype: Any, texts: Sequence[str], sampling: Sampling, runs: Sequence[Run]
) -> Certificate:
    renderer = renderer_of(MODEL)  # the random model has the same tokenizer
    stops = tuple(renderer.stop_tokens)
    asked = [Question(np.array(tokens, np.int32), stops) for tokens in tokens_of(renderer, texts)]
    began = time.perf_counter()
    found = certify(Subject(ModelConfig(name=model, dtype=dtype)), asked, sampling, runs)
    took = time.perf_counter() - began
    print(f"{name}: {found.num_item_runs:,} item-runs, {found.num_flips} flips, {took:.0f} s", flush=True)
    return found


def certificate_table(found: Mapping[str, Certificate]) -> str:
    header = {"part": "---", "engine": "---", "item-runs": "---:", "flips": "---:", "rate below, 95 %": "---:"}
    header |= {"batch sizes": "---", "orders": "---:", "threads": "---", "processes": "---:", "smallest gap": "---:"}
    rows = [
        (
            name,
            each.engine,
            f"{each.num_item_runs:,}",
            each.num_flips,
            f"{each.flip_rate_below:.2g}",
            ", ".join(map(str, each.batch_sizes)),
            each.num_orders,
            ", ".join(map(str, each.threads)),
            each.num_processes,
            f"{each.fragile[0][1]:.3g}",
        )
        for name, each in found.items()
    ]
    return markdown(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="GSM8K's test.jsonl")
    parser.add_argument("--certificate", action="store_true")
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--answer-tokens", type=int, default=4)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    facts = machine({name: version(name) for name in ("torch", "transformers")})
    print(", ".join(f"{name} {value}" for name, value in facts.items()) + "\n", flush=True)
    asked = {name: str(value) for name, value in vars(options).items() if name != "out"}
    content: dict[str, Any] = {"machine": facts, "options": asked}
    if options.certificate:
        found = certificates(options)
        print("\n" + certificate_table(found))
        write_results(options.out or CERTIFICATE, {**content, "parts": {n: c.to_noise() for n, c in found.items()}})
        return
    measured = speed(options)
    print("\n" + speed_table(measured))
    write_results(options.out or RESULTS, {**content, "contestants": measured})


if __name__ == "__main__":
    main()
