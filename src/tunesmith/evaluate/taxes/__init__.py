"""The alignment tax: what a model pays besides what it was tuned for. On by default, and no judge is needed.

Each tax reads the answers to a small set of prompts that ships with the package (`builtin:NAME`). To add one: write
its file here, its set in `verify/sets/` and in `sets.py`, and a line into `TAXES`; docs/taxes.md lists them.
"""

from tunesmith.evaluate.taxes.consistency import CONSISTENCY, PARAPHRASED
from tunesmith.evaluate.taxes.lengths import LENGTH, STUBS, TRUNCATION
from tunesmith.evaluate.taxes.locking import CONTINUATION, STYLE_LOCKING
from tunesmith.evaluate.taxes.obedience import FORMAT_CHATTER, FORMAT_OBEDIENCE, RULES_FOLLOWED, RULES_KEPT
from tunesmith.evaluate.taxes.openers import COMMON_OPENER, OPENERS
from tunesmith.evaluate.taxes.premises import HALLUCINATION, NEEDLESS_ABSTENTION
from tunesmith.evaluate.taxes.refusing import OVER_REFUSAL, UNSAFE_COMPLIANCE
from tunesmith.evaluate.taxes.repeating import COMPRESSION, LOOPS, REPEATED_LINES, REPETITION
from tunesmith.evaluate.taxes.style import EMOJIS, HEDGING, MARKDOWN, POLITENESS
from tunesmith.evaluate.taxes.tax import Answer, Measure, PanelSet, Tax
from tunesmith.evaluate.taxes.variety import DIVERSITY

TAXES: tuple[Tax, ...] = (
    OVER_REFUSAL,
    UNSAFE_COMPLIANCE,
    HALLUCINATION,
    NEEDLESS_ABSTENTION,
    LENGTH,
    TRUNCATION,
    STUBS,
    REPETITION,
    REPEATED_LINES,
    LOOPS,
    COMPRESSION,
    OPENERS,
    COMMON_OPENER,
    POLITENESS,
    HEDGING,
    MARKDOWN,
    EMOJIS,
    FORMAT_OBEDIENCE,
    FORMAT_CHATTER,
    RULES_KEPT,
    RULES_FOLLOWED,
    CONTINUATION,
    STYLE_LOCKING,
    CONSISTENCY,
    PARAPHRASED,
    DIVERSITY,
)
"""All of them, in the order of the report."""

__all__ = ["TAXES", "Answer", "Measure", "PanelSet", "Tax"]
