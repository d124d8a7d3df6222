"""The alignment tax: what a model pays besides what it was tuned for. On by default, and no judge is needed.

Each tax reads the answers to a small set of prompts that ships with the package (`builtin:NAME`). To add one: write
its file here, its set in `verify/sets/`, and a line into `TAXES`; docs/taxes.md lists them.
"""

from tunesmith.evaluate.taxes.refusing import OVER_REFUSAL, UNSAFE_COMPLIANCE
from tunesmith.evaluate.taxes.tax import Answer, Measure, PanelSet, Tax

TAXES: tuple[Tax, ...] = (OVER_REFUSAL, UNSAFE_COMPLIANCE)
"""All of them, in the order of the report."""

__all__ = ["TAXES", "Answer", "Measure", "PanelSet", "Tax"]
