"""Small C++ kernels for what is bound by memory in a training step on the CPU. Built on demand, never needed.

`native.cpp` is compiled once for a machine (`build.py`), called with tensors (`native.py`), made known to autograd
(`functions.py`, `attention.py`), and put where a module is proven to compute the same (`places.py`, `use.py`).
"""

from tunesmith.train.kernels.use import PARTS, Kernels, kernels_in

__all__ = ["PARTS", "Kernels", "kernels_in"]
