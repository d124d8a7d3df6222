"""Write docs/templates.md: what each real chat template makes of each shape of conversation.

    python scripts/template_table.py SHARED_DATA docs/templates.md

SHARED_DATA holds `chat_templates/*.jinja` and `tokenizers/`; the shapes are those of tests/render/families.py.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "render"))

from families import SHAPES, Shape, renderer

from tunesmith.errors import MaskError, RenderError, TemplateRefusal
from tunesmith.render.renderer import TemplateRenderer
from tunesmith.types import Conversation, Rendered

COLUMNS = {
    "system": ("system", "system, multi-turn"),
    "developer": ("developer",),
    "multi-turn": ("plain", "multi-turn", "unicode", "spaces", "long", "empty question"),
    "reasoning": ("reasoning", "reasoning, multi-turn"),
    "tool call": ("tool call",),
    "text beside a call": ("tool call with text",),
    "parallel calls": ("parallel tool calls",),
    "tool result": ("tool result",),
    "empty answer": ("empty answer", "blank answer"),
    "two answers in a row": ("continued answer",),
    "hostile": ("hostile everywhere", "hostile in two turns"),
}
HEAD = """# Chat templates

Every shape of conversation on {count} templates as their makers ship them, with one vocabulary (`qwen2`) that has the
control tokens of all. `make templates` writes this page; `tests/render/test_conformance.py` holds each ✓ to the
contract of [render](render.md), with two more tokenizers.

✓ rendered, with a proven mask. ✓i: rendered after `render.reasoning = inline`, since the template has no place for
reasoning. *own*: the template refuses the shape with its own message. Any other word names why the mask cannot be
proven (see [render](render.md#refusals)). *History*: whether earlier answers change when a new question comes, so
that the turns of a conversation become a tree.

"""


def main(shared: Path, page: Path) -> None:
    paths = sorted((shared / "chat_templates").glob("*.jinja"))
    lines = [HEAD.format(count=len(paths))]
    lines.append("| template | stop | history | " + " | ".join(COLUMNS) + " |\n")
    lines.append("|---|---|---|" + "---|" * len(COLUMNS) + "\n")
    for path in paths:
        made = renderer(path, shared / "tokenizers")
        inline = renderer(path, shared / "tokenizers", reasoning="inline")
        cells = [cell(made, inline, names) for names in COLUMNS.values()]
        stop = made.prover.stops.names[0].replace("|", "\\|").replace("\n", "\\n")
        lines.append(f"| {path.stem} | `{stop}` | {history(made)} | " + " | ".join(cells) + " |\n")
    page.write_text("".join(lines), encoding="utf-8")


def cell(made: TemplateRenderer, inline: TemplateRenderer, names: tuple[str, ...]) -> str:
    found = [outcome(made, SHAPES[name]) for name in names]
    if "reasoning_lost" in found:
        again = {outcome(inline, SHAPES[name]) for name in names}
        return "✓i" if again == {"✓"} else "reasoning_lost"
    return ", ".join(dict.fromkeys(found))


def outcome(made: TemplateRenderer, shape: Shape) -> str:
    found = made.render_many([Conversation("c", shape.messages, tools=shape.tools)])[0]
    if isinstance(found, Rendered):
        return "✓"
    if isinstance(found, MaskError):
        return found.name
    # Jinja's own errors are the template's as well: a value that it takes for granted was not given.
    return "*own*" if isinstance(found, TemplateRefusal | RenderError) else "?"


def history(made: TemplateRenderer) -> str:
    for name in ("multi-turn", "reasoning, multi-turn"):
        found = made.render_many([Conversation("c", SHAPES[name].messages)])[0]
        if isinstance(found, Rendered) and not found.is_linear:
            return "rewritten"
    return "kept"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
