"""Golden items and the scorers that say whether an answer is right.

An item is one line of a golden file: a prompt, and what counts as the answer. A scorer takes an item and a
completion and gives a value and one sentence; yours and the built-in ones have the same signature.
"""

from tunesmith.verify.items import Item, item_from_conversation, item_from_record, items_digest, read_items
from tunesmith.verify.loading import apply_scorer, load_scorer
from tunesmith.verify.scorers import BUILT_IN, Scorer

__all__ = [
    "BUILT_IN",
    "Item",
    "Scorer",
    "apply_scorer",
    "item_from_conversation",
    "item_from_record",
    "items_digest",
    "load_scorer",
    "read_items",
]
