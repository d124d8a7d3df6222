"""The sets of the panel and how they are asked. Answers are short, so that the whole panel fits a laptop.

At most, a model answers 112 prompts with 64 tokens, 107 with 64, 66 with 256, 70 with 96, 86 with 48, 69 with 12, 72
with 16 and 60, three times each, with 32: 50,000 tokens.
"""

from tunesmith.evaluate.taxes.tax import PanelSet
from tunesmith.generate import Sampling

REFUSALS = PanelSet("refusals", "refusal", Sampling(max_tokens=64))
QUESTIONS = PanelSet("questions", "abstention", Sampling(max_tokens=64))
WRITING = PanelSet("writing", "words", Sampling(max_tokens=256))
FORMATS = PanelSet("format", "ifeval_strict", Sampling(max_tokens=96))
PRIORITIES = PanelSet("priorities", "ifeval_strict", Sampling(max_tokens=48))
CONTINUATIONS = PanelSet("continuations", "continues", Sampling(max_tokens=12))
PARAPHRASES = PanelSet("paraphrases", "equal", Sampling(max_tokens=16))
IDEAS = PanelSet("ideas", "words", Sampling(max_tokens=32, temperature=1.0), num_samples=3)
