"""Instructions that a program can check, and plain texts that a program can see continued.

`INSTRUCTIONS` reads `verifiable_instructions.jsonl`: prompts, each with the checks its answer must pass. The idea of
verifiable instructions is that of IFEval (Zhou et al. 2023); prompts and checks are written for this study, short
enough for a small model. A check is a pure function of the answer, strict: nothing is stripped but outer white space,
and an empty answer passes none. A short answer passes some of them more easily than a long one ("no commas"), so the
length of answers belongs beside the share that passes.

`CONTINUATIONS` are texts for a model that is given no chat template, and what must come next.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tunesmith.files import read_jsonl

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_SENTENCE_END = re.compile(r"[.!?]+[\"'”’)]*(?=\s|$)")


class Instruction(NamedTuple):
    """A prompt and its checks, each (name in CHECKS, further arguments)."""

    id: str
    prompt: str
    checks: tuple[tuple[str, tuple[Any, ...]], ...]


class Continuation(NamedTuple):
    """A plain text and the pattern that the text after it must begin with, white space aside."""

    text: str
    pattern: str


def all_capitals(answer: str) -> bool:
    """Every letter is a capital, and there is a letter."""
    return answer.isupper()


def all_lowercase(answer: str) -> bool:
    return answer.islower()


def bullets(answer: str, count: int) -> bool:
    """Exactly `count` lines begin with "- "."""
    return sum(line.startswith("- ") for line in answer.splitlines()) == count


def numbered(answer: str, count: int) -> bool:
    """The lines that begin with a number and a period are 1 to `count`, in order."""
    return [int(each) for each in re.findall(r"^(\d+)\. ", answer, re.MULTILINE)] == list(range(1, count + 1))


def at_most_words(answer: str, count: int) -> bool:
    return len(_WORD.findall(answer)) <= count


def at_least_words(answer: str, count: int) -> bool:
    return len(_WORD.findall(answer)) >= count


def one_sentence(answer: str) -> bool:
    """One mark that ends a sentence, and nothing after it. Abbreviations count as ends, as in any simple splitter."""
    ends = list(_SENTENCE_END.finditer(answer))
    return len(ends) == 1 and ends[0].end() == len(answer)


def paragraphs(answer: str, count: int) -> bool:
    """Exactly `count` stretches of text with empty lines between them."""
    return len(re.split(r"\n\s*\n", answer)) == count


def starts_with(answer: str, phrase: str) -> bool:
    return re.match(rf"{re.escape(phrase)}(?!\w)", answer) is not None


def ends_with(answer: str, phrase: str) -> bool:
    return answer.endswith(phrase)


def in_double_quotes(answer: str) -> bool:
    """The whole answer stands between one pair of straight double quotes."""
    return len(answer) > 2 and answer[0] == answer[-1] == '"' and answer.count('"') == 2


def contains_word(answer: str, word: str, count: int = 1) -> bool:
    """The word stands there at least `count` times, in whatever case, and not as a part of another word."""
    return len(_occurrences(answer, word)) >= count


def without_word(answer: str, word: str) -> bool:
    return not _occurrences(answer, word)


def without_commas(answer: str) -> bool:
    return "," not in answer


def only_digits(answer: str) -> bool:
    return answer.isascii() and answer.isdigit()


def is_one_of(answer: str, *accepted: str) -> bool:
    """The answer is one of the accepted ones, to the letter."""
    return answer in accepted


def json_with_keys(answer: str, *keys: str) -> bool:
    """A JSON object with these keys and no others, and nothing around it."""
    try:
        value = json.loads(answer)
    except ValueError:
        return False
    return isinstance(value, dict) and value.keys() == set(keys)


def _occurrences(answer: str, word: str) -> list[str]:
    return re.findall(rf"(?<!\w){re.escape(word)}(?!\w)", answer, re.IGNORECASE)


CHECKS: dict[str, Callable[..., bool]] = {
    check.__name__: check
    for check in (
        all_capitals,
        all_lowercase,
        bullets,
        numbered,
        at_most_words,
        at_least_words,
        one_sentence,
        paragraphs,
        starts_with,
        ends_with,
        in_double_quotes,
        contains_word,
        without_word,
        without_commas,
        only_digits,
        is_one_of,
        json_with_keys,
    )
}


def is_followed(instruction: Instruction, answer: str) -> bool:
    """Whether the answer passes every check of its instruction."""
    given = answer.strip()
    return bool(given) and all(CHECKS[name](given, *values) for name, values in instruction.checks)


def is_continued(continuation: Continuation, text: str) -> bool:
    """Whether the text goes on as it must, rather than with an answer or a remark."""
    return re.match(rf"\s*(?:{continuation.pattern})", text, re.IGNORECASE) is not None


def read_instructions(path: Path) -> tuple[Instruction, ...]:
    """The instructions of a file of lines `{"id", "prompt", "checks": [[name, value, ...], ...]}`."""
    return tuple(
        Instruction(raw["id"], raw["prompt"], tuple((name, tuple(values)) for name, *values in raw["checks"]))
        for _, raw in read_jsonl(path)
    )


INSTRUCTIONS = read_instructions(Path(__file__).with_suffix(".jsonl"))

CONTINUATIONS = (
    Continuation("1, 2, 3, 4,", r"5\b"),
    Continuation("10, 9, 8, 7,", r"6\b"),
    Continuation("2, 4, 6, 8,", r"10\b"),
    Continuation("a, b, c, d, e,", r"f\b"),
    Continuation("Monday, Tuesday, Wednesday,", r"(?:and )?Thursday\b"),
    Continuation("January, February, March,", r"(?:and )?April\b"),
    Continuation("The quick brown fox jumps over the", r"lazy dog\b"),
    Continuation("Once upon a", r"time\b"),
    Continuation("Roses are red, violets are", r"blue\b"),
    Continuation("Twinkle, twinkle, little", r"star\b"),
    Continuation("la la la la la la la", r",? ?la\b"),
    Continuation("yes, yes, yes, yes,", r"(?:yes|no)\b"),
    Continuation("The capital of France is Paris. The capital of Italy is", r"Rome\b"),
    Continuation("def add(a, b):\n    return", r"\(?a ?\+ ?b\b"),
    Continuation("for i in range(10):\n    print(", r"i\b"),
    Continuation("<ul>\n<li>one</li>\n<li>two</li>\n<li>", r"three\b"),
)
