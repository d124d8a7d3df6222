"""Template-likeness: do answers to different questions begin alike?

An answer's opener is its first three words. The value of an item is the surprisal of its opener among the model's
answers, whose mean over items is the entropy of the openers.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

from tunesmith.evaluate.taxes.sets import WRITING
from tunesmith.evaluate.taxes.tax import Answer, Tax, mean_by_item

WORD = re.compile(r"[\w']+")
OPENER_WORDS = 3
READ = 1_000

Opener = tuple[str, ...]


def opener(text: str) -> Opener:
    """The first three words, whatever their case and marks; fewer where there are fewer."""
    return tuple(WORD.findall(text.lstrip()[:READ].replace("’", "'").casefold())[:OPENER_WORDS])


def surprisal(answers: Sequence[Answer]) -> dict[str, float]:
    """-log2 of the share of the answers that have the same opener: from 0 to log2 of their number."""
    openers = [opener(answer.text) for answer in answers]
    counts = Counter(openers)
    bits = (math.log2(len(openers) / counts[each]) for each in openers)
    return mean_by_item(zip((answer.item.id for answer in answers), bits, strict=True))


def begins_alike(answers: Sequence[Answer]) -> dict[str, float]:
    """1.0 for the answers with the commonest opener, the first in the alphabet where several are."""
    openers = [opener(answer.text) for answer in answers]
    commonest = min(Counter(openers).items(), key=lambda pair: (-pair[1], pair[0]), default=((), 0))[0]
    return mean_by_item(
        (answer.item.id, float(each == commonest)) for answer, each in zip(answers, openers, strict=True)
    )


OPENERS = Tax(
    name="openers",
    panel_set=WRITING,
    about="Variety of the first three words of answers: their entropy over the questions.",
    better="higher",
    unit="bits",
    measure=surprisal,
)
COMMON_OPENER = Tax(
    name="common_opener",
    panel_set=WRITING,
    about="Share of answers that begin with the same three words, the model's favorite ones.",
    better="lower",
    unit="",
    measure=begins_alike,
)
