r"""Where in a completion the answer stands.

The first of these that can be read: the whole text where it is short; what follows `####`; what stands in \boxed{};
what follows "the answer is" or "Answer:"; by type, the last value of the text. Reasoning up to </think> is not looked
at. Marks of one sort that contradict each other are refused, unless words of correction stand between them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.verify.equivalence.readings import Kind, Reading, Wanted

LONGEST_WHOLE = 300
WINDOW = 50_000
MOST_MARKS = 8
HASHES = re.compile(r"####[ *]{0,4}([^\n#]{1,300})")
BOX = re.compile(r"\\(?:boxed|fbox) ?\{|\\.|[{}]", re.DOTALL)
ANNOUNCED = re.compile(
    r"\b(?:answer|result|solution|option|choice)\b[*_\"']{0,4}"
    r"(?: (?:to|of|for|in|here)\b[^.:=\n]{0,100}?)?"
    r"(?: ?[*_]{0,3}:[*_]{0,3}|[*_]{0,3}(?=\n)| is\b:?| are\b:?| was\b:?| =)"
    r"(?: therefore| thus| simply| indeed| just)?[*_ ]{0,6}",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"[.!?][*_\"')]{0,3} (?=[A-Z(*])")
CORRECTION = re.compile(
    r"\b(?:wait|actually|correction|sorry|mistake|oops|instead|however|re-?check|double-check|let me"
    r"|incorrect|wrong|rather)\b",
    re.IGNORECASE,
)
BETWEEN_RIVALS = (
    "-",
    "--",
    "to",
    "or",
    "and",
    "/",
    "&",
    "and/or",
    "or maybe",
    "or perhaps",
    "or possibly",
    "or even",
    ", or",
)
DENIED = re.compile(r"(?:not|never|neither|unknown|unclear)\b", re.IGNORECASE)

DENYING = re.compile(r"(?:\bnot|\bnever|n't)\s[*_$(]{0,3}\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Standing:
    """The reading, where it stood, and why there is none."""

    reading: Reading | None
    where: str
    shown: str
    refused: str = ""


def stand(text: str, kind: Kind, wanted: Wanted) -> Standing:
    """Find the final answer of a prepared text."""
    text, is_open = _after_reasoning(text)
    if is_open or not text:
        return Standing(None, "", "", "no answer")
    whole = kind.bare(text) if len(text) <= LONGEST_WHOLE else ""
    if whole and (reading := kind.read(whole, wanted)) and wanted.type != "text":
        return Standing(reading, "whole text", whole, reading.problem)
    text = text[-WINDOW:]
    for where, spans in (("after ####", _hashes), ("in \\boxed", _boxes), ("announced", _announced)):
        standing = _at_marks(text, list(spans(text))[-MOST_MARKS:], where, kind, wanted)
        if standing is not None:
            return standing
    return _unmarked(text, whole, kind, wanted)


def _after_reasoning(text: str) -> tuple[str, bool]:
    _, closed, after = text.rpartition("</think>")
    if closed:
        return after.strip(), False
    return text, text.startswith("<think>")


def _unmarked(text: str, whole: str, kind: Kind, wanted: Wanted) -> Standing:
    if wanted.type == "text" and whole:
        found = kind.find(text, wanted)
        reading = kind.read(whole, wanted)
        return Standing(found[-1] if found else reading, "end of the sentence" if found else "whole text", whole)
    found = [
        reading
        for reading in kind.find(text, wanted)
        if not DENYING.search(text, max(0, reading.start - 8), reading.start)
    ]
    if not found:
        return Standing(None, "", text, "no answer")
    last = found[-1]
    rivals = len(found) > 1 and _are_rivals(found[-2], last, text, kind, wanted)
    shown = text[last.start : last.end]
    return Standing(last, f"last {wanted.type}", shown, "contradiction" if rivals else last.problem)


def _are_rivals(one: Reading, other: Reading, text: str, kind: Kind, wanted: Wanted) -> bool:
    """Whether two values stand side by side as alternatives, such as 5 or 6, or 5-6."""
    between = text[one.end : other.start].strip(" *_,$").lower() if one.end <= other.start else ""
    return between in BETWEEN_RIVALS and kind.differs(one, other, wanted) is not None


def _at_marks(text: str, spans: list[tuple[int, int]], where: str, kind: Kind, wanted: Wanted) -> Standing | None:
    """The value at the last mark that holds one; refused where an earlier one says something else."""
    read = [(span, value) for span in spans if (value := _in_span(text[span[0] : span[1]], where, kind, wanted))]
    if not read:
        return None
    span, last = read[-1]
    shown = text[span[0] : span[1]].strip()
    if last.problem:
        return Standing(last, where, shown, last.problem)
    for (start, _), earlier in read[:-1]:
        corrected = CORRECTION.search(text, start, span[0])
        if not corrected and not earlier.problem and kind.differs(last, earlier, wanted) is not None:
            return Standing(last, where, shown, "contradiction")
    return Standing(last, where, shown)


def _in_span(span: str, where: str, kind: Kind, wanted: Wanted) -> Reading | None:
    """The value of what follows a mark: all of it, its first sentence, what follows its last =, or its first value."""
    if DENIED.match(span.strip()):
        return None
    sentence = SENTENCE_END.split(span, maxsplit=1)[0]
    for part in (span, sentence, sentence.rpartition("=")[2]):
        if len(part) <= LONGEST_WHOLE and (stripped := kind.bare(part)) and (reading := kind.read(stripped, wanted)):
            return reading
    part = kind.bare(sentence.rpartition("=")[2])
    found = kind.find(part, wanted)
    if not found or (where == "after ####" and found[0].start > 0):
        return None
    if len(found) > 1 and _are_rivals(found[0], found[1], part, kind, wanted):
        return Reading(found[0].value, found[0].form, problem="contradiction")
    return found[0]


def _hashes(text: str) -> Iterator[tuple[int, int]]:
    return (match.span(1) for match in HASHES.finditer(text))


def _boxes(text: str) -> Iterator[tuple[int, int]]:
    r"""What stands in the balanced braces of each \boxed{}."""
    starts: list[int | None] = []
    for match in BOX.finditer(text):
        if match[0] == "}":
            start = starts.pop() if starts else None
            if start is not None:
                yield start, match.start()
        elif match[0].endswith("{") and match[0] != "\\{":
            starts.append(match.end() if len(match[0]) > 1 else None)


def _announced(text: str) -> Iterator[tuple[int, int]]:
    """The rest of the line after each announcement; the next line where that is empty."""
    matches = list(ANNOUNCED.finditer(text))
    for match, following in zip(matches, [*matches[1:], None], strict=False):
        start = match.end()
        while text[start : start + 1] in ("\n", " "):
            start += 1
        end = text.find("\n", start)
        bounds = (end if end >= 0 else len(text), following.start() if following else len(text))
        yield start, max(start, min(bounds))
