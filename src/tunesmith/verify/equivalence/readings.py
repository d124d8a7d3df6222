"""The nouns of the comparison: what an answer asks for, what was read, and a type's three questions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from tunesmith.verify.equivalence.texts import bare, normalized


@dataclass(frozen=True, slots=True)
class Wanted:
    """The type of an answer and the options that its type reads. `tolerance` is absolute."""

    type: str
    tolerance: Fraction = Fraction(0)
    unit: str = ""
    locale: str = "en"
    order: str = ""
    options: tuple[str, ...] = ()
    of: str = "text"
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reading:
    """A value read from `text[start:end]`; `form` says how it was written, `problem` why it cannot be used."""

    value: Any
    form: str
    start: int = 0
    end: int = 0
    problem: str = ""


class Kind(NamedTuple):
    """A type of answer.

    `prepare` makes of any text the one that the others see. `read` takes a whole text as one value, `find` gives
    the values that stand in running text, in order; `differs` gives the reason why two readings are not equal, or
    None. `options` names the fields of an answer that the type reads. `bare` takes
    off what may stand around a value. Texts of one `spelling` are equal at once.
    """

    prepare: Callable[[str], str]
    read: Callable[[str, Wanted], Reading | None]
    find: Callable[[str, Wanted], list[Reading]]
    differs: Callable[[Reading, Reading, Wanted], str | None]
    options: tuple[str, ...] = ()
    spelling: Callable[[str], str] = normalized
    bare: Callable[[str], str] = bare
