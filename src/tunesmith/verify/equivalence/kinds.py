"""All types of answers that the scorer `equal` knows, by name."""

from collections.abc import Mapping

from tunesmith.verify.equivalence.amounts import NUMBER, PERCENT
from tunesmith.verify.equivalence.choices import BOOLEAN, CHOICE
from tunesmith.verify.equivalence.dates import DATE, TIME
from tunesmith.verify.equivalence.json_values import JSON
from tunesmith.verify.equivalence.maths import MATHS
from tunesmith.verify.equivalence.members import member_kind
from tunesmith.verify.equivalence.phrases import TEXT
from tunesmith.verify.equivalence.quantities import CURRENCY, DURATION, QUANTITY
from tunesmith.verify.equivalence.readings import Kind

SIMPLE: Mapping[str, Kind] = {
    "text": TEXT,
    "number": NUMBER,
    "int": NUMBER,
    "float": NUMBER,
    "fraction": NUMBER,
    "ordinal": NUMBER,
    "percent": PERCENT,
    "currency": CURRENCY,
    "quantity": QUANTITY,
    "duration": DURATION,
    "date": DATE,
    "time": TIME,
    "choice": CHOICE,
    "boolean": BOOLEAN,
}
KINDS: Mapping[str, Kind] = {
    **SIMPLE,
    "list": member_kind(SIMPLE, ordered=True),
    "set": member_kind(SIMPLE, ordered=False),
    "json": JSON,
    "maths": MATHS,
}
