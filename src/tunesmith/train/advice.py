"""Advice, before it costs money: where a choice contradicts the field's experience, and who says so.

Each rule is a function of the Facts that gives a sentence, or None where it has nothing to say; its docstring names
the source. Advice is shown in the plan and rewrites nothing: whoever knows better goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tunesmith.train import TrainConfig
from tunesmith.types import Part, Rendered

NUM_SAMPLED = 64
"""Conversations that are looked at to tell documents from chats."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What advice is a function of. `learning_rate` is None where a range test is still to find it.

    `num_epochs` are the passes that are really made. `document_share` is the share of conversations that are plain
    text. `is_post_trained` says that the model has a chat template; `is_new` that its weights are random.
    """

    config: TrainConfig
    batch_conversations: int
    num_conversations: int
    num_tokens: int
    num_supervised: int
    num_epochs: float
    num_steps: int
    num_warmup: int
    learning_rate: float | None
    num_trained: int
    document_share: float
    is_post_trained: bool
    is_new: bool

    @property
    def is_tuning(self) -> bool:
        """Whether examples, rather than pairs, change a model that has learned something before."""
        return not self.is_new and not self.config.objective.learns_from_pairs

    @property
    def has_adam_rate(self) -> bool:
        """Whether the learning rate is known and has AdamW's meaning."""
        return self.learning_rate is not None and self.config.optimizer.kind in ("adamw", "adamw_8bit")


@dataclass(frozen=True, slots=True)
class Advice:
    """A doubt about a choice: what is doubtful and why, and where that is known from."""

    text: str
    source: str


Rule = Callable[[Facts], str | None]


def full_on_few(facts: Facts) -> str | None:
    """Zhou et al. 2023, "LIMA": 1,000 curated conversations are the fewest that full fine-tuning is known for"""
    if facts.config.method == "full" and facts.is_tuning and facts.num_conversations < 1000:
        return (
            f"full fine-tuning on {facts.num_conversations:,} conversations moves every weight for little evidence and "
            "forgets easily; train.method = lora changes less"
        )
    return None


def lora_for_knowledge(facts: Facts) -> str | None:
    """Biderman et al. 2024, "LoRA Learns Less and Forgets Less": in continued pre-training LoRA stays behind"""
    seen = facts.num_tokens * facts.num_epochs
    if facts.config.method == "lora" and facts.document_share > 0.5 and seen > 1e7:
        return (
            f"LoRA of rank {facts.config.adapter.rank} on {seen:,.0f} tokens of plain text: new knowledge needs "
            "large changes of the weights, which low ranks do not reach; take train.method = full or a rank of 256"
        )
    return None


def small_adapter(facts: Facts) -> str | None:
    """Schulman et al. 2025, "LoRA Without Regret": an adapter keeps up while it has more weights than the data has
    completion tokens"""
    if facts.config.method == "lora" and facts.is_tuning and facts.num_supervised > facts.num_trained:
        rank = facts.config.adapter.rank * facts.num_supervised / facts.num_trained
        return (
            f"the data have {facts.num_supervised:,} supervised tokens and the adapter {facts.num_trained:,} weights, "
            f"so it may be too small for what they teach; train.adapter.rank = {round(rank + 0.5)} would have as many"
        )
    return None


def high_rate_for_full(facts: Facts) -> str | None:
    """Lambert et al. 2024, "Tulu 3" (5e-6) and Zhou et al. 2023, "LIMA" (1e-5): the rates of full fine-tuning"""
    rate = facts.learning_rate or 0.0
    if facts.config.method == "full" and facts.is_tuning and facts.has_adam_rate and rate > 1e-4:
        return f"a learning rate of {rate:.1e} on all weights destroys what the model knows; 5e-6 to 5e-5 is usual"
    return None


def low_rate_for_lora(facts: Facts) -> str | None:
    """Schulman et al. 2025, "LoRA Without Regret": LoRA's best rate is about ten times that of full fine-tuning"""
    rate = facts.learning_rate or 1.0
    if facts.config.method == "lora" and facts.is_tuning and facts.has_adam_rate and rate < 5e-5:
        return (
            f"a learning rate of {rate:.1e} is one for full fine-tuning; LoRA's best is about ten times that, "
            "1e-4 to 5e-4"
        )
    return None


def high_rate_for_lora(facts: Facts) -> str | None:
    """Biderman et al. 2024, "LoRA Learns Less and Forgets Less": LoRA's best rates are between 5e-5 and 5e-4"""
    rate = facts.learning_rate or 0.0
    if facts.config.method == "lora" and facts.is_tuning and facts.has_adam_rate and rate > 2e-3:
        return f"a learning rate of {rate:.1e} makes LoRA diverge in most models; 1e-4 to 5e-4 is usual"
    return None


def high_rate_for_pairs(facts: Facts) -> str | None:
    """Tunstall et al. 2023, "Zephyr" (5e-7) and Rafailov et al. 2023, "DPO" (1e-6): the rates of full DPO"""
    rate = facts.learning_rate or 0.0
    learns_pairs = facts.config.objective.learns_from_pairs
    if facts.config.method == "full" and learns_pairs and facts.has_adam_rate and rate > 1e-5:
        return f"a learning rate of {rate:.1e} breaks models when all weights learn from pairs; 5e-7 to 5e-6 is usual"
    return None


def many_epochs_on_much(facts: Facts) -> str | None:
    """Muennighoff et al. 2023, "Scaling Data-Constrained Language Models": up to 4 passes are worth about as much as
    new data, later ones soon nothing"""
    is_much = facts.num_conversations >= 10_000 or facts.num_tokens >= 10_000_000
    if is_much and facts.num_epochs > 4.5 and not facts.is_new:
        return (
            f"{facts.num_epochs:g} epochs over {facts.num_conversations:,} conversations: beyond the fourth, passes "
            "over large data teach little and memorize; 1 to 3 are usual"
        )
    return None


def raw_text_on_post_trained(facts: Facts) -> str | None:
    """Jindal et al. 2024, "Balancing Continuous Pre-Training and Instruction Fine-Tuning": an instruction-tuned model
    loses that ability on raw text; its base keeps the way open"""
    if facts.document_share > 0.5 and facts.is_post_trained:
        return (
            "the model has a chat template, so it was probably post-trained; plain text makes it forget how to follow "
            "instructions. Train its base and then on conversations, or mix conversations in as replay"
        )
    return None


def few_steps(facts: Facts) -> str | None:
    """Smith, Kindermans and Le 2018, "Don't Decay the Learning Rate, Increase the Batch Size": what a batch of twice
    the size gains, it loses in steps; Schulman et al. 2025: LoRA bears large batches less well"""
    if facts.num_steps < 50 and facts.batch_conversations > 1 and facts.config.max_steps is None:
        return (
            f"{facts.num_steps:,} optimizer steps are few to learn in; a smaller pack.batch_conversations (now "
            f"{facts.batch_conversations}) or more epochs gives more"
        )
    return None


def few_conversations(facts: Facts) -> str | None:
    """OpenAI, "Supervised fine-tuning" guide: start with 50 well-made examples; gains show from 50 to 100 on"""
    if facts.num_conversations < 50:
        return (
            f"{facts.num_conversations:,} conversations are too few to learn more than a format from; 50 well-made "
            "ones are a start, and so few can be put into the prompt in place of training"
        )
    return None


def long_warmup(facts: Facts) -> str | None:
    """Taori et al. 2023, "Alpaca" (3 %) and Muennighoff et al. 2025, "s1" (5 %): the usual warmups"""
    if facts.num_warmup > facts.num_steps / 2:
        return (
            f"the warmup takes {facts.num_warmup:,} of {facts.num_steps:,} steps, so most of training runs below the "
            "learning rate asked for; 3 to 10 % of the steps is usual"
        )
    return None


def little_supervised(facts: Facts) -> str | None:
    """Huerta-Enochian and Ko 2024, "Instruction Fine-Tuning: Does Prompt Loss Matter?": with completions that are short
    beside their prompts, a little loss on prompts helps"""
    share = facts.num_supervised / facts.num_tokens
    if share < 0.01 and not facts.config.objective.learns_from_pairs:
        return (
            f"only {share:.2%} of the tokens are supervised, so nearly all work is context; check render.train_on, "
            "shorten the prompts, or give prompts a small weight (render.train_on = per_message)"
        )
    return None


def smoothing_of_short_answers(facts: Facts) -> str | None:
    """Müller, Kornblith and Hinton 2019, "When Does Label Smoothing Help?": smoothing takes away what a model knows
    about how unlike wrong answers are, and keeps it from being sure of right ones"""
    length = facts.num_supervised / facts.num_conversations
    if facts.config.loss.label_smoothing > 0 and length < 16:
        return (
            f"label smoothing with answers of {length:.0f} tokens on average: short answers mostly have one right "
            "form, of which the model should be sure; set train.loss.label_smoothing = 0"
        )
    return None


RULES: tuple[Rule, ...] = (
    full_on_few,
    lora_for_knowledge,
    small_adapter,
    high_rate_for_full,
    low_rate_for_lora,
    high_rate_for_lora,
    high_rate_for_pairs,
    many_epochs_on_much,
    raw_text_on_post_trained,
    few_steps,
    few_conversations,
    long_warmup,
    little_supervised,
    smoothing_of_short_answers,
)


def advise(facts: Facts) -> tuple[Advice, ...]:
    """What the rules have to say, in their order, each with its source."""
    said = ((rule, rule(facts)) for rule in RULES)
    return tuple(Advice(text, " ".join((rule.__doc__ or "").split())) for rule, text in said if text is not None)


def document_share(rendered: Sequence[Rendered]) -> float:
    """The share of plain documents, in a sample evenly spread over the data: 0.0 where parts are unknown.

    A document is text but for its first and last token; a conversation has the template's text between messages.
    """
    places = np.unique(np.linspace(0, len(rendered) - 1, NUM_SAMPLED).astype(int)).tolist()
    found = [rendered[place].parts for place in places]
    return sum(parts is not None and bool((parts[1:-1] == Part.TEXT).all()) for parts in found) / len(found)


def has_chat_template(folder: Path) -> bool:
    """Whether a model folder holds a chat template, in a file of its own or in the tokenizer's config."""
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    config = folder / "tokenizer_config.json"
    return config.is_file() and '"chat_template"' in config.read_text(encoding="utf-8")
