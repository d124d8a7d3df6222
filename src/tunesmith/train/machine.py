"""What the machine gives: memory in use, and the rate at which it multiplies matrices of the model's own shapes."""

import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tunesmith.files import fingerprint, read_json, write_json
from tunesmith.model import cache_folder

BUDGET_SECONDS = 0.6
"""How long measuring the rate may take, all shapes together, once each has been multiplied."""

NUM_REPEATS = 6
"""Products of each shape, where the time allows them; the fastest counts."""

MOST_FLOPS = 2e10
"""One product's operations at most: a CPU takes a tenth of a second for them. Fewer rows are taken above."""

Shape = tuple[int, int]


def memory_bytes(device: torch.device) -> int:
    """The most memory taken so far on CUDA; elsewhere what the process holds now."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux: the most it ever held
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def linear_shapes(model: Any) -> tuple[Shape, ...]:
    """(outputs, inputs) of every linear layer of the blocks, adapters left out, each shape once."""
    head = model.get_output_embeddings()
    layers = (
        (module.out_features, module.in_features)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and "lora_" not in name
    )
    return tuple(sorted(set(layers)))


def matmul_rate(
    shapes: tuple[Shape, ...],
    num_rows: int,
    dtype: torch.dtype,
    device: torch.device,
    measure: Callable[..., float] | None = None,
) -> float:
    """Floating-point operations a second in products of [num_rows, inputs] with these shapes; 0.0 without shapes.

    Measured in less than a second; the best rate that this machine has ever shown is kept in the cache and counts, as
    other work on it only takes away.
    """
    if not shapes:
        return 0.0
    machine = [platform.node(), platform.machine(), os.cpu_count(), torch.get_num_threads(), torch.__version__]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    path = cache_folder() / "matmul" / f"{fingerprint([*machine, name, str(dtype), num_rows, shapes])}.json"
    known = _known(path)
    rate = (measure or measured_rate)(shapes, num_rows, dtype, device)
    if rate > known:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"flops_per_second": rate, "dtype": str(dtype), "num_rows": num_rows, "shapes": shapes})
    return max(rate, known)


def _known(path: Path) -> float:
    try:
        return float(read_json(path)["flops_per_second"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def measured_rate(shapes: tuple[Shape, ...], num_rows: int, dtype: torch.dtype, device: torch.device) -> float:
    """The operations of one product of each shape, over the sum of their best times."""
    products = {shape: _product(shape, num_rows, dtype, device) for shape in shapes}
    # The first call of each allocates and chooses kernels: it counts only where time allows no other.
    fastest = {shape: _seconds(multiply, device) for shape, (multiply, _) in products.items()}
    began = time.perf_counter()
    for shape, (multiply, _) in list(products.items()) * NUM_REPEATS:
        if time.perf_counter() - began > BUDGET_SECONDS:
            break
        fastest[shape] = min(fastest[shape], _seconds(multiply, device))
    return sum(flops for _, flops in products.values()) / sum(fastest.values())


def _product(shape: Shape, num_rows: int, dtype: torch.dtype, device: torch.device) -> tuple[Callable[[], Any], float]:
    """A product of this shape to be called, and its operations. Random numbers of its own: training's stay as they
    are."""
    outputs, inputs = shape
    rows = max(1, min(num_rows, int(MOST_FLOPS / (2 * outputs * inputs)))) if device.type == "cpu" else num_rows
    own = torch.Generator().manual_seed(0)
    left = torch.randn(rows, inputs, generator=own).to(device, dtype)
    right = torch.randn(outputs, inputs, generator=own).to(device, dtype)
    return lambda: nn.functional.linear(left, right), 2.0 * rows * outputs * inputs


def _seconds(multiply: Callable[[], Any], device: torch.device) -> float:
    _wait(device)
    began = time.perf_counter()
    with torch.no_grad():
        multiply()
    _wait(device)
    return max(time.perf_counter() - began, 1e-9)


def _wait(device: torch.device) -> None:
    """Until the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    if device.type == "mps":
        torch.mps.synchronize()
