"""Preparing a model for training: adapters through peft, and saving what was trained."""

import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tunesmith.files import atomic_folder, folder_digest
from tunesmith.model import copy_tokenizer
from tunesmith.train import TrainConfig
from tunesmith.train.optim import Optimizer
from tunesmith.types import Checkpoint


def prepare(model: Any, config: TrainConfig) -> Any:
    """Attach LoRA matrices to all linear layers, or free every weight; deterministic for the config's seed."""
    torch.manual_seed(config.seed)
    model.requires_grad_(config.method == "full")
    if config.method == "lora":
        model = _attach_lora(model, config)
    if config.gradient_checkpointing:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer transformers renamed it; the old name works from 5.0 on
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    return model.train()


def _attach_lora(model: Any, config: TrainConfig) -> Any:
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(
        r=config.adapter.rank,
        lora_alpha=config.adapter.alpha,
        lora_dropout=config.adapter.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    # The optimizer keeps fp32 masters of its own, so the adapter computes in the model's number format.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_peft_model(model, lora, autocast_adapter_dtype=False)


def save_final(
    model: Any, optimizer: Optimizer, config: TrainConfig, base_folder: Path, folder: Path, step: int
) -> Checkpoint:
    """Write the tuned weights, in fp32, as a peft adapter folder or a whole model folder, atomically."""
    trained = optimizer.final_weights()
    with atomic_folder(folder) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if config.method == "lora":
            model.save_pretrained(str(temporary))
            weights = {name.replace(".default.", "."): tensor.cpu() for name, tensor in trained.items()}
            save_file(weights, temporary / "adapter_model.safetensors", metadata={"format": "pt"})
            (temporary / "README.md").unlink(missing_ok=True)  # peft's model card has nothing filled in
        else:
            model.save_pretrained(temporary, state_dict=_whole_state(model, trained))
            copy_tokenizer(base_folder, temporary)
    return Checkpoint(folder, step, folder_digest(folder), config.method)


def _whole_state(model: Any, masters: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every weight of the model, the trained ones as their masters, also where one weight has several names."""
    first_names = {id(parameter): name for name, parameter in model.named_parameters()}
    names = {name: first_names[id(each)] for name, each in model.named_parameters(remove_duplicate=False)}
    return {name: masters.get(names.get(name, name), tensor) for name, tensor in model.state_dict().items()}
