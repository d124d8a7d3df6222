"""Preparing a model for training: adapters through peft, and saving what was trained."""

import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tunesmith.errors import TrainError
from tunesmith.files import atomic_folder, folder_digest, read_json, write_json
from tunesmith.model import copy_tokenizer
from tunesmith.train import TrainConfig
from tunesmith.train.parallel.ranks import ALONE, Ranks
from tunesmith.train.parallel.shard import whole
from tunesmith.train.targets import adapter_targets, freeze
from tunesmith.types import Checkpoint


def prepare(model: Any, config: TrainConfig) -> Any:
    """Attach an adapter, or free every weight that is not frozen; deterministic for the config's seed."""
    torch.manual_seed(config.seed)
    model.requires_grad_(config.method == "full")
    if config.method == "lora":
        model = attach_adapter(model, config)
    elif config.freeze:
        freeze(model, config.freeze)
    if config.gradient_checkpointing:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer transformers renamed it; the old name works from 5.0 on
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    return model.train()


def attach_adapter(model: Any, config: TrainConfig) -> Any:
    """Put the adapter that `config.adapter` asks for on the model, through peft.

    Raises TrainError where a pattern names nothing, a token is not in the vocabulary, or peft cannot put this kind
    of adapter on a layer.
    """
    from peft import LoraConfig, get_peft_model

    adapter = config.adapter
    layers, experts = adapter_targets(model, adapter.targets, config.freeze)
    if experts and (adapter.kind == "dora" or adapter.dropout):
        raise TrainError(
            f"train.adapter.targets names experts ({experts[0]}), on which peft puts neither dora nor dropout; "
            "set train.adapter.kind to lora or rslora and dropout to 0, or leave the experts out"
        )
    lora = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        use_rslora=adapter.kind == "rslora",
        use_dora=adapter.kind == "dora",
        target_modules=list(layers),
        target_parameters=list(experts) or None,
        trainable_token_indices=_token_rows(model, config) or None,
        task_type="CAUSAL_LM",
    )
    # The optimizer keeps fp32 masters of its own, so the adapter computes in the model's number format.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_peft_model(model, lora, autocast_adapter_dtype=False)


def _token_rows(model: Any, config: TrainConfig) -> dict[str, list[int]]:
    """The rows of the embedding, and of a head of its own, that are trained for `new_tokens`."""
    if not config.adapter.new_tokens:
        return {}
    rows = token_ids(Path(model.config._name_or_path), config.adapter.new_tokens)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    wanted = [embedding] if head is None or head.weight is embedding.weight else [embedding, head]
    if getattr(head, "bias", None) is not None:
        raise TrainError(
            f"train.adapter.new_tokens: the head of {type(model).__name__} has a bias, which peft leaves out "
            "where single tokens are trained; not supported yet"
        )
    return {name: rows for name, module in model.named_modules() if any(module is each for each in wanted)}


def token_ids(folder: Path, tokens: tuple[str, ...]) -> list[int]:
    """The ids of tokens by their text, in ascending order; raises TrainError for one that the vocabulary lacks."""
    from tunesmith.model.tokenizer import Tokenizer

    vocabulary = Tokenizer.load(folder).backend.get_vocab()
    lacking = [token for token in tokens if token not in vocabulary]
    if lacking:
        free = [name for name in vocabulary if "reserved" in name or "unused" in name]
        hint = f"such as {', '.join(sorted(free)[:3])}" if free else "but this vocabulary has none by name"
        raise TrainError(
            f"train.adapter.new_tokens: {', '.join(map(repr, lacking))} are not in the vocabulary of {folder}; "
            f"name them in model.add_tokens too, or take a token kept free for such uses ({hint})"
        )
    return sorted({vocabulary[token] for token in tokens})


def save_final(
    model: Any,
    trained: dict[str, Tensor],
    config: TrainConfig,
    base_folder: Path,
    folder: Path,
    step: int,
    ranks: Ranks = ALONE,
) -> Checkpoint:
    """Write the `trained` weights, in fp32, as a peft adapter folder or a whole model folder, atomically.

    The first rank writes; every rank must call it, for all gather what is sharded.
    """
    weights = _gathered(trained if config.method == "lora" else _whole_state(model, trained), ranks)
    if ranks.is_first:
        with atomic_folder(folder) as temporary, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if config.method == "lora":
                _save_adapter(model, weights, temporary)
            else:
                model.save_pretrained(temporary, state_dict=weights)
                copy_tokenizer(base_folder, temporary)
    digest = ranks.gather(folder_digest(folder) if ranks.is_first else "")[0]
    return Checkpoint(folder, step, digest, config.method)


def _gathered(weights: dict[str, Tensor], ranks: Ranks) -> dict[str, Tensor]:
    """The weights whole and on the CPU, on the first rank; a weight of several names is one tensor."""
    gathered: dict[str, Tensor] = {}
    known: dict[int, Tensor] = {}
    for name, tensor in weights.items():
        if id(tensor) not in known:
            full = whole(tensor.detach())
            known[id(tensor)] = full.cpu() if ranks.is_first else full.new_empty(0)
        gathered[name] = known[id(tensor)]
    return gathered


def _save_adapter(model: Any, trained: dict[str, Tensor], folder: Path) -> None:
    from peft import get_peft_model_state_dict

    model.save_pretrained(str(folder), state_dict=trained, save_embedding_layers=False)
    weights = get_peft_model_state_dict(model, state_dict=trained, save_embedding_layers=False)
    whole_weights = {name: tensor.contiguous() for name, tensor in weights.items()}
    save_file(whole_weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    # peft keeps the names of layers in a set, whose order is another in every process.
    config = read_json(folder / "adapter_config.json")
    config["target_modules"] = sorted(config["target_modules"])
    write_json(folder / "adapter_config.json", config)
    (folder / "README.md").unlink(missing_ok=True)  # peft's model card has nothing filled in


def _whole_state(model: Any, masters: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every weight of the model, the trained ones as their masters, also where one weight has several names."""
    first_names = {id(parameter): name for name, parameter in model.named_parameters()}
    names = {name: first_names[id(each)] for name, each in model.named_parameters(remove_duplicate=False)}
    return {name: masters.get(names.get(name, name), tensor) for name, tensor in model.state_dict().items()}
