"""Random conversations for the packing tests: every token names its conversation and its place there."""

import numpy as np
from hypothesis import strategies as st

from tunesmith.types import LINEAR, Rendered

LAYOUTS = ("best_fit", "full_rows", "varlen", "padding")
STEPWISE = ("best_fit", "varlen", "padding")  # a step has the same conversations in all of these


def conversation(number, num_tokens, branches=LINEAR):
    """Token i is 1000 x number + i. About two of three tokens are trained, the first of a sequence never."""
    tokens = np.arange(num_tokens, dtype=np.int32) + 1000 * number
    weights = ((tokens + number) % 3 > 0).astype(np.float32)
    weights[branches[branches[:, 1] < 0, 0]] = 0
    return Rendered(f"c{number}", tokens, weights, branches)


def plain(lengths):
    return [conversation(number, length) for number, length in enumerate(lengths)]


def long_tailed(count, seed=0, capacity=128):
    lengths = np.random.default_rng(seed).lognormal(3, 0.8, count)
    return plain(np.clip(lengths, 2, capacity).astype(int).tolist())


def branches_of(generator, num_tokens, num_branches, chance_of_root=0.3):
    """Branches at random places, each off a random token before it or off nothing."""
    starts = np.sort(generator.choice(np.arange(1, num_tokens), min(num_branches, num_tokens) - 1, replace=False))
    parents = [-1 if generator.random() < chance_of_root else int(generator.integers(start)) for start in starts]
    return np.array([(0, -1), *zip(starts.tolist(), parents, strict=True)], np.int32)


def tree(number, num_tokens, num_branches=5, seed=0, **options):
    generator = np.random.default_rng([seed, number])
    return conversation(number, num_tokens, branches_of(generator, num_tokens, num_branches, **options))


def forest(count, seed=0, longest=60, **options):
    sizes = np.random.default_rng(seed).integers(4, longest, count)
    return [tree(number, int(size), seed=seed, **options) for number, size in enumerate(sizes)]


def contexts(rendered):
    """Which tokens each token of a conversation or row sees, itself the last: found by walking back one at a time."""
    parents = dict(rendered.branches.tolist())
    seen = []
    for place in range(rendered.num_tokens):
        before = parents.get(place, place - 1)
        seen.append((*(seen[before] if before >= 0 else ()), int(rendered.tokens[place])))
    return seen


def lessons(things):
    """What is taught, as a sorted list: (context with the token that is predicted, its weight). Rows or Rendered."""
    return sorted(
        (context, float(weight))
        for each in things
        for context, weight in zip(contexts(each), each.loss_weights, strict=True)
        if weight
    )


def every(batches):
    """All batches, without moving the stream."""
    return [batches[number] for number in range(len(batches))]


def rows_of(batches):
    return [row for batch in every(batches) for row in batch.rows]


lengths_up_to_40 = st.lists(st.integers(1, 40), min_size=1, max_size=40)
