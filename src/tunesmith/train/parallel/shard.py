"""Weights spread over the ranks by FSDP2 (`fully_shard`), and gathered again.

Each decoder layer is a unit: its weights are gathered before it runs, in the model's number format, and let go
after it; its gradients are summed over the ranks in float32, each rank keeping its part. Trained weights are sharded
in float32, and are thus their own masters; frozen ones keep the model's format.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from tunesmith.errors import TrainError
from tunesmith.train import Start
from tunesmith.train.parallel.ranks import Ranks

if TYPE_CHECKING:
    from tunesmith.train.plan import Plan


def check_supported(plan: "Plan", ranks: Ranks) -> None:
    """Raise TrainError where the plan holds what is not done on several ranks."""
    if ranks.world_size == 1:
        return
    optimizer = plan.config.optimizer
    asked = {
        'optimizer.kind = "muon" (it needs whole matrices, and ranks hold parts)': optimizer.kind == "muon",
        'optimizer.kind = "adamw_8bit" (bitsandbytes knows no sharded weights)': optimizer.kind == "adamw_8bit",
        'optimizer.precision = "stochastic_rounding" (trained weights are sharded in float32 and need no rounding)': (
            optimizer.precision == "stochastic_rounding"
        ),
        'learning_rate = "auto" (the range test runs in one process; give a number)': plan.learning_rate is None,
        "adapter.new_tokens (peft puts their rows into whole weights)": bool(plan.config.adapter.new_tokens),
        "objective.distill (its answers are drawn in one process)": plan.config.objective.distill.teacher is not None,
        "samples (they are written by one process)": bool(plan.config.samples.prompts or plan.config.samples.path),
        'final = "average" of states (set average.ema_decay)': (
            plan.config.final == "average" and plan.config.average.ema_decay is None
        ),
        "adapter.quantize (quantized weights are not sharded)": plan.config.adapter.quantize != "none",
        "a phase that goes on from another one": plan.start != Start() or plan.keeps_state,
    }
    refused = [what for what, is_asked in asked.items() if is_asked]
    if refused:
        raise TrainError(f"not done on {ranks.world_size} ranks: {'; '.join(refused)}")


def shard(model: Any, ranks: Ranks, shard_ranks: int | None = None) -> Any:
    """Spread the prepared `model` over the ranks, in place; alone, leave it as it is.

    `shard_ranks` ranks hold the weights between them, and as many such groups as there are hold the same (hybrid
    sharding); by default all ranks form one group. Gradients are summed over all ranks, never averaged: the caller
    divides by the one normalizer. Raises TrainError where the model does not say what its layers are.
    """
    if ranks.world_size == 1:
        return model
    dtype = next(model.parameters()).dtype
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    mesh = _mesh(ranks, next(model.parameters()).device, shard_ranks)
    # Inputs are left as they are: the model casts its own, as it does in one process.
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for module in (*_layers(model), model):
        unit = fully_shard(module, mesh=mesh, mp_policy=policy)
        unit.set_gradient_divide_factor(1.0)
        unit.set_force_sum_reduction_for_comms(True)
    return model


def _mesh(ranks: Ranks, device: torch.device, shard_ranks: int | None) -> DeviceMesh:
    if shard_ranks is None or shard_ranks == ranks.world_size:
        return init_device_mesh(device.type, (ranks.world_size,))
    if ranks.world_size % shard_ranks:
        raise TrainError(
            f"train.parallel.shard_ranks = {shard_ranks} does not divide the {ranks.world_size} ranks; "
            "give a divisor, such as the number of devices of a node"
        )
    shape = (ranks.world_size // shard_ranks, shard_ranks)
    return init_device_mesh(device.type, shape, mesh_dim_names=("replicas", "shards"))


def _layers(model: Any) -> list[torch.nn.Module]:
    """The blocks that transformers says must stay whole: the decoder layers."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    names = set(getattr(base, "_no_split_modules", None) or ())
    layers = [module for module in model.modules() if type(module).__name__ in names]
    if not layers:
        raise TrainError(
            f"{type(base).__name__} does not name its layers (_no_split_modules), so its weights cannot be spread "
            "over several ranks; train it in one process"
        )
    return layers


def reshard(model: Any) -> None:
    """Let go of weights that a forward pass without a backward pass has left gathered: they may be stale by now."""
    if isinstance(model, FSDPModule):
        model.reshard()


def whole(tensor: Tensor) -> Tensor:
    """The full tensor of a sharded one (every rank must ask); any other as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def is_sharded(tensor: Tensor) -> bool:
    """Whether this rank has only a part of it."""
    return isinstance(tensor, DTensor)


def sharded_like(tensor: Tensor, other: Tensor) -> Tensor:
    """The full `tensor`, which every rank has, in the shards of `other`; as it is where that is not sharded."""
    if not isinstance(other, DTensor) or isinstance(tensor, DTensor):
        return tensor
    return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements, src_data_rank=None)


def part(tensor: Tensor) -> Tensor:
    """This rank's part of a sharded tensor; any other as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
