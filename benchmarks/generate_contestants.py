"""A contestant of `generate.py`, in a process of its own: reads prompts as tokens, writes answers as tokens.

    python benchmarks/generate_contestants.py NAME ASKED OUT

prints one line: {"seconds", "num_tokens", "engine"}. ASKED is a file that `generate.py` wrote. NAME is `free` or
`fixed` (the engine), `transformers N` (its `generate` in batches of N), or `judge`, which prints for each file of
answers the share of tokens that are the largest logit of the model in float32 behind the same tokens.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tunesmith.generate import Sampling
from tunesmith.generate.slots import Request, Written
from tunesmith.generate.writer import Writer
from tunesmith.model import ModelConfig
from tunesmith.model.load import load_model

WARM_UP = 2
WARM_UP_TOKENS = 4
Answers = list[list[int]]


def engine(model: Any, asked: dict[str, Any], shapes: Any) -> tuple[Callable[[Sequence[Any], int], Answers], str]:
    """The project's engine, and its name; the proof at load is not timed."""
    writer = Writer(model, asked["slots"], shapes)

    def answer(prompts: Sequence[list[int]], max_tokens: int) -> Answers:
        found: dict[int, Written] = {}
        requests = [Request(np.array(prompt, np.int32), tuple(asked["stops"]), b"") for prompt in prompts]
        writer.write(requests, Sampling(max_tokens), found.__setitem__)
        return [list(found[index].tokens) for index in range(len(prompts))]

    return answer, writer.engine


def transformers(model: Any, asked: dict[str, Any], batch: int) -> tuple[Callable[[Sequence[Any], int], Answers], str]:
    """transformers' `generate`: padded on the left, prompts of like lengths together, the longest first."""
    stop = asked["stops"][0]

    def some(prompts: Sequence[list[int]], max_tokens: int) -> Answers:
        longest = max(map(len, prompts))
        tokens = torch.tensor([[stop] * (longest - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        options = {
            "max_new_tokens": max_tokens,
            "do_sample": False,
            "eos_token_id": asked["stops"],
            "pad_token_id": stop,
        }
        written = model.generate(tokens, attention_mask=mask, **options)[:, longest:].tolist()
        return [_until(each, asked["stops"]) for each in written]

    def answer(prompts: Sequence[list[int]], max_tokens: int) -> Answers:
        order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
        found: Answers = [[] for _ in prompts]
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            for index, tokens in zip(chosen, some([prompts[index] for index in chosen], max_tokens), strict=True):
                found[index] = tokens
        return found

    return answer, f"transformers, batches of {batch}"


def _until(tokens: list[int], stops: Sequence[int]) -> list[int]:
    """Up to and with the first stop token."""
    ends = [place for place, token in enumerate(tokens) if token in stops]
    return tokens[: ends[0] + 1] if ends else tokens


@torch.inference_mode()
def agreement(model: Any, prompts: Sequence[list[int]], answers: Answers) -> dict[str, float]:
    """The share of tokens that the model itself would take behind the same tokens, and how far the others are below."""
    right, total, worst = 0, 0, 0.0
    for prompt, answer in zip(prompts, answers, strict=True):
        tokens = torch.tensor([prompt + answer])
        places = torch.arange(len(prompt) - 1, tokens.shape[1] - 1)
        logits = model(input_ids=tokens, logits_to_keep=places, use_cache=False).logits[0].float()
        below = logits.amax(-1) - logits.gather(1, torch.tensor(answer)[:, None])[:, 0]
        right, total, worst = right + int((below == 0).sum()), total + len(answer), max(worst, float(below.max()))
    return {"share": right / total, "num_tokens": total, "largest_distance": worst}


def judge(asked: dict[str, Any], files: Sequence[str]) -> None:
    model = load_model(ModelConfig(name=asked["model"], dtype="float32"))
    print(json.dumps({file: agreement(model, asked["prompts"], json.loads(Path(file).read_text())) for file in files}))


def main() -> None:
    name, path, *rest = sys.argv[1:]
    asked = json.loads(Path(path).read_text())
    if name == "judge":
        judge(asked, rest)
        return
    model = load_model(ModelConfig(name=asked["model"], dtype="bfloat16"))
    kind, _, batch = name.partition(" ")
    answer, label = transformers(model, asked, int(batch)) if batch else engine(model, asked, kind)
    answer(asked["prompts"][:WARM_UP], WARM_UP_TOKENS)
    began = time.perf_counter()
    found = answer(asked["prompts"], asked["max_tokens"])
    seconds = time.perf_counter() - began
    Path(rest[0]).write_text(json.dumps(found))
    print(json.dumps({"seconds": seconds, "num_tokens": sum(map(len, found)), "engine": label}))


if __name__ == "__main__":
    main()
