"""JSON by value: 1.0 is 1, the order of keys does not count, true is not 1. The type `json`.

Hostile JSON is refused before the parser sees it: depth, length of numbers, repeated keys, NaN and Infinity.
"""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tunesmith.verify.equivalence.readings import Kind, Reading, Wanted

DEEPEST = 200
LONGEST_NUMBER = 300
STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
BRACKETS = re.compile(r'[\[\]{}]|"')
FENCE = re.compile(r"```(?:json|JSON)?[ \t]*\n(.*?)```", re.DOTALL)
OPENERS = {"{": "}", "[": "]"}


class Refused(ValueError):
    """A JSON text that is not read, and why."""


def json_value(text: str) -> Any:
    """The value of a JSON text, numbers as fractions. Raises Refused."""
    if _depth(text) > DEEPEST:
        raise Refused(f"it is nested deeper than {DEEPEST}")
    try:
        return json.loads(
            text,
            parse_int=_number,
            parse_float=_number,
            parse_constant=_constant,
            object_pairs_hook=_object,
            strict=False,
        )
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, Refused) else Refused("it is not valid JSON") from error


def canonical(value: Any) -> str:
    """One spelling for equal values. Integral floats and fractions are spelled as integers."""
    return json.dumps(_plain(value), sort_keys=True, ensure_ascii=False)


def read_json(text: str, wanted: Wanted) -> Reading | None:
    text = text.strip("` \n").removeprefix("json\n")
    if not text or text[0] not in '{["-0123456789tfn':
        return None
    try:
        return Reading(canonical(json_value(text)), "by value", 0, len(text))
    except Refused as error:
        return Reading(None, "by value", 0, len(text), str(error)) if "valid" not in str(error) else None


def find_json(text: str, wanted: Wanted) -> list[Reading]:
    """JSON objects and lists in fenced blocks; where there is none, those that stand in the text."""
    fenced = [(match.start(1), match[1]) for match in FENCE.finditer(text)]
    found = [
        (start, reading) for start, part in fenced or _blocks(text) if (reading := read_json(part.strip(), wanted))
    ]
    return [
        Reading(reading.value, reading.form, start, start + reading.end, reading.problem) for start, reading in found
    ]


def json_differs(gold: Reading, seen: Reading, wanted: Wanted) -> str | None:
    return None if gold.value == seen.value else "differs"


def _blocks(text: str) -> Iterator[tuple[int, str]]:
    """The outermost balanced { } and [ ] of a text, with their starts; brackets inside strings do not count."""
    stack: list[str] = []
    position = start = 0
    while match := BRACKETS.search(text, position):
        position = match.end()
        if match[0] == '"':
            position = _after_string(text, match.start()) if stack else position
        elif match[0] in OPENERS:
            start = start if stack else match.start()
            stack.append(OPENERS[match[0]])
        elif stack and stack[-1] == match[0]:
            stack.pop()
            if not stack:
                yield start, text[start:position]
        else:
            stack.clear()


def _after_string(text: str, start: int) -> int:
    match = STRING.match(text, start)
    return match.end() if match else start + 1


def _depth(text: str) -> int:
    depth = deepest = position = 0
    while match := BRACKETS.search(text, position):
        position = _after_string(text, match.start()) if match[0] == '"' else match.end()
        depth += 1 if match[0] in OPENERS else -1 if match[0] in "]}" else 0
        deepest = max(deepest, depth)
    return deepest


def _number(text: str) -> Fraction:
    if len(text) > LONGEST_NUMBER:
        raise Refused("it holds a number beyond the bounds")
    value = Decimal(text)
    if value and abs(value.adjusted()) > LONGEST_NUMBER:
        raise Refused("it holds a number beyond the bounds")
    return Fraction(value)


def _constant(text: str) -> Any:
    raise Refused(f"{text} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise Refused("a key is repeated")
    return result


def _plain(value: Any) -> Any:
    """1.0 becomes 1, which JSON does not tell apart; true stays true, which Python would take for 1."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if not isinstance(value, Fraction):
        return value
    if value.denominator == 1:
        return int(value)
    near = float(value)
    return near if Fraction(repr(near)) == value else {"\ue000number": f"{value.numerator}/{value.denominator}"}


JSON = Kind(str.strip, read_json, find_json, json_differs, (), str.strip, str.strip)
