"""Two readings of a chat template, one below the other, with what they share dim and what differs in color."""

import re

from rich.text import Text

from tunesmith.render.mask.sentinels import SLOT, common_length

_AROUND = 60
_BEHIND = 160


def difference(first: str, second: str) -> Text:
    """The readings from a little before they part; slots, where fields of messages go, are shown as `…`."""
    at = common_length(first, second)
    text = Text()
    for name, reading, style in (("prompt  ", first, "green"), ("template", second, "red")):
        text.append(f"  {name} ", style="bold")
        text.append(_shown(reading[max(0, at - _AROUND) : at]), style="dim")
        text.append(_shown(reading[at : at + _BEHIND]), style=style)
        text.append("\n")
    return text


def _shown(text: str) -> str:
    return re.sub(f"{SLOT}..", "…", text, flags=re.DOTALL).replace("\n", "⏎")
