"""`tunesmith data`, `render`, `mix` and `pack`: from files to training batches, one stage at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.app import app, example
from tunesmith.cli.options import DEFAULT_MODEL, Model, Out, Sets, do_stage, sections

if TYPE_CHECKING:
    from tunesmith.pack import Batches
    from tunesmith.types import Batch


@app.command(
    epilog=example(
        "tunesmith data chats.jsonl --out work/data",
        "tunesmith data a.parquet b.csv.gz --out work/data --set data.holdout=0.1",
        "tunesmith data messy.jsonl --out work/data --on-error skip",
        "tunesmith data qa.csv --out work/data --set data.prompt_field=question \\",
        "    --set data.response_field=answer",
    )
)
def data(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Data files, folders or globs.", show_default=False),
    ],
    out: Out,
    on_error: Annotated[
        str,
        typer.Option(
            "--on-error", metavar="stop|skip", help="What a bad record does; skipped ones are kept in a file."
        ),
    ] = "stop",
    sets: Sets = None,
) -> None:
    """Read files of any known format into conversations.

    Alpaca, ShareGPT, OpenAI messages (with tool calls), prompt/completion and plain text, as .jsonl, .json, .csv
    or .parquet, also gzipped. Writes conversations.jsonl, and heldout.jsonl and dropped.jsonl where needed.
    """
    from tunesmith.data import DataConfig, write_data
    from tunesmith.data import data as stream

    values = sections("data", sets, "data")["data"]
    config = DataConfig.parse({"paths": [str(path) for path in files], "on_error": on_error, **values}, "data")
    manifest, was_done = do_stage(out, "data", stream(config).fingerprint, lambda folder: write_data(config, folder))
    _say_counts(manifest, was_done)
    _say(f"format: {manifest['evidence']}")
    _say(f"{out / 'conversations.jsonl'}")


@app.command(epilog=example("tunesmith render work/data/conversations.jsonl --out work/render"))
def render(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="conversations.jsonl, or any data file.", show_default=False),
    ],
    out: Out,
    model: Model = DEFAULT_MODEL,
    sets: Sets = None,
) -> None:
    """Turn conversations into tokens and loss weights.

    Each conversation is proven against the model's own chat template. Writes files that `pack` and `train` read.
    """
    from tunesmith.data import DataConfig
    from tunesmith.data import data as stream
    from tunesmith.files import StageFolder
    from tunesmith.model import ModelConfig, tokenizer_folder
    from tunesmith.model.tokenizer import Tokenizer
    from tunesmith.render import RenderConfig, renderer_for
    from tunesmith.render import render as render_all

    values = sections("render", sets, "data", "render", "model")
    config = RenderConfig.parse(values["render"], "render")
    tokens_from = tokenizer_folder(ModelConfig.parse({"name": model, **values["model"]}, "model"))
    renderer = renderer_for(tokens_from, config)
    conversations = stream(DataConfig.parse({"paths": [str(file)], **values["data"]}, "data"))

    def work(folder: Path) -> dict[str, Any]:
        facts = render_all(config, renderer, conversations, StageFolder(folder, "render"))
        return {**facts, "model": model, "tokenizer": Tokenizer.load(tokens_from).fingerprint}

    inputs = [config, conversations.fingerprint, renderer.fingerprint]
    manifest, was_done = do_stage(out, "render", inputs, work)
    _say_counts(manifest, was_done)
    share = manifest["num_supervised"] / max(manifest["num_tokens"], 1)
    _say(f"{manifest['num_tokens']:,} tokens, {manifest['num_supervised']:,} of them trained ({share:.0%})")
    _say(f"longest conversation: {manifest['longest']:,} tokens")
    _say(f"{out}")


@app.command(
    epilog=example(
        "tunesmith mix recipe.toml",
        "tunesmith mix recipe.toml --set mix.replay.share=0.1",
    )
)
def mix(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="The recipe to read.", show_default=False)],
    sets: Sets = None,
) -> None:
    """Show how sources are mixed, phase by phase.

    Reads and renders the data, and prints each source with what was asked for, its share, visits, epochs, tokens and
    fingerprint. Training does this by itself; run it to choose weights.
    """
    from tempfile import TemporaryDirectory

    from tunesmith.errors import ConfigError
    from tunesmith.pipeline import Run
    from tunesmith.recipe import load_recipe

    with TemporaryDirectory(prefix="tunesmith-mix-") as folder:
        run = Run(load_recipe(recipe, sets or ()), Path(folder), say_nothing)
        if not any(phase.mix.is_needed for phase in run.phases):
            raise ConfigError(f"{recipe}: there is nothing to mix; add [mix.replay] or [[mix.sources]]")
        run.data()
        for phase in run.phases:
            lines = run.mix_lines(phase)
            for line in [f"{phase.folder}:", *lines] if phase.folder else lines:
                _say(line)


@app.command(
    epilog=example(
        "tunesmith pack work/render",
        "tunesmith pack work/render --out work/pack --set pack.row_tokens=4096",
    )
)
def pack(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="A folder that `tunesmith render` wrote.", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Write batches.jsonl, the layout of every step, here."),
    ] = None,
    sets: Sets = None,
) -> None:
    """Lay rendered conversations out in steps and rows.

    Shows how many steps an epoch takes (or train.epochs of them) and how full the rows are. Training does this by
    itself; run it to choose pack.batch_conversations and pack.row_tokens.
    """
    from tunesmith.files import write_jsonl
    from tunesmith.pack import PackConfig
    from tunesmith.pack import pack as pack_all
    from tunesmith.preparation import batch_preview
    from tunesmith.render.bulk.rendered_file import RenderedFile
    from tunesmith.train import TrainConfig
    from tunesmith.train.apart import rest_fingerprint, set_apart

    values = sections("pack", sets, "pack", "train")
    config = PackConfig.parse(values["pack"], "pack")
    training = TrainConfig.parse(values["train"], "train")
    rest, _ = set_apart(RenderedFile(folder), training.validation)
    mark = rest_fingerprint(rendered_mark(folder), training.validation)
    batches = pack_all(config, rest, training.epochs, mark)
    _say_batches(batches)
    if out is None:
        return

    def work(target: Path) -> dict[str, Any]:
        write_jsonl(target / "batches.jsonl", (batch_preview(batch) for batch in batches))
        return {"num_batches": len(batches), "num_conversations": batches.num_conversations}

    do_stage(out, "pack", batches.fingerprint, work)
    _say(f"{out / 'batches.jsonl'}")


def rendered_mark(folder: Path) -> str:
    """Names what was rendered: the fingerprint in the folder's manifest, or of its files where there is none."""
    from tunesmith.files import StageFolder, folder_digest

    manifest = StageFolder(folder, "render").manifest()
    return str(manifest["fingerprint"]) if manifest else folder_digest(folder)


def _say_batches(batches: "Batches") -> None:
    from tunesmith.pack import account
    from tunesmith.progress import count

    config = batches.config
    lengths: list[int] = []

    def steps() -> Iterator["Batch"]:
        for index in range(len(batches)):
            batch = batches[index]
            lengths.extend(row.num_tokens for row in batch.rows)
            yield batch

    counted = account(config, steps())
    total = counted.total
    lengths.sort()
    average = " on average" if config.layout == "full_rows" else ""
    padding = f"{total.num_padded:,} more as padding ({counted.padding:.1%})" if total.num_padded else "no padding"
    _say(
        f"{count(len(batches), 'step')} of {config.batch_conversations} conversations{average} "
        f"({batches.num_conversations:,} in all), {counted.num_micro_batches / len(batches):.1f} micro-batches a step"
    )
    _say(f"{total.num_tokens:,} tokens, {total.num_supervised:,} of them trained; {padding}")
    _say(
        f"tokens in a row: {lengths[0]:,} least, {lengths[len(lengths) // 2]:,} median, {lengths[-1]:,} most; "
        f"micro-batches hold {counted.fill:.1%} of the {config.row_tokens:,} tokens that pack.row_tokens allows"
    )


def _say_counts(manifest: dict[str, Any], was_done: bool) -> None:
    from tunesmith.progress import count

    if was_done:
        _say("Nothing to do: this was done before, on the same input and settings.")
    heldout = f", {manifest['num_heldout']:,} held out" if manifest.get("num_heldout") else ""
    _say(f"{count(manifest['num_in'], 'record')} in, {count(manifest['num_out'], 'conversation')} out{heldout}")
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in manifest["dropped_by_reason"].items())
    if reasons:
        _say(f"dropped, with the reason in dropped.jsonl: {reasons}")


def say_nothing(line: str) -> None:
    """For a run whose report nobody needs."""


def _say(line: str) -> None:
    from tunesmith.cli.console import console

    console().print(line, soft_wrap=True)
