"""The whole of supervised fine-tuning in one loop: no packing, no tricks, float32.

    tunesmith render data.jsonl --out rendered
    python examples/loop.py MODEL_FOLDER rendered OUT_FOLDER

tunesmith's engine gives the same losses and the same weights, to float32 rounding (tests/train/test_reference_loop.py).
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM

from tunesmith.branches import split
from tunesmith.render.bulk.rendered_file import RenderedFile
from tunesmith.types import Rendered


def steps_of(examples: Sequence[Rendered], size: int, epochs: int, seed: int) -> Iterator[list[Rendered]]:
    """`size` conversations a step, in an order that is new in each epoch; only the last step may be smaller."""
    orders = [np.random.default_rng([seed, epoch]).permutation(len(examples)) for epoch in range(epochs)]
    order = np.concatenate(orders)
    for start in range(0, len(order), size):
        yield [examples[index] for index in order[start : start + size]]


def weighted_loss(model: torch.nn.Module, sequence: Rendered) -> torch.Tensor:
    """The sum of -log p(token) over the supervised tokens of one plain sequence, each times its weight."""
    tokens = torch.from_numpy(sequence.tokens).long()
    weights = torch.from_numpy(sequence.loss_weights)
    logits = model(input_ids=tokens[None]).logits[0, :-1]
    return (F.cross_entropy(logits.float(), tokens[1:], reduction="none") * weights[1:]).sum()


def train(model: torch.nn.Module, steps: Iterable[list[Rendered]], learning_rate: float) -> list[float]:
    """Move every weight, one optimizer step for each list of conversations; returns the losses of the steps."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    model.train()
    losses = []
    for conversations in steps:
        total_weight = sum(float(each.loss_weights.sum()) for each in conversations)
        loss = 0.0
        for each in conversations:
            for sequence in split(each):  # a conversation is one sequence, or a tree of them
                part = weighted_loss(model, sequence) / total_weight
                part.backward()
                loss += part.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss)
        print(f"step {len(losses)}  loss {loss:.4f}")
    return losses


def main(model_folder: str, rendered_folder: str, out: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    train(model, steps_of(RenderedFile(Path(rendered_folder)), size=16, epochs=1, seed=0), learning_rate=2e-5)
    model.save_pretrained(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
