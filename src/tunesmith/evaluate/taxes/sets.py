"""The sets of the panel and how they are asked. Answers are short, so that the whole panel fits a laptop.

At most, a model answers 112 prompts with 64 tokens, 107 with 64 and 66 with 256: 31,000 tokens.
"""

from tunesmith.evaluate.taxes.tax import PanelSet
from tunesmith.generate import Sampling

REFUSALS = PanelSet("refusals", "refusal", Sampling(max_tokens=64))
QUESTIONS = PanelSet("questions", "abstention", Sampling(max_tokens=64))
WRITING = PanelSet("writing", "words", Sampling(max_tokens=256))
