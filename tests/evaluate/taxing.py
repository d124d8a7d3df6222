"""Answers to make up: items, samples and what a tax makes of them."""

from tunesmith.evaluate.taxes import Answer, Tax
from tunesmith.types import Message, Sample
from tunesmith.verify import Item


def answer(text, item="a", tags=(), num_tokens=None, stopped=True, **record):
    """One answer to one item."""
    words = len(text.split()) if num_tokens is None else num_tokens
    asked = Item(item, "all", "gate", tuple(tags), (Message("user", "?"),), (), record.get("answer", {}), record)
    return Answer(asked, Sample("set", item, "all", "?", "", text, words, stopped, 0.0, ""))


def value(tax: Tax, text, **facts):
    """What a tax makes of one answer."""
    return tax.measure([answer(text, **facts)])["a"]
