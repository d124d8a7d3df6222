"""Memory that a training frees stays with the process, for the next micro-batch to use.

The GNU C library gives large blocks back to the system at once, which then hands out fresh ones page by page, filled
with zeros: on a CPU a step spends more time on that than on computing with them, for gradients of an embedding five
times as much. Only that library has the switch (mallopt(3)); elsewhere nothing changes.
"""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
_NEVER, _USUAL_TRIM, _NO_BLOCKS, _USUAL_BLOCKS = -1, 128 * 1024, 0, 65536


@contextmanager
def kept_memory(device: torch.device) -> Iterator[None]:
    """While this lasts, memory that is freed on the CPU is kept; afterwards what is free goes back to the system."""
    if device.type != "cpu" or platform.libc_ver()[0] != "glibc":
        yield
        return
    library = ctypes.CDLL(None)
    library.mallopt(_MMAP_MAX, _NO_BLOCKS)
    library.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        library.mallopt(_MMAP_MAX, _USUAL_BLOCKS)
        library.mallopt(_TRIM_THRESHOLD, _USUAL_TRIM)
        library.malloc_trim(0)
