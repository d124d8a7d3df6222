"""The base of every stage's configuration: frozen, exact, and documented by the sentence under each field."""

import difflib
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from tunesmith.errors import ConfigError


class Config(BaseModel):
    """A frozen schema. The docstring under each field is its help text, its row in the docs and its tooltip."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "recipe") -> Self:
        """Validate `values`; raises ConfigError that lists all problems at once, with the nearest key for each
        unknown one. `where` names the origin in the message."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            problems = "\n".join(f"  - {_explain(cls, problem)}" for problem in error.errors())
            raise ConfigError(f"{where}: {error.error_count()} problem(s)\n{problems}") from None


def _explain(root: type[BaseModel], problem: Any) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        seen = "" if problem["type"] == "missing" else f" (seen: {problem['input']!r})"
        return f"{path}: {problem['msg']}{seen}"
    known = _fields_at(root, problem["loc"][:-1])
    nearest = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"known here: {', '.join(known)}"
    return f"{path}: no such field; {hint}"


def _fields_at(root: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The field names of the nested model that `path` leads to (list indices are stepped over)."""
    model: Any = root
    for part in path:
        if isinstance(part, int):
            continue
        model = inner_config(model.model_fields[part].annotation)
    return list(model.model_fields)


def inner_config(annotation: Any) -> Any:
    """The Config inside an annotation such as `X`, `X | None` or `tuple[X, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = inner_config(argument)
        if found is not None:
            return found
    return None
