"""What a check of an instruction says: whether it is followed, and what was seen."""

from typing import Literal, NamedTuple

from tunesmith.errors import EvaluateError

Relation = Literal["at least", "less than"]


class Finding(NamedTuple):
    """`seen` is a short phrase for people, such as `3 bullet points, not 5`."""

    followed: bool
    seen: str


def exactly(count: int, wanted: int, what: str) -> Finding:
    return Finding(count == wanted, f"{count} {what}" if count == wanted else f"{count} {what}, not {wanted}")


def at_least(count: int, wanted: int, what: str) -> Finding:
    return compared(count, "at least", wanted, what)


def compared(count: int, relation: str, wanted: int, what: str) -> Finding:
    """Compare as the published instructions do: `at least` includes the number itself, `less than` does not."""
    if relation not in ("at least", "less than"):
        raise EvaluateError(f"the relation must be 'at least' or 'less than', not {relation!r}; mend the item")
    followed = count >= wanted if relation == "at least" else count < wanted
    return Finding(followed, f"{count} {what}, {relation} {wanted} asked")


def shown(text: str, length: int = 40) -> str:
    """A text in quotes on one line, shortened when it is long."""
    line = " ".join(text[: 4 * length].split())
    return repr(line if len(line) <= length and len(text) <= 4 * length else f"{line[:length]}…")
