"""Instructions about the shape of the text: bullets, highlights, sections, titles, JSON, two answers."""

import json
import re
from typing import Any

from tunesmith.verify.instructions.findings import Finding, at_least, exactly

NOT_SPACE = re.compile(r"\S")
HIGHLIGHT = re.compile(r"\*[^\n*]*\*")
STRONG = re.compile(r"\*\*[^\n*]*\*\*")
FENCES = ("```json", "```Json", "```JSON", "```")
CHOICES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def number_bullet_lists(text: str, *, num_bullets: int) -> Finding:
    """Exactly so many lines that begin with `*` (not `**`) or `-`."""
    return exactly(_num_bullets(text, "*") + _num_bullets(text, "-"), num_bullets, "bullet points")


def number_highlighted_sections(text: str, *, num_highlights: int) -> Finding:
    """At least so many `*highlights*`; as published, a `**strong**` one counts once."""
    single = sum(1 for match in HIGHLIGHT.finditer(text) if match[0].strip("*").strip())
    strong = sum(1 for match in STRONG.finditer(text) if match[0][2:-2].strip())
    return at_least(single + strong, num_highlights, "highlights")


def multiple_sections(text: str, *, section_spliter: str, num_sections: int) -> Finding:
    """At least so many headings such as `Section 1`."""
    heading = re.compile(rf"{re.escape(section_spliter.strip())}\s?\d+")
    return at_least(sum(1 for _ in heading.finditer(text)), num_sections, "sections")


def title(text: str) -> Finding:
    """A title in `<<double angular brackets>>` on one line."""
    found = any(_has_title(line) for line in text.split("\n"))
    return Finding(found, "a title in << >>" if found else "no title in << >>")


def json_format(text: str) -> Finding:
    """The whole text is JSON, also between markdown fences."""
    body = text.strip()
    for fence in FENCES:
        body = body.removeprefix(fence)
    _, problem = read_json(body.removesuffix("```").strip())
    return Finding(problem is None, problem or "JSON")


def constrained_response(text: str) -> Finding:
    """One of the three published answers stands in the text."""
    found = next((choice for choice in CHOICES if choice in text), None)
    return Finding(found is not None, "none of the answers to choose from" if found is None else f"it says {found!r}")


def two_responses(text: str) -> Finding:
    """Two different answers with `******` between them; only the first and the last piece may be empty."""
    pieces = [piece.strip() for piece in text.split("******")]
    if not all(pieces[1:-1]):
        return Finding(False, "an empty answer between two ******")
    answers = [piece for piece in pieces if piece]
    if len(answers) == 2 and answers[0] == answers[1]:
        return Finding(False, "the same answer twice")
    return exactly(len(answers), 2, "answers divided by ******")


def read_json(text: str) -> tuple[Any, str | None]:
    """The value of a JSON text, or what is wrong with it; one nested too deeply to be read is wrong."""
    try:
        return json.loads(text), None
    except ValueError as error:
        return None, f"not JSON: {str(error)[:60]}"
    except RecursionError:
        return None, "JSON that is nested too deeply to be read"


def _num_bullets(text: str, mark: str) -> int:
    """Bullets as the published patterns find them, `^\\s*\\*[^*].*$` and `^\\s*-.*$`, but in linear time.

    A lone `*` takes the line behind it along, because `[^*]` may be a line break.
    """
    count, start = 0, 0
    while (first := NOT_SPACE.search(text, start)) is not None:
        body = _after_bullet(text, first.start(), mark)
        count += body is not None
        end = text.find("\n", first.start() if body is None else body)
        if end < 0:
            break
        start = end if text[end - 1] == "\n" else end + 1
    return count


def _after_bullet(text: str, place: int, mark: str) -> int | None:
    if text[place] != mark:
        return None
    if mark == "-":
        return place + 1
    return place + 2 if text[place + 1 : place + 2] not in ("", "*") else None


def _has_title(line: str) -> bool:
    opening, closing = line.find("<<"), line.rfind(">>")
    return 0 <= opening < closing - 2 and bool(line[opening : closing + 2].lstrip("<").rstrip(">").strip())
