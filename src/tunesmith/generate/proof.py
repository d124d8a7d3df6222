"""The proof at load: this model, on this machine, gives by slots what transformers gives; and which shapes agree.

A few random prompts pass through the model's own forward pass, and through rows and steps (`passes.py`). Then the
same prompts pass in rows of every size, among other prompts, in another order: a size is among the
fixed shapes where all logits come out the same, bit for bit. What was found is kept in the cache for the next process.

Shapes: E steps of a prompt that are looked at, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers
from torch import Tensor

from tunesmith.errors import GenerateError
from tunesmith.files import fingerprint, read_json, write_json
from tunesmith.generate import Shapes
from tunesmith.generate.blocks import TOKENS, Pool
from tunesmith.generate.padded import last_logits, odd_layers
from tunesmith.generate.paged import Piece
from tunesmith.generate.passes import ROW_TOKENS, Passes, paged_attention_of
from tunesmith.model import cache_folder
from tunesmith.types import TokenArray

VERSION = 1
NUM_STEPS = 3
_EXPERT_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts")
_PROMPT_SIZES = (2 * TOKENS + 7, 9, TOKENS + NUM_STEPS)
_ODD = (AttributeError, TypeError, ValueError, RuntimeError, IndexError, GenerateError)
"""What families raise that cannot be called with positions, keywords for attention, or a cache."""
_FEWEST = 16
"""Rows are multiples of this many tokens, so that vector instructions leave no remainder, which has other rounding."""

Way = Literal["slots", "alone", "padded"]


@dataclass(frozen=True, slots=True)
class Proof:
    """How a model is answered with.

    `slots`: continuous batching, with rows of these sizes where shapes are fixed. `alone`: one prompt at a time, by the
    same passes. `padded`: batches of the model's own forward pass. `reason` says why not by slots.
    """

    way: Way
    row_sizes: tuple[int, ...] = ()
    step_sizes: tuple[int, ...] = ()
    reason: str = ""


def proof_of(model: Any, shapes: Shapes, num_slots: int) -> Proof:
    """The way for this model; from the cache where it was found before, else by trial."""
    path = _remembered(model, shapes, num_slots)
    if path.exists():
        kept = read_json(path)
        return Proof(kept["way"], tuple(kept["row_sizes"]), tuple(kept["step_sizes"]), kept["reason"])
    proof = prove(model, shapes, num_slots)
    write_json(path, asdict(proof))
    return proof


def machine() -> list[Any]:
    """What decides, beside the model, which shapes agree."""
    chip = torch.cuda.get_device_name() if torch.cuda.is_available() else torch.backends.cpu.get_cpu_capability()
    return [chip, torch.get_num_threads(), torch.__version__, transformers.__version__]


def _remembered(model: Any, shapes: Shapes, num_slots: int) -> Path:
    """A file for the model's shapes, not its weights, on this machine."""
    parts = sorted({(type(module).__name__, *map(tuple, _sizes(module))) for module in model.modules()}, key=repr)
    config, dtype = model.config.to_diff_dict(), str(next(model.parameters()).dtype)
    known = [VERSION, shapes, num_slots, dtype, repr(parts), repr(sorted(config.items())), machine()]
    return cache_folder() / "generate" / f"{fingerprint(known)}.json"


def _sizes(module: torch.nn.Module) -> list[torch.Size]:
    return [parameter.shape for parameter in module.parameters(recurse=False)]


@torch.no_grad()
def prove(model: Any, shapes: Shapes, num_slots: int) -> Proof:
    """Try which way is right for this model, and where shapes are fixed, which sizes of rows agree."""
    text = model.config.get_text_config()
    prompts = _prompts(text.vocab_size)
    own = [_own_logits(model, prompt) for prompt in prompts]
    if odd := odd_layers(model):
        return _padded(model, prompts, own, f"layers of the kind {', '.join(odd)}")
    try:
        ours = _trial(model, prompts)
    except _ODD as error:
        return _padded(model, prompts, own, f"{type(error).__name__}: {str(error)[:200]}")
    distance = max(map(_distance, own, ours))
    if not distance <= _tolerance(model):
        return _padded(model, prompts, own, f"logits differ by {distance:.1%} from the model's own")
    if shapes == "free":
        return Proof("slots")
    if any(getattr(text, name, None) for name in _EXPERT_COUNTS):
        return Proof("alone", reason="how many tokens come to an expert depends on the prompts beside it")
    if next(model.parameters()).device.type != "cpu":
        return Proof("slots", reason="fixed shapes are proven on the CPU only")
    return _proven_sizes(partial(_trial, model), prompts, num_slots)


def _padded(model: Any, prompts: Sequence[TokenArray], own: Sequence[Tensor], reason: str) -> Proof:
    """Try the model's own cache. Raises GenerateError where the model comes out otherwise with it, too."""
    try:
        distance = max(map(_distance, own, [last_logits(model, prompt, NUM_STEPS) for prompt in prompts]))
        seen = f"its logits differ by {distance:.1%} from those of a whole pass"
    except _ODD as error:
        distance, seen = float("inf"), f"it fails ({type(error).__name__}: {str(error)[:200]})"
    if distance <= _tolerance(model):
        return Proof("padded", reason=reason)
    raise GenerateError(
        f"{type(model).__name__} cannot be asked: not by slots ({reason}), and step by step with its own cache "
        f"{seen}; serve it elsewhere and name that endpoint"
    )


def _tolerance(model: Any) -> float:
    """Two ways to round differ by a few digits, a missing bias, window or cap by much more."""
    return 1e-3 if next(model.parameters()).dtype == torch.float32 else 0.1


def _proven_sizes(trial: Any, prompts: Sequence[TokenArray], num_slots: int) -> Proof:
    """The sizes with the logits of the largest, whatever a row's other tokens."""
    most = -(-num_slots // _FEWEST) * _FEWEST
    right = trial(prompts, row_sizes=(ROW_TOKENS,), step_sizes=(most,))

    company = [*_prompts(int(prompts[0].max()), seed=1), *prompts[::-1]]

    def agrees(row_size: int, step_size: int) -> bool:
        among = trial(company, row_sizes=(row_size, ROW_TOKENS), step_sizes=(step_size, most))
        return all(map(torch.equal, right, among[: -len(prompts) - 1 : -1]))

    alone = [trial([prompt], row_sizes=(ROW_TOKENS,), step_sizes=(most,))[0] for prompt in prompts]
    if not (agrees(ROW_TOKENS, most) and all(map(torch.equal, right, alone))):
        return Proof("alone", reason="a prompt's logits depend on the prompts beside it")
    smaller = [(ROW_TOKENS >> halvings, max(_FEWEST, most >> halvings)) for halvings in (3, 2, 1)]
    agreeing = [sizes for sizes in smaller if agrees(*sizes)]
    rows, steps = ({sizes[which] for sizes in agreeing} for which in (0, 1))
    return Proof("slots", tuple(sorted({*rows, ROW_TOKENS})), tuple(sorted({*steps, most})))


def _prompts(vocabulary: int, seed: int = 0) -> list[TokenArray]:
    generator = np.random.default_rng(seed)
    return [generator.integers(0, vocabulary, size).astype(np.int32) for size in _PROMPT_SIZES]


def _own_logits(model: Any, prompt: TokenArray) -> Tensor:
    """After each of the last tokens of a prompt, by the model's own attention: [E, V]."""
    tokens_1T = torch.from_numpy(prompt.astype(np.int64)).to(next(model.parameters()).device)[None]
    logits_EV: Tensor = model(input_ids=tokens_1T, use_cache=False).logits[0, -NUM_STEPS:]
    return logits_EV


def _trial(
    model: Any, prompts: Sequence[TokenArray], row_sizes: Sequence[int] = (), step_sizes: Sequence[int] = ()
) -> list[Tensor]:
    """The same by rows and steps: all but the last tokens of the prompts in rows, then one step after the other."""
    lengths = [prompt.size - NUM_STEPS for prompt in prompts]
    counts = [-(-prompt.size // TOKENS) for prompt in prompts]
    pool = Pool(sum(counts))
    tables = [[pool.take() for _ in range(count)] for count in counts]
    passes = Passes(model, pool, row_sizes, step_sizes)
    with paged_attention_of(model):
        pieces = zip(prompts, lengths, tables, strict=True)
        passes.prefill([Piece(prompt[:length], 0, table) for prompt, length, table in pieces])
        found = []
        for number in range(NUM_STEPS):
            tokens_S = np.array([prompt[prompt.size - NUM_STEPS + number] for prompt in prompts], np.int64)
            found.append(passes.steps(tokens_S, np.array(lengths) + number, tables))
    return list(torch.stack(found, dim=1))


def _distance(own_EV: Tensor, ours_EV: Tensor) -> float:
    """As a share of the logits' size; a token that an expert router sends elsewhere by rounding does not count."""
    own_EV, ours_EV = own_EV.float(), ours_EV.float()
    return float(((own_EV - ours_EV).norm(dim=-1) / own_EV.norm(dim=-1)).median())
