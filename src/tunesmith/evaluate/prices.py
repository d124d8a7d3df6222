"""Scores that need no completion: the price of given continuations, by log-likelihood.

Multiple choice as in lm-evaluation-harness: `choice` takes the choice with the largest summed log-probability (its
`acc`), `choice_by_byte` and `choice_by_token` divide by length first (its `acc_norm` divides by characters).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.errors import EvaluateError
from tunesmith.generate import Continuation, Likelihood
from tunesmith.types import Better, Message, Sample, Score, ToolCall
from tunesmith.verify import Item
from tunesmith.verify.equivalence.texts import cut


@dataclass(frozen=True, slots=True)
class Price:
    """What is priced behind an item's prompt, and what the prices say.

    `score` gives the item's score and the text that the model preferred, if there was something to choose.
    Raise `version` when a score changes.
    """

    offers: Callable[[Item], list[Continuation]]
    score: Callable[[Item, Sequence[Likelihood]], tuple[Score, str]]
    about: str
    better: Better = "higher"
    unit: str = ""
    version: int = 1


def answer_message(item: Item) -> Message:
    """The assistant message that a golden item expects."""
    if not item.answer:
        raise EvaluateError(
            f"item {item.id!r}: it has no answer that could be priced; take a scorer that reads its checker"
        )
    value = item.answer["value"]
    if item.answer.get("type") == "tool_calls":
        return Message("assistant", tool_calls=tuple(ToolCall(call["name"], call["arguments"]) for call in value))
    return Message("assistant", str(value))


def _answer(item: Item) -> list[Continuation]:
    """The expected answer: whole, with the stop token, or as it goes on behind a plain text."""
    message = answer_message(item)
    return [message] if item.text is None else [message.content]


def _likelihood(item: Item, prices: Sequence[Likelihood]) -> tuple[Score, str]:
    value = prices[0].nats / prices[0].num_tokens
    return Score(value, f"mean log-probability of the expected answer: {value:.3f} nats per token"), ""


def _bits_per_byte(item: Item, prices: Sequence[Likelihood]) -> tuple[Score, str]:
    price = prices[0]
    value = -price.nats / math.log(2) / price.num_bytes
    return Score(value, f"{value:.4f} bits per byte over {price.num_bytes:,} bytes, {price.num_tokens:,} tokens"), ""


def _text_loss(item: Item, prices: Sequence[Likelihood]) -> tuple[Score, str]:
    price = prices[0]
    value, bits = -price.nats / price.num_tokens, -price.nats / math.log(2) / price.num_bytes
    return Score(value, f"{value:.4f} nats per token, {bits:.4f} bits per byte; {price.num_tokens:,} tokens"), ""


def _choices(item: Item) -> list[Continuation]:
    """The choices; labels are whole answers, with the stop token, for one may begin like another."""
    if not item.choices or item.answer.get("value") not in item.choices:
        raise EvaluateError(
            f"item {item.id!r}: multiple choice needs 'choices', and an answer whose value is one of them, such as "
            '"choices": ["yes", "no"], "answer": {"type": "choice", "value": "yes"}'
        )
    if item.answer["type"] == "label" and item.text is None:
        return [Message("assistant", choice) for choice in item.choices]
    return list(item.choices)


def _chosen(item: Item, values: Sequence[float]) -> tuple[Score, str]:
    best = item.choices[max(range(len(values)), key=values.__getitem__)]
    right = item.answer["value"]
    shown = ", ".join(f"{cut(each)} {value:.2f}" for each, value in zip(item.choices[:8], values, strict=False))
    verdict = "as expected" if best == right else f"not {cut(right)}"
    return Score(float(best == right), f"it prefers {cut(best)}, {verdict} (nats: {shown})."), best


def _by(length: Callable[[Likelihood], int]) -> Callable[[Item, Sequence[Likelihood]], tuple[Score, str]]:
    return lambda item, prices: _chosen(item, [price.nats / length(price) for price in prices])


PRICES: Mapping[str, Price] = {
    "likelihood": Price(_answer, _likelihood, "mean log-probability of the expected answer", unit="nats per token"),
    "bits_per_byte": Price(_answer, _bits_per_byte, "price of plain text", "lower", "bits per byte"),
    "text_loss": Price(_answer, _text_loss, "loss of plain text", "lower", "nats per token"),
    "choice": Price(_choices, _by(lambda price: 1), "the likeliest choice is right"),
    "choice_by_byte": Price(_choices, _by(lambda price: price.num_bytes), "the likeliest choice a byte is right"),
    "choice_by_token": Price(_choices, _by(lambda price: price.num_tokens), "the likeliest choice a token is right"),
}


def text_facts(items: Sequence[Item], samples: Sequence[Sample], unit: str = "bits per byte") -> dict[str, float]:
    """Figures of a whole text: its bits per byte over all bytes, and its perplexity a token and a word.

    `unit` is that of the samples' scores: "bits per byte" or "nats per token".

    The mean over pieces weighs short and long ones alike; these weigh each byte, token or word.
    """
    sizes = {item.id: str(item.answer["value"]) for item in items}
    num_bytes = {name: len(text.encode("utf-8", "surrogatepass")) for name, text in sizes.items()}
    is_bits = unit == "bits per byte"
    nats = sum(
        sample.score * (num_bytes[sample.item_id] * math.log(2) if is_bits else sample.num_tokens) for sample in samples
    )
    num_tokens = sum(sample.num_tokens for sample in samples)
    num_words = sum(len(text.split()) for text in sizes.values())
    return {
        "bits_per_byte": nats / math.log(2) / sum(num_bytes.values()),
        "perplexity": _exp(nats / num_tokens),
        "word_perplexity": _exp(nats / max(num_words, 1)),
    }


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
