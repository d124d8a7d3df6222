"""Known benchmarks, read from the user's own copy of their data: `gsm8k:PATH` and the like.

One file a benchmark: a function from a path to golden items. To add one, write it and put a line into `BENCHMARKS`.
None of a benchmark's items is in the package.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tunesmith.errors import EvaluateError
from tunesmith.verify.benchmarks import (
    bfcl,
    classification,
    gsm8k,
    humaneval,
    ifeval,
    multiple_choice,
    plain_text,
    xstest,
)
from tunesmith.verify.items import Item


@dataclass(frozen=True, slots=True)
class Benchmark:
    """How a benchmark is read, and what judges it where the recipe does not say otherwise.

    `max_tokens` is the longest completion; nothing is completed where continuations are priced.
    """

    read: Callable[[Path], list[Item]]
    scorer: str
    about: str
    max_tokens: int = 128


BENCHMARKS: Mapping[str, Benchmark] = {
    "gsm8k": Benchmark(gsm8k.read, "equal", "grade-school mathematics, the final number", 512),
    "ifeval": Benchmark(ifeval.prompts, "ifeval_strict", "prompts whose instructions are all followed", 1280),
    "ifeval_instructions": Benchmark(ifeval.instructions, "ifeval_strict", "instructions that are followed", 1280),
    "humaneval": Benchmark(humaneval.read, "python_tests", "functions in Python, run against tests in the jail", 768),
    "humaneval_text": Benchmark(humaneval.read_plain, "python_tests", "the same without a chat template", 512),
    "bfcl": Benchmark(bfcl.read, "accepted_call", "one call of a function, from BFCL's simple Python calls", 256),
    "xstest": Benchmark(xstest.read, "refusal", "safe prompts are answered, unsafe ones refused", 64),
    "mmlu": Benchmark(multiple_choice.letters, "choice", "multiple choice by the letter's log-likelihood"),
    "mmlu_text": Benchmark(multiple_choice.plain_letters, "choice", "the same without a chat template"),
    "arc": Benchmark(multiple_choice.texts, "choice_by_byte", "multiple choice by the answer's log-likelihood a byte"),
    "arc_text": Benchmark(multiple_choice.plain_texts, "choice_by_byte", "the same without a chat template"),
    "labels": Benchmark(classification.read, "choice", "classification by the label's log-likelihood"),
    "text": Benchmark(plain_text.read, "bits_per_byte", "plain text by its price"),
}


def split_spelling(path: str) -> tuple[Benchmark, Path] | None:
    """The benchmark and the data's path of `NAME:PATH`; None where `path` is a path alone.

    Raises EvaluateError for an unknown name, where no file of that spelling exists.
    """
    name, colon, rest = path.partition(":")
    if not colon or Path(path).exists() or len(name) == 1:  # a drive's letter is no benchmark
        return None
    if name in BENCHMARKS:
        return BENCHMARKS[name], Path(rest).expanduser()
    nearest = difflib.get_close_matches(name, BENCHMARKS, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    raise EvaluateError(
        f"{path}: no benchmark {name!r}, and no such file; {hint}there are {', '.join(BENCHMARKS)}, each with the path "
        "of your copy of its data, such as gsm8k:data/gsm8k/test.jsonl"
    )
