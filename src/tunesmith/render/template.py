"""Chat templates in a sandbox: Jinja as transformers runs it, without transformers.

Used to prove that a renderer reproduces the template's own text. The environment is immutable and sandboxed: a
template can read nothing but the messages it is given.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tunesmith.errors import RenderError


@lru_cache(maxsize=32)
def _compile(source: str) -> Template:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)
    environment.globals["raise_exception"] = _refuse
    return environment.from_string(source)


def _refuse(message: str) -> None:
    raise TemplateError(message)


def apply_template(
    source: str,
    messages: Sequence[Mapping[str, Any]],
    special: Mapping[str, str],
    *,
    add_generation_prompt: bool = False,
) -> str:
    """The text that a chat template makes of `messages`; raises RenderError with the template's own complaint."""
    try:
        return _compile(source).render(
            messages=[dict(message) for message in messages],
            add_generation_prompt=add_generation_prompt,
            **special,
        )
    except TemplateError as error:
        raise RenderError(f"the chat template refuses this conversation: {error}") from None
