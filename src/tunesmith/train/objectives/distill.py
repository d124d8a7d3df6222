"""On-policy distillation: the model answers the step's prompts, and a teacher says at each token what it would write.

The loss is the reverse KL divergence, KL(model || teacher), over the whole vocabulary at each token that the model
wrote, as a mean over these tokens (Agarwal et al. 2023, "On-policy distillation of language models"; Gu et al. 2023,
MiniLLM; Lu et al. 2025, "On-policy distillation"). No gradient flows through the sampling. A prompt is what stands
before the first supervised token of a conversation.

Answers are a function of the weights and of (seed, conversation, epoch, sample): rows never change them, and a resumed
run writes the same ones.

Shapes: S trained tokens of a row, C of a chunk of them, V vocabulary, D width.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from tunesmith.generate import Sampling
from tunesmith.generate.padded import complete
from tunesmith.generate.slots import Request
from tunesmith.model import ModelConfig
from tunesmith.model.load import load_model
from tunesmith.train.failures import each_alone
from tunesmith.train.forward import row_tensors
from tunesmith.train.head import ChunkLoss, Head, find_head
from tunesmith.train.loss import reverse_kl
from tunesmith.train.objective_config import DistillConfig
from tunesmith.train.objectives.objective import RowLoss
from tunesmith.train.objectives.reference import at_rest
from tunesmith.train.proof import prove_attention
from tunesmith.train.rows import answers_row, context_of, filled
from tunesmith.types import Batch, Row, TokenArray

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Prompt:
    """What stands before a conversation's first supervised token, and what names its answers."""

    tokens: TokenArray
    conversation_id: str
    source: str
    epoch: int

    @property
    def order(self) -> tuple[int, str, int, bytes]:
        """Prompts are answered in this order, so that the rows of a step do not decide which stand side by side."""
        return self.tokens.size, self.conversation_id, self.epoch, self.tokens.tobytes()


class Distill:
    """Do as the teacher would, in answers of one's own."""

    def __init__(self, config: DistillConfig, teacher: Any, stops: Sequence[int], seed: int, head: Head) -> None:
        self.config = config
        self.head = head
        self.teacher = teacher
        self.teacher_head = find_head(teacher, head.chunk_tokens)
        self.stops = tuple(stops)
        self.seed = seed

    def prepare(self, model: Any, batch: Batch, step: int) -> Batch:
        """The step's conversations with the model's answers in place of the data's, for the share that is asked for."""
        conversations = [each for row in batch.rows for each in each_alone(row) if each.loss_weights.any()]
        prompts = [self._prompt(each) for each in conversations]
        answers = self._answers(model, [prompt for prompt in prompts if prompt is not None])
        made = [
            each if prompt is None else answers[prompt.order]
            for each, prompt in zip(conversations, prompts, strict=True)
        ]
        most_tokens = max(row.num_tokens for row in batch.rows)
        return Batch(tuple(filled(made, most_tokens)), batch.epoch)

    def normalizer(self, batch: Batch) -> float:
        """The number of tokens that are learned from, with their weights where they are the data's."""
        return batch.total_weight

    def row_loss(self, model: Any, row: Row) -> RowLoss:
        """The weighted sum over a row's trained tokens."""
        tensors = row_tensors(row, model)
        if tensors.places_S.numel() == 0:
            return RowLoss(torch.zeros((), requires_grad=True), torch.zeros(0), tensors.where_S)
        with torch.no_grad():
            hidden_SD, logits_of = self.teacher_head.before_and_after(self.teacher, tensors)

        def loss(student_CV: Tensor, chunk: slice) -> ChunkLoss:
            with torch.no_grad():
                teacher_CV = logits_of(hidden_SD[chunk])
            # Heads may be padded to different widths behind the same vocabulary.
            width = min(student_CV.shape[1], teacher_CV.shape[1])
            losses_C = reverse_kl(student_CV[:, :width], teacher_CV[:, :width])
            return ChunkLoss((losses_C * tensors.weights_S[chunk]).sum(), losses_C)

        total, losses_S = self.head.loss(model, tensors, loss)
        return RowLoss(total, losses_S.detach().float(), tensors.where_S)

    def _prompt(self, conversation: Row) -> _Prompt | None:
        """The prompt of one conversation, in a row of its own; None where the data's answer is to be learned from."""
        identifier, epoch = conversation.conversation_ids[0], conversation.epochs[0]
        if _share(self.seed, identifier, epoch) >= self.config.on_policy_share:
            return None
        first = int(np.flatnonzero(conversation.loss_weights)[0])
        tokens = conversation.tokens[context_of(conversation, first)]
        return _Prompt(tokens, identifier, conversation.sources[0], epoch)

    def _answers(self, model: Any, prompts: Sequence[_Prompt]) -> dict[Any, Row]:
        """A row for each prompt: the prompt and the model's answers to it."""
        ordered = sorted({prompt.order: prompt for prompt in prompts}.values(), key=lambda prompt: prompt.order)
        asked = [(prompt, sample) for prompt in ordered for sample in range(self.config.samples)]
        sampling = Sampling(self.config.max_tokens, self.config.temperature)
        written: list[list[int]] = []
        with at_rest(model), answering(model):
            for some in _groups(asked, self.config.batch_prompts):
                requests = [
                    Request(each.tokens, self.stops, _bits(self.seed, each.conversation_id, each.epoch, sample))
                    for each, sample in some
                ]
                written += [each.tokens for each in complete(model, requests, sampling)]
        found = zip(ordered, _groups(written, self.config.samples), strict=True)
        return {
            each.order: answers_row(each.tokens, own, each.conversation_id, each.source, each.epoch)
            for each, own in found
        }


def load_teacher(config: ModelConfig, model: Any) -> Any:
    """The teacher, in evaluation mode, with the attention of `model`, which is proven for it, too."""
    teacher = load_model(config, attention=model.config._attn_implementation)
    prove_attention(teacher)
    return teacher.requires_grad_(False)


@contextmanager
def answering(model: Any) -> Iterator[None]:
    """The model with attention that keeps a key-value cache, in place of that of packed rows."""
    config = model.config.get_text_config()
    plain = getattr(config, "attn_logit_softcapping", None) is None and getattr(model, "_supports_sdpa", False)
    before = model.config._attn_implementation
    model.set_attn_implementation("sdpa" if plain else "eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _groups(values: list[T], size: int) -> Iterator[list[T]]:
    return (values[start : start + size] for start in range(0, len(values), size))


def _share(seed: int, conversation_id: str, epoch: int) -> float:
    """Where in [0, 1) a conversation falls in an epoch."""
    return (int.from_bytes(_bits(seed, conversation_id, epoch, "share")) >> 1) / 2**63


def _bits(*parts: Any) -> bytes:
    """64 bits that name these values."""
    return hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
