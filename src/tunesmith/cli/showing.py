"""`tunesmith show`: what exactly would be trained."""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tunesmith.cli.app import app, example
from tunesmith.cli.options import DEFAULT_MODEL, Model, Sets, sections

if TYPE_CHECKING:
    from tunesmith.data import DataConfig
    from tunesmith.render import RenderConfig, Renderer
    from tunesmith.render.show.tokens import Reader
    from tunesmith.render.show.views import View
    from tunesmith.types import Conversation

NUM_PRINTED = 3
NUM_ON_A_PAGE = 1000


@app.command(
    epilog=example(
        "tunesmith show data.jsonl --limit 5",
        "tunesmith show chats.json --html chats.html",
        "tunesmith show chats.json --longest 3 --set render.max_tokens=4096",
        "tunesmith show chats.json --model ./my-model --set render.train_on=last_turn",
        "tunesmith show qa.csv --set data.prompt_field=question --set data.response_field=answer",
    )
)
def show(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A data file, folder or glob.", show_default=False)],
    model: Model = DEFAULT_MODEL,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page to look around in, instead of printing."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="How many to show: 3, or 1,000 on a page, if not given."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="S", help="Only those of the file S, or the one at S = file:line."),
    ] = None,
    longest: Annotated[
        int | None, typer.Option("--longest", metavar="N", min=1, help="The N with the most tokens, instead.")
    ] = None,
    most_truncated: Annotated[
        int | None,
        typer.Option("--most-truncated", metavar="N", min=1, help="The N that lose the most tokens, instead."),
    ] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="Print a thin line behind each token.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Mark trained tokens with ⟦ and ⟧ instead of color.")] = False,
    sets: Sets = None,
) -> None:
    """Look at conversations as tokens: what exactly is trained?

    The first thing to run on new data. Trained tokens stand on a ground of color, context is dim, what is cut away
    is crossed out; where the output is no terminal, what is trained stands between ⟦ and ⟧.
    """
    from tunesmith.data import data as stream
    from tunesmith.errors import ConfigError
    from tunesmith.render.show.tokens import Reader
    from tunesmith.render.show.views import views

    if sum(each is not None for each in (limit, longest, most_truncated)) > 1:
        raise ConfigError("--limit, --longest and --most-truncated each say which to show; give one of them")
    data_config, config, renderer, _ = opened("show", data, model, sets)
    wanted = (each for each in stream(data_config) if _is_from(each, source))
    if longest or most_truncated:
        found = _largest(views(config, renderer, wanted), longest, most_truncated)
    else:
        number = limit or (NUM_PRINTED if html is None else NUM_ON_A_PAGE)
        found = views(config, renderer, islice(wanted, number))
    if html is not None:
        _write_page(found, Reader(renderer), html, Path(data).name, f"model {model}, {_settings(config)}", config)
    else:
        _print_all(found, Reader(renderer), plain, tokens)


class Opened(NamedTuple):
    """Data, and the trainer's own way to render them."""

    data: "DataConfig"
    config: "RenderConfig"
    renderer: "Renderer"
    folder: Path
    """Where the tokenizer is."""


def opened(command: str, data: str, model: str, sets: list[str] | None) -> Opened:
    """What `show` and `lint` look at."""
    from tunesmith.data import DataConfig
    from tunesmith.model import ModelConfig, tokenizer_folder
    from tunesmith.render import RenderConfig

    values = sections(command, sets, "data", "render", "model")
    data_config = DataConfig.parse({"paths": [data], **values["data"]}, "data")
    config = RenderConfig.parse(values["render"], "render")
    folder = tokenizer_folder(ModelConfig.parse({"name": model, **values["model"]}, "model"))
    return Opened(data_config, config, make_renderer(folder, config), folder)


def make_renderer(folder: Path, config: "RenderConfig") -> "Renderer":
    from tunesmith.render import renderer_for

    return renderer_for(folder, config)


def _largest(views: "Iterable[View]", longest: int | None, most_truncated: int | None) -> "Iterator[View]":
    """The longest, or those that lose the most; no more than these are held in memory."""
    if longest is not None:
        return iter(heapq.nlargest(longest, views, key=lambda view: view.length))
    truncated = (view for view in views if view.account.num_tokens_cut)
    return iter(heapq.nlargest(most_truncated or 1, truncated, key=lambda view: view.account.num_tokens_cut))


def _is_from(conversation: "Conversation", source: str | None) -> bool:
    from tunesmith.render.bulk.ledger import source_file

    return source is None or source in (conversation.source, source_file(conversation.source))


def _settings(config: "RenderConfig") -> str:
    changed = config.model_dump(exclude_defaults=True)
    always = {"train_on": config.train_on, "max_tokens": config.max_tokens, "too_long": config.too_long}
    return ", ".join(f"render.{name} = {value}" for name, value in {**always, **changed}.items())


def _write_page(
    views: "Iterator[View]", reader: "Reader", path: Path, title: str, settings: str, config: "RenderConfig"
) -> None:
    from tunesmith.cli.console import console
    from tunesmith.files import atomic_write
    from tunesmith.progress import count
    from tunesmith.render.show.html import Page, html_page

    page = Page()
    for view in _some(views):
        page.add(view, reader)
    text = html_page(page, title, settings, config.max_tokens)
    with atomic_write(path) as file:
        file.write(text)
    shown = count(len(page.conversations), "conversation")
    console().print(f"{path}: {shown}, {len(text) / 1e6:.1f} MB; open it in a browser", soft_wrap=True)


def _print_all(views: "Iterator[View]", reader: "Reader", is_plain: bool, with_borders: bool) -> None:
    from rich.text import Text

    from tunesmith.cli.console import console
    from tunesmith.render.show import branches, heading, legend, plain_legend, plain_text, rich_text

    to = console()
    is_plain = is_plain or not to.is_terminal
    totals: Counter[str] = Counter()
    seen: set[str] = set()
    for view in _some(views):
        found = branches(view, reader)
        body = Text(plain_text(found, with_borders)) if is_plain else rich_text(found, with_borders)
        to.print(Text(heading(view, len(found)), style="bold"), soft_wrap=True)
        to.print(body, soft_wrap=True, end="\n\n")
        seen |= {stretch.kind for branch in found for stretch in branch.stretches}
        totals.update({**view.account._asdict(), "shown": 1, view.fate: 1})
    to.print(Text(plain_legend(seen)) if is_plain else legend(seen))
    to.print(_sum(totals))
    if totals["refused"] == totals["shown"]:
        raise typer.Exit(1)


def _sum(totals: "Counter[str]") -> str:
    from tunesmith.progress import count

    share = totals["num_supervised_out"] / max(totals["num_tokens_out"], 1)
    parts = [
        count(totals["shown"], "conversation"),
        f"{totals['num_tokens_out']:,} tokens, {totals['num_supervised_out']:,} trained ({share:.0%})",
        *([f"{totals['num_tokens_cut']:,} cut away"] if totals["num_tokens_cut"] else []),
        *([f"{totals['refused']:,} refused"] if totals["refused"] else []),
    ]
    return ", ".join(parts)


def _some(views: "Iterator[View]") -> "Iterator[View]":
    """The views; raises DataError where there are none."""
    from tunesmith.errors import DataError

    first = next(views, None)
    if first is None:
        raise DataError(
            "no conversation is like that; --source takes a file's name or file:line as `tunesmith show` prints it, "
            "and --most-truncated finds only what render.max_tokens and render.too_long cut"
        )
    yield first
    yield from views
