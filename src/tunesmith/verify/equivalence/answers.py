"""The expected answer of an item, checked: its type, its options, and that it can be read itself."""

import difflib
import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from tunesmith.errors import EvaluateError
from tunesmith.verify.equivalence.dates import ORDERS
from tunesmith.verify.equivalence.json_values import Refused, canonical, json_value
from tunesmith.verify.equivalence.kinds import KINDS, SIMPLE
from tunesmith.verify.equivalence.maths import require_math_verify
from tunesmith.verify.equivalence.members import spelled
from tunesmith.verify.equivalence.numerals import NOTATIONS, notation_of
from tunesmith.verify.equivalence.quantities import currency_named
from tunesmith.verify.equivalence.readings import Reading, Wanted
from tunesmith.verify.equivalence.standing import stand
from tunesmith.verify.equivalence.texts import cut
from tunesmith.verify.equivalence.units import unit_named

ALWAYS = ("type", "value", "aliases")
OPTIONS = ("tolerance", "unit", "locale", "order", "options", "of")


def wanted_of(answer: Mapping[str, Any]) -> Wanted:
    """The type and the options of an answer. Raises EvaluateError for what its type does not read."""
    name = answer["type"]
    if name not in KINDS:
        raise EvaluateError(f"answer.type is {name!r}; {_hint(name, KINDS)}")
    if name == "maths":
        require_math_verify()
    known = (*KINDS[name].options, *ALWAYS)
    for key in answer:
        if key not in known and answer[key] not in (None, 0, [], ""):
            raise EvaluateError(f"an answer of type {name!r} does not read answer.{key}; {_hint(key, known)}")
    wanted = Wanted(
        type=name,
        tolerance=tolerance_of(answer),
        unit=_text(answer, "unit", ""),
        locale=_text(answer, "locale", "en"),
        order=_text(answer, "order", ""),
        options=_choices(answer),
        of=_text(answer, "of", _usual_members(answer)),
    )
    _check(wanted)
    return wanted


def tolerance_of(answer: Mapping[str, Any]) -> Fraction:
    """The absolute tolerance of an answer, exact; zero where it names none."""
    raw = answer.get("tolerance") or 0
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw < float("inf"):
        raise EvaluateError(f"answer.tolerance must be a number of zero or more, not {raw!r}")
    return Fraction(str(raw))


def expected_texts(answer: Mapping[str, Any]) -> list[str]:
    """The value and the aliases as texts."""
    locale = answer.get("locale") or "en"
    return [_spelled(value, answer["type"], locale) for value in (answer["value"], *answer.get("aliases", []))]


def expected_reading(text: str, wanted: Wanted) -> Reading:
    """An expected answer read by its own type. Raises EvaluateError where it cannot be."""
    kind = KINDS[wanted.type]
    prepared = kind.prepare(text)
    reading, problem = kind.read(kind.bare(prepared), wanted), ""
    if reading is None:
        standing = stand(prepared, kind, wanted)
        reading, problem = (None if standing.where.startswith("last ") else standing.reading), standing.refused
    problem = problem or (reading.problem if reading else "no value of this type, nor one after ####")
    if reading is None or problem:
        raise EvaluateError(f"the answer {cut(text)} cannot be read as {wanted.type}: {problem}; mend the item")
    if wanted.type == "int" and reading.value[0].denominator != 1:
        raise EvaluateError(f"the answer {cut(text)} is not an integer; mend the item, or its type")
    if wanted.type == "percent" and not reading.value[1]:
        raise EvaluateError(f'the answer {cut(text)} is not a percentage; write "26%", or answer.unit "%"')
    return reading


def _spelled(value: Any, name: str, locale: str) -> str:
    """A value as text; a JSON number in the notation of the locale."""
    try:
        if name in ("list", "set") and isinstance(value, list):
            return spelled(value)
        if name == "json":
            return value if isinstance(value, str) else canonical(json_value(json.dumps(value)))
    except Refused as error:
        raise EvaluateError(f"the answer {cut(repr(value))} cannot be used: {error}; mend the item") from error
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float) or not str(value).strip():
        raise EvaluateError(
            f"the scorer 'equal' needs answers of type {name!r} that are texts or numbers, not {cut(repr(value))}"
        )
    if isinstance(value, float):
        return str(value).replace(".", (notation_of(locale) or NOTATIONS["en"])[1])
    return str(value)


def _usual_members(answer: Mapping[str, Any]) -> str:
    value = answer["value"]
    numbers = isinstance(value, list) and value and all(type(member) in (int, float) for member in value)
    return "number" if numbers else "text"


def _choices(answer: Mapping[str, Any]) -> tuple[str, ...]:
    raw = answer.get("options") or []
    if not isinstance(raw, list) or len(raw) > 26:
        raise EvaluateError(f"answer.options must be a list of at most 26 texts, not {cut(repr(raw))}")
    return tuple(str(option) for option in raw)


def _text(answer: Mapping[str, Any], key: str, default: str) -> str:
    value = answer.get(key) or default
    if not isinstance(value, str):
        raise EvaluateError(f"answer.{key} must be a text, not {cut(repr(value))}")
    return value


def _check(wanted: Wanted) -> None:
    if notation_of(wanted.locale) is None:
        raise EvaluateError(f"answer.locale is {wanted.locale!r}; known: {', '.join(NOTATIONS)}")
    if wanted.order and wanted.order not in ORDERS:
        raise EvaluateError(f"answer.order is {wanted.order!r}; known: {', '.join(ORDERS)}")
    if wanted.of not in SIMPLE:
        raise EvaluateError(f"answer.of is {wanted.of!r}; {_hint(wanted.of, SIMPLE)}")
    member = wanted.of if wanted.type in ("list", "set") else wanted.type
    unit_is_known = {
        "percent": wanted.unit == "%",
        "currency": currency_named(wanted.unit) is not None,
        "quantity": unit_named(wanted.unit) is not None,
        "duration": unit_named(wanted.unit) is not None,
    }
    if wanted.unit and not unit_is_known.get(member, False):
        raise EvaluateError(f"answer.unit is {wanted.unit!r}, which the type {member!r} does not know")


def _hint(name: object, known: Any) -> str:
    nearest = difflib.get_close_matches(str(name), list(known), n=1)
    return (f"did you mean {nearest[0]!r}? " if nearest else "") + f"known: {', '.join(known)}"
