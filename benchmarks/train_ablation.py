"""What each technique of training brings: the table of `train.py`'s `ours, full` grown one technique a row.

The first row trains as a plain loop does: every conversation a pass of its own, logits of all tokens at once in
float32, attention by torch's fused kernel, one weight after the other moved. Each row below adds one technique to all
those above it. All rows train the same tokens in the same steps, in processes of their own, in turns; a row's gain is
the median over the rounds of its rate over that of the row above, and of the first row.

    python benchmarks/train_ablation.py                  # results/train_ablation.json
    python benchmarks/train_ablation.py --device cuda --random 1b
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import in_turns, machine, markdown, median_ratio, write_results

from train import Contestant, Found, common_options, parse_common, prepared, run

RESULTS = Path(__file__).resolve().parent / "results" / "train_ablation.json"

# In the order in which they are added; the names of what `train_contestants.ours` can do without.
TECHNIQUES = {
    "packing": "several conversations in a row, without a leak",
    "supervised_head": "logits of trained tokens alone",
    "chunked_head": "loss and gradients of the head in chunks",
    "stacked_attention": "attention of short conversations as plain products, query heads stacked",
    "fused_optimizer": "AdamW of all weights in one call",
    "kernels": "kernels of our own for norms, gates, rotation and softmax",
}


def table(rounds: dict[str, list[Found]]) -> str:
    rows, above, first = [], None, None
    for name, found in rounds.items():
        speeds = [each.tokens_per_second for each in found]
        first = first or speeds
        rows.append(
            [
                TECHNIQUES.get(name, name),
                f"{statistics.median(speeds):,.0f}",
                f"{median_ratio(speeds, above):.2f}" if above else "",
                f"{median_ratio(speeds, first):.2f}",
                f"{max(each.peak_bytes for each in found) / 1e9:.2f} GB",
            ]
        )
        above = speeds
    header = {
        "added": "---", "non-pad tokens/s": "---:", "x the row above": "---:", "x a plain loop": "---:",
        "peak memory": "---:",
    }  # fmt: skip
    return markdown(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse_common(parser, conversations=36)
    parser.add_argument("--method", choices=("full", "lora"), default="full")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    names = list(TECHNIQUES)
    steps = {"a plain loop": names} | {name: names[number + 1 :] for number, name in enumerate(names)}
    rounds: dict[str, list[Found]] = {name: [] for name in steps}
    with tempfile.TemporaryDirectory() as scratch:
        folder, data = prepared(options, Path(scratch))
        common = common_options(options, folder, data)
        for number in range(options.rounds):
            for name in in_turns(list(steps), number):
                chosen: dict[str, Any] = {"method": options.method, "dtype": "bfloat16", "without": steps[name]}
                rounds[name].append(run(Contestant("ours", chosen), common, {"ours": Path(sys.executable)}))
                print(f"round {number + 1}, {name}: {rounds[name][-1].tokens_per_second:,.0f}", file=sys.stderr)
    found = machine(rounds["a plain loop"][0].versions)
    print(f"{found}\n\n{table(rounds)}")
    kept = {name: [each._asdict() for each in runs] for name, runs in rounds.items()}
    write_results(
        options.out, {"machine": found, "options": {k: str(v) for k, v in vars(options).items()}, "rounds": kept}
    )


if __name__ == "__main__":
    main()
