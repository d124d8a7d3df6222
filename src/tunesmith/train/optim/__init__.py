"""What moves the weights.

optimizer.py   gradients in, weights moved, everything saved and restored
precision.py   how coarse weights take fine updates: float32 masters, or stochastic rounding
kinds.py       the update rules, each from a library
places.py      where a weight stands in the model: its layer, embeddings, head
"""

from tunesmith.train.optim.optimizer import Optimizer, make_optimizer

__all__ = ["Optimizer", "make_optimizer"]
