"""What bounds bit-exact resuming: equal weights to the last bit need the same software, threads and devices."""

import platform
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as distributed


def environment(device: torch.device, kernels: str) -> dict[str, str | int]:
    """The facts on which the last bits of a training depend, with the names that people know them by. `kernels` is the
    digest of the kernels in use."""
    return {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "kernels": kernels,
        "threads": torch.get_num_threads(),
        "ranks": distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1,
    }


def what_changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """One line that says what is no longer bit-exact after resuming elsewhere; None where nothing changed."""
    changed = [f"{name} {before.get(name)} -> {value}" for name, value in now.items() if before.get(name) != value]
    if not changed:
        return None
    return (
        f"resumed in another environment ({', '.join(changed)}): the data come in the same order, but sums are rounded "
        "differently, so the weights are no longer bit-equal to those of a run that was never stopped"
    )
