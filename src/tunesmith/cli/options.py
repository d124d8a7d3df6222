"""Options that several commands share, and how `--set` and `--out` are read. Imports nothing heavy."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

DEFAULT_MODEL = "smollm2-135m"

Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one field, for example train.learning_rate=2e-5; repeat it for several.",
        show_default=False,
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="M",
        help="A folder, a .gguf file, an embedded model's name, or a Hugging Face hub id.",
    ),
]
BaseModel = Annotated[
    str | None,
    typer.Option(
        "--base", metavar="M", help="The base of an adapter or tuned model, where its folder does not name it."
    ),
]
Work = Annotated[
    Path, typer.Option("--work", metavar="FOLDER", help="Where the answers of models that are asked are kept.")
]
Runs = Annotated[Path, typer.Option("--runs", metavar="FOLDER", help="The folder that holds the runs.")]
Pool = Annotated[Path, typer.Option("--pool", metavar="FOLDER", help="The folder of the model pool.")]
Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write the comparison to this file, as one page.")
]
Out = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="The folder to write to.", show_default=False)]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Print the plan, each number with its reason, and leave nothing behind."),
]


def sections(command: str, sets: Sequence[str] | None, *names: str) -> dict[str, dict[str, Any]]:
    """The `--set` strings as tables of the recipe; only those in `names` are read by `command`."""
    from tunesmith.errors import ConfigError
    from tunesmith.recipe import apply_sets

    values = apply_sets({}, sets or ())
    foreign = [name for name in values if name not in names]
    if foreign:
        known = ", ".join(f"{name}.*" for name in names)
        raise ConfigError(f"--set {foreign[0]}: `tunesmith {command}` reads only {known}")
    return {name: values.get(name, {}) for name in names}


def do_stage(out: Path, stage: str, inputs: Any, work: Callable[[Path], dict[str, Any]]) -> tuple[dict[str, Any], bool]:
    """Do `work` in the folder `out` unless it was done there before on equal inputs; the manifest, and whether
    it was."""
    from tunesmith import __version__
    from tunesmith.files import StageFolder, fingerprint

    check_out(out, stage)
    mark = fingerprint([__version__, stage, inputs])
    folder = StageFolder(out, stage)
    manifest = folder.manifest()
    if manifest is not None and folder.is_done(mark):
        return manifest, True
    facts = work(folder.open(mark))
    return folder.finish(mark, **{key: value for key, value in facts.items() if key != "fingerprint"}), False


def check_out(out: Path, stage: str) -> None:
    """Refuse a folder that holds anything but earlier work of this stage: it would be moved aside."""
    from tunesmith.errors import ConfigError
    from tunesmith.files import StageFolder

    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: this is a file; give a folder")
    if not out.is_dir() or not any(out.iterdir()):
        return
    manifest = StageFolder(out, stage).manifest()
    found = manifest["stage"] if manifest else None
    if found != stage and (found is not None or not (out / ".inputs").exists()):
        holds = f"the result of `{found}`" if found else "other files"
        raise ConfigError(f"--out {out}: this folder holds {holds}; give another one, or a new one inside it")
