"""Many devices: one training in several processes, which torchrun starts.

ranks.py   who takes part, and how they talk: sums, words, one rank's failure told to all
share.py   which row each rank runs in each pass of a step
shard.py   the model's weights spread over the ranks (FSDP2), and gathered again
"""
