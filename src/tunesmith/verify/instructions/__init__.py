"""Instructions that a program can check: is an answer in the form that was asked for?

The 25 instructions of IFEval (Zhou et al., 2023) with their strict and loose verdicts, and our own for the built-in
sets. Each check is `check(text, **arguments) -> Finding`, reads hostile text in linear time, and never fails.
"""

from tunesmith.verify.instructions.findings import Finding
from tunesmith.verify.instructions.judge import Mode, Verdicts, judged, loose_forms
from tunesmith.verify.instructions.registry import INSTRUCTIONS, OWN, PUBLISHED, Instruction, instructions_of

__all__ = [
    "INSTRUCTIONS",
    "OWN",
    "PUBLISHED",
    "Finding",
    "Instruction",
    "Mode",
    "Verdicts",
    "instructions_of",
    "judged",
    "loose_forms",
]
