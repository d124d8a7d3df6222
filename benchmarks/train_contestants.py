"""The contestants of train.py, each in a process of its own: one training, its seconds and losses step by step.

A peer's environment runs this file too, so nothing but the standard library and numpy is imported on top.

All read the same file of tokens and loss weights (numpy's npz): no contestant tokenizes, and all train the same tokens.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

LEARNING_RATE = 1e-5
LORA = {"rank": 16, "alpha": 32.0}
LINEAR = "all-linear"


def read_conversations(path: Path) -> list[tuple[Any, Any]]:
    """Tokens (int32) and loss weights (float32) of each conversation."""
    with np.load(path) as file:
        tokens, weights, ends = file["tokens"], file["weights"], np.cumsum(file["lengths"])
    return list(zip(np.split(tokens, ends[:-1]), np.split(weights, ends[:-1]), strict=True))


def peak_bytes(device: str) -> int:
    """The most memory that this process held: of the GPU where it trained there, else of the machine."""
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


# Ours


def ours(options: dict[str, Any]) -> dict[str, Any]:
    """A whole training by tunesmith; its steps are timed as its own metrics tell."""
    import torch
    import transformers

    from tunesmith import __version__
    from tunesmith.files import read_jsonl
    from tunesmith.model import ModelConfig
    from tunesmith.model.load import load_model
    from tunesmith.pack import PackConfig, pack
    from tunesmith.train import TrainConfig, train
    from tunesmith.train.attention import attention_name
    from tunesmith.train.plan import make_plan
    from tunesmith.types import Rendered

    without = set(options.get("without", ()))
    _leave_out(without)
    conversations = read_conversations(Path(options["data"]))
    rendered = [Rendered(f"c{number}", *each) for number, each in enumerate(conversations)]
    packing = PackConfig(
        batch_conversations=options["batch_conversations"],
        row_tokens=options["row_tokens"],
        layout="padding" if "packing" in without else "best_fit",
    )
    batches = pack(packing, rendered, 1.0)
    config = TrainConfig(
        method=options["method"],
        learning_rate=LEARNING_RATE,
        schedule={"kind": "constant", "warmup": 0.0},
        gradient_checkpointing=options["gradient_checkpointing"],
        checkpoint_steps=10**6,
        kernels="off" if "kernels" in without else "auto",
    )
    chosen = ModelConfig(name=options["model"], dtype=options["dtype"])
    plan = make_plan(config, chosen, Path(options["model"]), batches)
    model = load_model(chosen, attention=attention_name(torch.device(options["device"])))
    folder = Path(options["scratch"]) / "train"
    train(plan, model, batches, folder)
    lines = [line for _, line in read_jsonl(folder / "metrics.jsonl")]
    steps = [(line["num_tokens"], line["seconds"], line["loss"]) for line in lines]
    versions = {"tunesmith": __version__, "torch": torch.__version__, "transformers": transformers.__version__}
    return {"steps": steps, "versions": versions}


def _leave_out(techniques: set[str]) -> None:
    """Take techniques out of the engine, for the table of train_ablation.py."""
    import torch

    from tunesmith.train import grouped, head, loop
    from tunesmith.train.optim import kinds

    if "supervised_head" in techniques:
        forward = head.forward

        def all_logits(model: Any, tensors: Any, places: Any) -> Any:
            output = forward(model, tensors, torch.arange(tensors.tokens_1T.shape[1], device=places.device))
            return output.float()[places]

        head.forward = all_logits
    if "chunked_head" in techniques:
        loop.find_head = lambda model, chunk_tokens: head.Head(chunk_tokens)
    if "stacked_attention" in techniques:
        grouped._LONGEST_PLAIN = 0
    if "fused_optimizer" in techniques:
        adamw = torch.optim.AdamW
        kinds.torch.optim.AdamW = lambda *groups, **settings: adamw(
            *groups, **{**settings, "fused": False, "foreach": False}
        )


# The references


def gradients(options: dict[str, Any]) -> dict[str, Any]:
    """Our gradient of the first batch, in bfloat16, beside a plain loop's in float32: how well they agree."""
    import torch
    from transformers import AutoModelForCausalLM

    from tunesmith.model import ModelConfig
    from tunesmith.model.load import load_model
    from tunesmith.pack import PackConfig, pack
    from tunesmith.train import TrainConfig
    from tunesmith.train.adapter import prepare
    from tunesmith.train.attention import attention_name
    from tunesmith.train.head import find_head
    from tunesmith.train.objectives.make import make_objective
    from tunesmith.types import Rendered

    conversations = read_conversations(Path(options["data"]))
    rendered = [Rendered(str(number), *each) for number, each in enumerate(conversations)]
    packing = PackConfig(batch_conversations=options["batch_conversations"], row_tokens=options["row_tokens"])
    batch = next(iter(pack(packing, rendered, 1.0)))
    config = TrainConfig(method="full")
    chosen = ModelConfig(name=options["model"], dtype="bfloat16")
    model = prepare(load_model(chosen, attention=attention_name(torch.device(options["device"]))), config)
    objective = make_objective(config, model, find_head(model, config.loss.chunk_tokens))
    for row in batch.rows:
        (objective.row_loss(model, row).total / batch.total_weight).backward()
    exact = AutoModelForCausalLM.from_pretrained(options["model"], dtype=torch.float32).train()
    for number in map(int, batch.conversation_ids):
        tokens, weights = (torch.from_numpy(each) for each in conversations[number])
        logits = exact(tokens.long()[None]).logits[0, :-1]
        losses = torch.nn.functional.cross_entropy(logits, tokens[1:].long(), reduction="none")
        ((losses * weights[1:]).sum() / batch.total_weight).backward()
    pairs = {
        name: (one.grad.flatten().double(), other.grad.flatten().double())
        for (name, one), (_, other) in zip(model.named_parameters(), exact.named_parameters(), strict=True)
    }
    cosines = {name: float(torch.nn.functional.cosine_similarity(*pair, dim=0)) for name, pair in pairs.items()}
    ours_all, exact_all = (torch.cat([pair[side] for pair in pairs.values()]) for side in (0, 1))
    least = min(cosines, key=lambda name: cosines[name])
    return {
        "cosine": float(torch.nn.functional.cosine_similarity(ours_all, exact_all, dim=0)),
        "norm_ratio": float(ours_all.norm() / exact_all.norm()),
        "least_cosine": cosines[least],
        "least": least,
        "num_tensors": len(cosines),
    }


def reference(options: dict[str, Any]) -> dict[str, Any]:
    """A plain loop over the same batches: no packing, float32 weights, bfloat16 by autocast unless asked otherwise."""
    import torch
    import transformers
    from transformers import AutoModelForCausalLM

    from tunesmith.pack import PackConfig, pack
    from tunesmith.types import Rendered

    model = AutoModelForCausalLM.from_pretrained(options["model"], dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    conversations = read_conversations(Path(options["data"]))
    rendered = [Rendered(str(number), *each) for number, each in enumerate(conversations)]
    steps = []
    for batch in pack(PackConfig(batch_conversations=options["batch_conversations"]), rendered, 1.0):
        began, total = time.perf_counter(), 0.0
        optimizer.zero_grad()
        for number in map(int, batch.conversation_ids):
            tokens, weights = (torch.from_numpy(each) for each in conversations[number])
            with torch.autocast("cpu", torch.bfloat16, enabled=options["autocast"]):
                logits = model(tokens.long()[None]).logits[0, :-1].float()
            losses = torch.nn.functional.cross_entropy(logits, tokens[1:].long(), reduction="none")
            loss = (losses * weights[1:]).sum() / batch.total_weight
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        steps.append((batch.num_tokens, time.perf_counter() - began, total))
    return {"steps": steps, "versions": {"transformers": transformers.__version__}}


# TRL


def trl(options: dict[str, Any]) -> dict[str, Any]:
    """TRL's trainer with the options handed to its SFTConfig; each step is timed from its beginning to its end."""
    import torch
    import transformers
    import trl
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    conversations = read_conversations(Path(options["data"]))
    dataset = Dataset.from_dict(
        {
            "input_ids": [tokens.tolist() for tokens, _ in conversations],
            "completion_mask": [(weights > 0).astype(int).tolist() for _, weights in conversations],
        }
    )
    arguments = SFTConfig(
        output_dir=options["scratch"],
        num_train_epochs=1,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=options["device"] == "cpu",
        seed=0,
        **options["trl"],
    )
    model = AutoModelForCausalLM.from_pretrained(
        options["model"], dtype=getattr(torch, options["dtype"]), **options.get("load", {})
    )
    adapter = None
    if options["method"] == "lora":
        from peft import LoraConfig

        adapter = LoraConfig(r=LORA["rank"], lora_alpha=LORA["alpha"], target_modules=LINEAR, task_type="CAUSAL_LM")

    class Clock(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.began = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds.append(time.perf_counter() - self.began)

    clock = Clock()
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=dataset,
        processing_class=AutoTokenizer.from_pretrained(options["model"]),
        peft_config=adapter,
        callbacks=[clock],
    )
    trainer.train()
    logs = [line for line in trainer.state.log_history if "num_tokens" in line]
    counts = np.diff([0, *(line["num_tokens"] for line in logs)]).tolist()
    losses = [line["loss"] for line in logs]
    versions = {"trl": trl.__version__, "torch": torch.__version__, "transformers": transformers.__version__}
    return {"steps": list(zip(counts, clock.seconds, losses, strict=True)), "versions": versions}


CONTESTANTS = {"gradients": gradients, "ours": ours, "reference": reference, "trl": trl}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=CONTESTANTS)
    parser.add_argument("options", type=json.loads)
    chosen = parser.parse_args()
    facts = CONTESTANTS[chosen.kind](chosen.options)
    print(json.dumps({**facts, "peak_bytes": peak_bytes(chosen.options["device"])}))


if __name__ == "__main__":
    main()
