"""`tunesmith show`: what exactly would be trained."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.app import app, example
from tunesmith.cli.options import DEFAULT_MODEL, Model, Sets, sections

if TYPE_CHECKING:
    from tunesmith.render import Renderer
    from tunesmith.types import Conversation, Rendered


@app.command(
    epilog=example(
        "tunesmith show data.jsonl --limit 5",
        "tunesmith show chats.json --model ./my-model --set render.train_on=last_turn",
        "tunesmith show qa.csv --set data.prompt_field=question --set data.response_field=answer",
    )
)
def show(
    file: Annotated[Path, typer.Argument(metavar="DATA_FILE", help="The data file to look at.", show_default=False)],
    model: Model = DEFAULT_MODEL,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many conversations to print.")] = 3,
    sets: Sets = None,
    plain: Annotated[bool, typer.Option("--plain", help="Mark trained tokens with ⟦ and ⟧ instead of color.")] = False,
) -> None:
    """Look at conversations as tokens: what exactly is trained?

    The first thing to run on new data. Trained tokens are on green, context is dim; where the output is no
    terminal, what is trained stands between ⟦ and ⟧.
    """
    from tunesmith.cli.console import console
    from tunesmith.data import DataConfig, data
    from tunesmith.model import ModelConfig, tokenizer_folder
    from tunesmith.render import RenderConfig, renderer_for

    values = sections("show", sets, "data", "render", "model")
    config = DataConfig.parse({"paths": [str(file)], **values["data"]}, "data")
    renderer = renderer_for(
        tokenizer_folder(ModelConfig.parse({"name": model, **values["model"]}, "model")),
        RenderConfig.parse(values["render"], "render").train_on,
    )
    _print_all(islice(data(config), limit), renderer, plain or not console().is_terminal)


def _print_all(conversations: "Iterable[Conversation]", renderer: "Renderer", is_plain: bool) -> None:
    from rich.text import Text

    from tunesmith.cli.console import console
    from tunesmith.progress import count
    from tunesmith.render.show import legend, plain_legend, plain_text, rich_text

    to = console()
    num_shown = num_tokens = num_supervised = 0
    for conversation in conversations:
        rendered = renderer.render(conversation)
        body = Text(plain_text(rendered, renderer)) if is_plain else rich_text(rendered, renderer)
        heading = f"{conversation.source or 'conversation'} ({conversation.id}): {_counts(rendered)}"
        to.print(Text(heading, style="bold"), soft_wrap=True)
        to.print(body, soft_wrap=True)
        to.print()
        num_shown += 1
        num_tokens += rendered.num_tokens
        num_supervised += rendered.num_supervised
    to.print(Text(plain_legend()) if is_plain else legend())
    share = num_supervised / max(num_tokens, 1)
    to.print(f"{count(num_shown, 'conversation')}, {num_tokens:,} tokens, {num_supervised:,} trained ({share:.0%})")


def _counts(rendered: "Rendered") -> str:
    return f"{rendered.num_tokens:,} tokens, {rendered.num_supervised:,} trained"
